// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/task/event.hpp>

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Overflow;
using horus::SubscribeOptions;
using horus::Task;

struct Reading {
  std::int64_t number = 0;
  double values[6] = {};
};
struct Scan {
  std::int64_t stamp_ns = 0;
  using Tail = float;
};

void check_account(const horus::PublisherMetrics& metrics) {
  CHECK(metrics.sent == metrics.delivered + metrics.dropped + metrics.queued + metrics.in_flight);
}

TEST_SUITE("msg/pubsub") {
  TEST_CASE("a subscriber gets what is published after it came, in order") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<Reading>("imu");
      CHECK(out.send({.number = 1}));  // to nobody
      auto in = hub.subscribe<Reading>("imu");
      CHECK_FALSE(in.has_msg());
      CHECK(out.send({.number = 2}));
      CHECK(out.send({.number = 3}));
      CHECK(in.has_msg());
      auto first = co_await in.recv();
      auto second = in.try_recv();
      CHECK(first.value()->number == 2);
      CHECK(second.value()->number == 3);
      CHECK(second->sequence() == 1);
      CHECK_FALSE(in.try_recv().has_value());
      CHECK(in.missed() == 0);
    });
  }

  TEST_CASE(
      "a subscriber that found nothing finds what comes later: from neighbours, new ones, other threads") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto in = hub.subscribe<Reading>("imu");
      const auto next = [&in] {
        auto sample = in.try_recv();
        return sample ? (*sample)->number : -1;
      };
      CHECK(next() == -1);
      auto out = hub.advertise<Reading>("imu");
      out.send({.number = 1});
      CHECK(next() == 1);
      CHECK(next() == -1);
      out.send({.number = 2});
      out.send({.number = 3});
      CHECK(next() == 2);
      CHECK(next() == 3);
      CHECK(next() == -1);
      std::thread([&hub] {
        auto foreign = hub.advertise<Reading>("imu");
        foreign.send({.number = 4});
      }).join();
      CHECK(in.has_msg());  // this takes the new link in, and must not leave it unseen
      CHECK(next() == 4);
      CHECK(next() == -1);
      out.send({.number = 5});
      out.reset();
      CHECK(next() == 5);
      CHECK(next() == -1);
      CHECK(in.publishers() == 0);
      co_return;
    });
  }

  TEST_CASE("recv waits for a message, and the sender goes on") {
    std::vector<std::string> story;
    horus::io::run([&]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<std::string>("chat");
      auto in = hub.subscribe<std::string>("chat");
      horus::Scope scope("test");
      auto reader = scope.spawn([&]() -> Task<> {
        story.emplace_back("waits");
        auto message = co_await in.recv();
        story.push_back("got " + std::string(*message.value()));
      });
      co_await horus::yield();
      out.send("hello");
      story.emplace_back("sent");
      co_await reader;
      co_await scope.join();
    });
    CHECK(story == std::vector<std::string>{"waits", "sent", "got hello"});
  }

  TEST_CASE("every subscriber gets every message, several waiters of one share") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<Reading>("imu");
      auto a = hub.subscribe<Reading>("imu");
      auto b = hub.subscribe<Reading>("imu");
      CHECK(out.subscribers() == 2);
      int sum_a = 0;
      horus::Scope scope("test");
      const auto read = [&]() -> Task<> {
        auto message = co_await a.recv();
        sum_a += static_cast<int>(message.value()->number);
      };
      auto one = scope.spawn(read);
      auto two = scope.spawn(read);
      co_await horus::yield();
      out.send({.number = 1});
      out.send({.number = 10});
      co_await one;
      co_await two;
      CHECK(sum_a == 11);
      CHECK(b.try_recv().value()->number == 1);
      CHECK(b.try_recv().value()->number == 10);
      co_await scope.join();
    });
  }

  TEST_CASE("a full queue drops by its policy, and both ends know") {
    struct Row {
      Overflow overflow;
      bool sent_all;
      std::vector<std::int64_t> kept;
    };
    const Row rows[] = {
        {Overflow::drop_oldest, true, {3, 4, 5}},
        {Overflow::drop_newest, false, {1, 2, 3}},
        {Overflow::latest, true, {5}},
    };
    for (const Row& row : rows) {
      CAPTURE(static_cast<int>(row.overflow));
      Hub hub;
      auto out = hub.advertise<Reading>("imu");
      auto in = hub.subscribe<Reading>("imu", SubscribeOptions().with_depth(3).with_overflow(row.overflow));
      bool all = true;
      for (std::int64_t i = 1; i <= 5; ++i) all = out.send({.number = i}) && all;
      CHECK(all == row.sent_all);
      std::vector<std::int64_t> kept;
      while (auto message = in.try_recv()) kept.push_back((*message)->number);
      CHECK(kept == row.kept);
      CHECK(in.missed() == 5 - row.kept.size());
      const auto metrics = out.metrics();
      CHECK(metrics.published == 5);
      CHECK(metrics.sent == 5);
      CHECK(metrics.delivered == row.kept.size());
      CHECK(metrics.dropped == in.missed());
      CHECK(metrics.send_failures == (row.sent_all ? 0 : 2));
      check_account(metrics);
    }
  }

  TEST_CASE("loan and publish hand over the very memory") {
    Hub hub;
    auto out = hub.advertise<Scan>("scan");
    auto in = hub.subscribe<Scan>("scan");
    auto loan = out.loan(1000);
    REQUIRE(loan.ok());
    (*loan)->stamp_ns = 7;
    for (std::size_t i = 0; i < 1000; ++i) loan->tail()[i] = static_cast<float>(i);
    const float* written = loan->tail().data();
    loan->shrink(900);
    CHECK(out.publish(std::move(*loan)));
    auto sample = in.try_recv();
    REQUIRE(sample.has_value());
    CHECK((*sample)->stamp_ns == 7);
    CHECK(sample->tail().size() == 900);
    CHECK(sample->tail()[899] == 899);
    CHECK(sample->tail().data() == written);
  }

  TEST_CASE("loans are bounded, and come back when they are dropped") {
    Hub hub;
    auto out = hub.advertise<Reading>("imu", horus::AdvertiseOptions().with_max_loans(2));
    auto in = hub.subscribe<Reading>("imu");
    auto a = out.loan();
    auto b = out.loan();
    auto c = out.loan();
    CHECK(c.error().code() == ENOBUFS);
    CHECK(out.send({.number = 1}));  // sending needs no loan
    a = horus::Loan<Reading>();
    CHECK(out.loan().ok());
  }

  TEST_CASE("a loan of more elements than a size can count is refused") {
    Hub hub;
    auto out = hub.advertise<std::vector<double>>("scan");
    for (const std::size_t elements : {(std::size_t{1} << 61) + 1, SIZE_MAX / sizeof(double) + 2, SIZE_MAX}) {
      const auto loan = out.loan(elements);
      REQUIRE_FALSE(loan.ok());
      CHECK(loan.error().code() == EMSGSIZE);
    }
  }

  TEST_CASE("a loan outlives its publisher") {
    Hub hub;
    auto out = hub.advertise<Reading>("imu");
    auto first = out.loan();
    auto second = out.loan();
    out.reset();
    (*first)->number = 1;
    first = horus::Error(ECANCELED);
    (*second)->number = 2;
    CHECK((*second)->number == 2);
  }

  TEST_CASE("messages of any length travel up to the limit, and one beyond it is refused with the remedy") {
    Hub hub;
    auto out = hub.advertise<std::string>("text", horus::AdvertiseOptions().with_max_bytes(1000));
    auto in = hub.subscribe<std::string>("text");
    out.send("");
    CHECK(**in.try_recv() == "");
    out.send(std::string(1000, 'x'));
    CHECK((**in.try_recv()).size() == 1000);
    CHECK_THROWS_WITH(out.send(std::string(1001, 'x')),
                      doctest::Contains("1001 bytes; at most 1000: AdvertiseOptions::max_bytes"));
    CHECK(out.loan(1001).error().code() == EMSGSIZE);
    auto vectors = hub.advertise<std::vector<double>>("vector");
    auto doubles = hub.subscribe<std::vector<double>>("vector");
    vectors.send(std::vector<double>{1, 2, 3});
    CHECK((**doubles.try_recv())[2] == 3);
  }

  TEST_CASE("held samples stay what they are, and those in the publisher's memory are bounded") {
    Hub hub;
    auto out = hub.advertise<Scan>("scan");
    auto in = hub.subscribe<Scan>("scan", SubscribeOptions().with_depth(2).with_max_held(3));
    std::vector<horus::Sample<Scan>> held;
    for (std::int64_t i = 0; i < 3; ++i) {
      out.send({.stamp_ns = i}, {});
      held.push_back(std::move(*in.try_recv()));
    }
    for (std::int64_t i = 3; i < 5000; ++i) out.send({.stamp_ns = i}, {});
    for (std::int64_t i = 0; i < 3; ++i) CHECK(held[static_cast<std::size_t>(i)]->stamp_ns == i);
    CHECK_THROWS_WITH(static_cast<void>(in.try_recv()), doctest::Contains("too many samples are held"));
    held.clear();
    CHECK((*in.try_recv())->stamp_ns == 4998);
  }

  TEST_CASE(
      "a sample of a small message is a copy: any number may be held, and it outlives hub and publisher") {
    std::vector<horus::Sample<Reading>> held;
    {
      Hub hub;
      auto out = hub.advertise<Reading>("imu");
      auto in = hub.subscribe<Reading>("imu", SubscribeOptions().with_max_held(1));
      for (std::int64_t i = 0; i < 100; ++i) {
        out.send({.number = i});
        held.push_back(std::move(*in.try_recv()));
      }
    }
    for (std::int64_t i = 0; i < 100; ++i) CHECK(held[static_cast<std::size_t>(i)]->number == i);
  }

  TEST_CASE("latest is the newest message, again and again") {
    Hub hub;
    auto out = hub.advertise<Reading>("imu");
    auto in = hub.subscribe<Reading>("imu", SubscribeOptions().with_max_held(1));
    CHECK(in.latest() == nullptr);
    out.send({.number = 1});
    out.send({.number = 2});
    REQUIRE(in.latest() != nullptr);
    CHECK((*in.latest())->number == 2);
    CHECK((*in.latest())->number == 2);
    out.send({.number = 3});
    CHECK((*in.latest())->number == 3);
  }

  TEST_CASE("send_wait waits for room and loses nothing, or gives up in time") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<Reading>("imu");
      auto in = hub.subscribe<Reading>("imu", SubscribeOptions().with_depth(2));
      horus::Scope scope("test");
      auto sender = scope.spawn([&]() -> Task<> {
        for (std::int64_t i = 0; i < 10; ++i) {
          const Reading reading{.number = i};
          auto sent = co_await out.send_wait(reading);
          CHECK(sent.ok());
        }
      });
      for (std::int64_t i = 0; i < 10; ++i) {
        auto message = co_await in.recv();
        CHECK(message.value()->number == i);
      }
      co_await sender;
      CHECK(in.missed() == 0);
      out.send({});
      out.send({});
      auto late = co_await out.send_wait(Reading(), 1ms);
      CHECK(late.code() == ETIMEDOUT);
      CHECK(out.metrics().published == 12);
      co_await scope.join();
    });
  }

  TEST_CASE("what a publisher left behind is still delivered, and its end is seen") {
    Hub hub;
    auto in = hub.subscribe<Reading>("imu");
    {
      auto out = hub.advertise<Reading>("imu");
      out.send({.number = 1});
    }
    CHECK(in.publishers() == 0);
    CHECK((*in.try_recv())->number == 1);
    CHECK_FALSE(in.try_recv().has_value());
    CHECK(in.publishers() == 0);
    auto next = hub.advertise<Reading>("imu");
    next.send({.number = 2});
    CHECK((*in.try_recv())->number == 2);
  }

  TEST_CASE("a subscriber that goes leaves its messages as dropped, and samples outlive it") {
    Hub hub;
    auto out = hub.advertise<Reading>("imu");
    horus::Sample<Reading> kept;
    {
      auto in = hub.subscribe<Reading>("imu");
      for (std::int64_t i = 0; i < 5; ++i) out.send({.number = i});
      kept = std::move(*in.try_recv());
    }
    for (std::int64_t i = 5; i < 5000; ++i) out.send({.number = i});
    CHECK(kept->number == 0);
    kept.reset();
    for (std::int64_t i = 0; i < 100; ++i) out.send({.number = i});
    const auto metrics = out.metrics();
    CHECK(metrics.subscribers == 0);
    CHECK(metrics.sent == 5);
    CHECK(metrics.delivered == 1);
    CHECK(metrics.dropped == 4);
    check_account(metrics);
  }

  TEST_CASE("a waiting recv is cancelled with its task, and a message that came first is delivered") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<Reading>("imu");
      auto in = hub.subscribe<Reading>("imu");
      std::optional<int> code;
      horus::Scope scope("test");
      auto reader = scope.spawn([&]() -> Task<> {
        auto message = co_await in.recv();
        code = message.code();
      });
      co_await horus::yield();
      reader.cancel();
      co_await scope.join();
      CHECK(code == ECANCELED);
      out.send({.number = 1});
      auto message = co_await in.recv();
      CHECK(message.value()->number == 1);
    });
  }

  TEST_CASE("a subscriber that ends while a task waits for its message tells it, and the task goes on") {
    for (const bool replaced : {false, true}) {
      CAPTURE(replaced);
      horus::io::run([replaced]() -> Task<> {
        Hub hub;
        auto out = hub.advertise<Reading>("imu");
        auto in = hub.subscribe<Reading>("imu");
        horus::Result<> waited;
        horus::Scope scope("test");
        auto reader = scope.spawn([&in, &waited]() -> Task<> {
          auto message = co_await in.recv();
          if (!message) waited = message.error();
        });
        co_await horus::yield();
        if (replaced) {
          in = hub.subscribe<Reading>("imu");
        } else {
          in.reset();
        }
        out.send({.number = 1});                         // which nobody waits for any more
        auto stop = scope.spawn([&reader]() -> Task<> {  // a task that is not told would wait for ever
          co_await horus::sleep(1s);
          reader.cancel();
        });
        co_await reader;
        stop.cancel();
        co_await scope.join();
        CHECK(waited.code() == EPIPE);
        if (waited.code() == EPIPE) {
          CHECK(waited.error().message().find("imu") != std::string::npos);
          CHECK(waited.error().message().find("while this task waited") != std::string::npos);
        }
      });
    }
  }

  TEST_CASE("a message that was handed to a waiting task is its own, whatever becomes of the subscriber") {
    const auto hand_over = [](auto message) {
      using Message = decltype(message);
      horus::io::run([message]() -> Task<> {
        Hub hub;
        auto out = hub.advertise<Message>("n");
        auto in = hub.subscribe<Message>("n");
        std::vector<Message> received;
        horus::Scope scope("test");
        for (int i = 0; i < 2; ++i) {
          static_cast<void>(scope.spawn([&in, &received]() -> Task<> {
            auto came = co_await in.recv();
            if (came) received.push_back(**came);
          }));
        }
        co_await horus::yield();
        out.send(message);
        out.send(message);
        in.reset();  // both have theirs, and have not gone on yet
        co_await scope.join();
        CHECK(received == std::vector<Message>{message, message});
        check_account(out.metrics());
        CHECK(out.metrics().delivered == 2);
      });
    };
    hand_over(std::int64_t{7});               // in the queue itself
    hand_over(std::array<double, 64>{1, 2});  // in a slot of its publisher's
  }

  TEST_CASE("a task that was cancelled while it waited may go on after its subscriber has ended") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto in = hub.subscribe<Reading>("imu");
      std::string told;
      horus::Scope scope("test");
      auto reader = scope.spawn([&in, &told]() -> Task<> {
        auto message = co_await in.recv();
        if (!message) told = message.error().message();
      });
      co_await horus::yield();
      reader.cancel();
      in.reset();
      co_await scope.join();
      CHECK(told.find("imu") != std::string::npos);
    });
  }

  TEST_CASE("both layouts are named when a topic is used with another type") {
    Hub hub;
    auto out = hub.advertise<Reading>("imu");
    CHECK_THROWS_WITH(static_cast<void>(hub.subscribe<Scan>("imu")), doctest::Contains("imu (it carries "));
    CHECK_THROWS_WITH(static_cast<void>(hub.subscribe<std::string>("imu")), doctest::Contains("wants text"));
  }

  TEST_CASE("options out of range and bad names are refused with the range") {
    Hub hub;
    CHECK_THROWS_WITH(static_cast<void>(hub.subscribe<Reading>("imu", SubscribeOptions().with_depth(0))),
                      doctest::Contains("1 to 65536"));
    CHECK_THROWS_WITH(
        static_cast<void>(hub.advertise<Reading>("imu", horus::AdvertiseOptions().with_max_bytes(1U << 30))),
        doctest::Contains("at most 67108864"));
    CHECK_THROWS_WITH(static_cast<void>(hub.advertise<Reading>("")),
                      doctest::Contains("1 to 255 bytes of UTF-8"));
    CHECK_THROWS_WITH(static_cast<void>(hub.advertise<Reading>("a b")), doctest::Contains("without spaces"));
  }

  TEST_CASE("a subscriber beyond the publisher's memory is refused with the remedy, others go on") {
    Hub hub;
    auto out = hub.advertise<Reading>("imu", horus::AdvertiseOptions().with_max_queued(30));
    auto in = hub.subscribe<Reading>("imu");
    CHECK_THROWS_WITH(static_cast<void>(hub.subscribe<Reading>("imu")), doctest::Contains("smaller depth"));
    out.send({.number = 1});
    CHECK(in.try_recv().has_value());
    auto another = hub.advertise<Reading>("imu");  // what was refused is not there
    another.send({.number = 2});
    CHECK((*in.try_recv())->number == 2);
    CHECK_THROWS_WITH(
        static_cast<void>(hub.advertise<Reading>("imu", horus::AdvertiseOptions().with_max_queued(10))),
        doctest::Contains("max_queued"));
    CHECK_FALSE(in.try_recv().has_value());
  }

  TEST_CASE("links join two hubs by name, both ways, and meet nobody else") {
    Hub rover("rover");
    Hub base("base");
    auto near = rover.create_link<Reading>("data", "base");
    CHECK_FALSE(near.connected());
    auto stranger = rover.subscribe<Reading>("data");
    auto far = base.create_link<Reading>("data", "rover");
    CHECK(near.connected());
    near.send({.number = 1});
    far.send({.number = 2});
    CHECK((*far.try_recv())->number == 1);
    CHECK((*near.try_recv())->number == 2);
    CHECK_FALSE(stranger.has_msg());
  }

  TEST_CASE("hub metrics count all ports, those that are gone too") {
    Hub hub;
    auto in = hub.subscribe<Reading>("imu", SubscribeOptions().with_depth(2));
    {
      auto out = hub.advertise<Reading>("imu");
      for (int i = 0; i < 3; ++i) out.send({});
    }
    while (in.try_recv()) {
    }
    const horus::HubMetrics metrics = hub.metrics();
    CHECK(metrics.messages_sent == 3);
    CHECK(metrics.bytes_sent == 3 * sizeof(Reading));
    CHECK(metrics.messages_received == 2);
    CHECK(metrics.dropped == 1);
    CHECK(metrics.recv_failures == 1);
    CHECK(metrics.publishers == 0);
    CHECK(metrics.subscribers == 1);
    CHECK(metrics.latency.count() == 0);  // the stamped one was the first, which was dropped
    CHECK(hub.connection_state().connected);
  }

  TEST_CASE("messages cross threads, and wake a sleeping reactor") {
    Hub hub;
    constexpr std::int64_t kCount = 20'000;
    std::atomic<bool> ready{false};
    std::thread producer([&] {
      horus::io::run([&]() -> Task<> {
        auto out = hub.advertise<Reading>("imu");
        while (out.subscribers() == 0) co_await horus::sleep(100us);
        for (std::int64_t i = 0; i < kCount; ++i) {
          const Reading reading{.number = i};
          auto sent = co_await out.send_wait(reading);
          if (!sent) break;
        }
        while (out.subscribers() > 0 && out.metrics().queued > 0) co_await horus::sleep(100us);
        check_account(out.metrics());
      });
    });
    std::int64_t received = 0;
    bool ordered = true;
    horus::io::run([&]() -> Task<> {
      auto in = hub.subscribe<Reading>("imu");
      ready = true;
      while (received < kCount) {
        auto message = co_await in.recv();
        ordered = ordered && message.value()->number == received;
        ++received;
      }
      CHECK(in.missed() == 0);
      CHECK(in.metrics().latency.count() > 0);
    });
    producer.join();
    CHECK(ordered);
    CHECK(received == kCount);
  }

  TEST_CASE("subscribers that have polled for a while are woken when they sleep after all") {
    constexpr std::int64_t kRounds = 100, kBurst = 100;
    horus::io::ReactorConfig config;
    config.busy_poll = 20us;
    Hub hub;
    std::thread echo([&] {
      horus::io::run(
          [&]() -> Task<> {
            auto in = hub.subscribe<Reading>("ping");
            auto out = hub.advertise<Reading>("pong");
            for (std::int64_t i = 0; i < kRounds * kBurst; ++i) {
              auto message = co_await in.recv();
              out.send(**message);
            }
          },
          config);
    });
    std::int64_t heard = 0;
    horus::io::run(
        [&]() -> Task<> {
          auto out = hub.advertise<Reading>("ping");
          auto in = hub.subscribe<Reading>("pong");
          while (out.subscribers() == 0 || in.metrics().publishers == 0) co_await horus::sleep(100us);
          for (; heard < kRounds * kBurst; ++heard) {
            if (heard % kBurst == 0) co_await horus::sleep(200us);  // longer than the other one polls
            out.send({.number = heard});
            auto message = co_await in.recv();
            REQUIRE(message.value()->number == heard);
          }
        },
        config);
    echo.join();
    CHECK(heard == kRounds * kBurst);
  }

  TEST_CASE("a fast publisher overtakes a slow subscriber on another thread without tearing a message") {
    Hub hub;
    std::atomic<bool> stop{false};
    std::thread producer([&] {
      auto out = hub.advertise<Reading>("imu");
      for (std::int64_t i = 0; !stop; ++i) {
        Reading reading{.number = i};
        for (double& value : reading.values) value = static_cast<double>(i);
        out.send(reading);
      }
      check_account(out.metrics());
    });
    auto in = hub.subscribe<Reading>("imu", SubscribeOptions().with_depth(4));
    std::int64_t last = -1;
    for (int received = 0; received < 20'000;) {
      auto message = in.try_recv();
      if (!message) continue;
      ++received;
      CHECK((*message)->number > last);
      last = (*message)->number;
      for (const double value : (*message)->values) REQUIRE(value == static_cast<double>(last));
    }
    stop = true;
    producer.join();
  }

  TEST_CASE("a publisher ends where it is closed, also while another thread still refers to it") {
    horus::io::run([]() -> Task<> {
      const auto hub = std::make_shared<horus::msg::HubCore>("test");
      const auto in_port = horus::msg::in_port<Reading>("imu", {});
      const auto port = horus::msg::out_port<Reading>("imu", {});
      in_port->open(hub);
      port->open(hub);
      horus::Subscriber<Reading> in(in_port);
      const auto reference = port->shared_outbox();
      CHECK(in.publishers() == 1);
      port->close();
      CHECK(in.publishers() == 0);
      co_return;
    });
  }

  TEST_CASE("send_wait on a thread that did not make the publisher says when nobody takes the message") {
    Hub hub;
    std::optional<horus::Publisher<Reading>> out;
    std::thread([&] {
      horus::io::run([&]() -> Task<> {
        out = hub.advertise<Reading>("imu");
        co_return;
      });
    }).join();
    horus::io::run([&]() -> Task<> {
      const Reading reading{.number = 1};
      const auto sent = co_await out->send_wait(reading);
      CHECK(sent.error().code() == EAGAIN);
    });
  }

  TEST_CASE("send works from any thread, through the mailbox of the publisher's reactor") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<Reading>("imu");
      auto in = hub.subscribe<Reading>("imu");
      std::thread other([&] { CHECK(out.send({.number = 5})); });
      auto message = co_await in.recv();
      CHECK(message.value()->number == 5);
      other.join();
    });
  }
}

}  // namespace
