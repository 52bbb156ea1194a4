// SPDX-License-Identifier: Apache-2.0
// Hubs over real TCP on the loopback. What needs time to pass is in tcp_faults_test.cpp, in virtual time.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/task/event.hpp>

#include "../support/captured_log.hpp"
#include "../support/eventually.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Overflow;
using horus::SubscribeOptions;
using horus::Task;
using horus::TcpHubOptions;
using horus::TcpRole;
using horus::testing::CapturedLog;
using horus::testing::eventually;

struct Reading {
  std::int64_t number = 0;
  double values[6] = {};
};
struct Other {
  std::int32_t number = 0;
};
struct Scan {
  std::int64_t stamp_ns = 0;
  using Tail = float;
};

void check_account(const horus::PublisherMetrics& metrics) {
  CHECK(metrics.sent == metrics.delivered + metrics.dropped + metrics.queued + metrics.in_flight);
}

TcpHubOptions quick() { return TcpHubOptions().with_retry(5ms, 20ms); }
Hub listening(std::string name) {
  return Hub::tcp("127.0.0.1:0", std::move(name), quick().with_role(TcpRole::listen)).or_throw();
}
Hub connecting(const std::string& address, std::string name) {
  return Hub::tcp(address, std::move(name), quick().with_role(TcpRole::connect)).or_throw();
}

TEST_SUITE("msg/tcp_hub") {
  TEST_CASE("two programs that name the same address find each other; messages go both ways, in order") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub first = Hub::tcp("127.0.0.1:0", "rover", quick()).or_throw();
      const Hub second = Hub::tcp(first.address(), "base", quick()).or_throw();
      auto out = first.advertise<Reading>("imu");
      auto in = second.subscribe<Reading>("imu");
      auto back = second.advertise<std::string>("chat");
      auto heard = first.subscribe<std::string>("chat");
      const bool met = co_await eventually([&] { return out.subscribers() == 1 && back.subscribers() == 1; });
      REQUIRE(met);
      for (std::int64_t i = 0; i < 10; ++i) CHECK(out.send({.number = i}));
      for (std::int64_t i = 0; i < 10; ++i) {
        auto message = co_await in.recv();
        CHECK(message.value()->number == i);
        CHECK(message.value().sequence() == static_cast<std::uint64_t>(i));
      }
      back.send("hello");
      auto text = co_await heard.recv();
      CHECK(*text.value() == "hello");
      const bool settled = co_await eventually([&] { return out.metrics().delivered == 10; });
      CHECK(settled);
      check_account(out.metrics());
      CHECK(out.metrics().in_flight == 0);
      CHECK(in.metrics().latency.count() > 0);
      const auto state = first.connection_state();
      CHECK(state.connected);
      REQUIRE(state.peers.size() == 1);
      CHECK(state.peers[0].name == "base");
      CHECK(state.peers[0].problem.empty());
      CHECK(second.connection_state().peers[0].name == "rover");
      CHECK(second.connection_state().peers[0].address == "tcp " + first.address());
    });
  }

  TEST_CASE("messages of every size travel, the largest ones too") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = listening("rover");
      const Hub base = connecting(rover.address(), "base");
      const auto bulk = horus::AdvertiseOptions().with_max_bytes(16 << 20);
      auto out = rover.advertise<Scan>("scan", bulk);
      auto in = base.subscribe<Scan>("scan");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      for (const std::size_t size : {0, 1, 1000, 16'000, 20'000, 100'000, 3'000'000}) {
        CAPTURE(size);
        auto loan = out.loan(size);
        REQUIRE(loan.ok());
        (*loan)->stamp_ns = static_cast<std::int64_t>(size);
        for (std::size_t i = 0; i < size; ++i) loan->tail()[i] = static_cast<float>(i % 1013);
        CHECK(out.publish(std::move(*loan)));
        auto got = co_await in.recv();
        const auto& sample = got.value();
        CHECK(sample->stamp_ns == static_cast<std::int64_t>(size));
        REQUIRE(sample.tail().size() == size);
        bool same = true;
        for (std::size_t i = 0; i < size; ++i)
          same = same && sample.tail()[i] == static_cast<float>(i % 1013);
        CHECK(same);
      }
      CHECK(in.missed() == 0);
    });
  }

  TEST_CASE("a stream of messages of changing size arrives whole, whatever a read brings of them") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = listening("rover");
      const Hub base = connecting(rover.address(), "base");
      auto out = rover.advertise<Scan>("scan", horus::AdvertiseOptions().with_max_bytes(1 << 20));
      auto in =
          base.subscribe<Scan>("scan", SubscribeOptions().with_depth(8).with_overflow(Overflow::drop_newest));
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      constexpr std::size_t kMessages = 60;
      const auto size_of = [](std::size_t number) { return number * 7919 % 40'000; };
      horus::Scope scope("test");
      auto sender = scope.spawn([&]() -> Task<> {
        for (std::size_t number = 0; number < kMessages; ++number) {
          auto room = co_await out.room();
          CHECK(room.ok());
          auto loan = out.loan(size_of(number));
          REQUIRE(loan.ok());
          (*loan)->stamp_ns = static_cast<std::int64_t>(number);
          for (std::size_t i = 0; i < size_of(number); ++i)
            loan->tail()[i] = static_cast<float>((i + number) % 1013);
          CHECK(out.publish(std::move(*loan)));
        }
      });
      for (std::size_t number = 0; number < kMessages; ++number) {
        auto got = co_await in.recv();
        const auto& sample = got.value();
        CHECK(sample->stamp_ns == static_cast<std::int64_t>(number));
        REQUIRE(sample.tail().size() == size_of(number));
        bool same = true;
        for (std::size_t i = 0; i < size_of(number); ++i)
          same = same && sample.tail()[i] == static_cast<float>((i + number) % 1013);
        CHECK(same);
      }
      co_await sender;
      co_await scope.join();
      CHECK(in.missed() == 0);
      check_account(out.metrics());
    });
  }

  TEST_CASE("what is sent in one turn goes and comes with a few operations, whatever its size and topic") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = listening("rover");
      const Hub base = connecting(rover.address(), "base");
      const auto deep = SubscribeOptions().with_depth(256).with_overflow(Overflow::drop_newest);
      auto small = rover.advertise<Reading>("imu");
      auto other = rover.advertise<Reading>("other");
      auto medium = rover.advertise<Scan>("scan");
      auto small_in = base.subscribe<Reading>("imu", deep);
      auto other_in = base.subscribe<Reading>("other", deep);
      auto medium_in = base.subscribe<Scan>("scan", deep);
      const bool met = co_await eventually(
          [&] { return small.subscribers() == 1 && other.subscribers() == 1 && medium.subscribers() == 1; });
      REQUIRE(met);
      const std::vector<float> points(200);
      std::int64_t received = 0;
      std::array<std::int64_t, 3> next{};
      const auto take_all = [&] {
        while (auto message = small_in.try_recv()) CHECK((*message)->number == next[0]++);
        while (auto message = other_in.try_recv()) CHECK((*message)->number == next[1]++);
        while (auto message = medium_in.try_recv()) CHECK((*message)->stamp_ns == next[2]++);
        received = next[0] + next[1] + next[2];
      };
      const std::uint64_t before = horus::io::Reactor::current()->statistics().operations;
      for (std::int64_t i = 0; i < 50; ++i) {
        CHECK(small.send({.number = i}));
        CHECK(other.send({.number = i}));
        CHECK(medium.send({.stamp_ns = i}, points));
      }
      for (int turn = 0; turn < 100'000 && received < 150; ++turn) {
        co_await horus::yield();
        take_all();
      }
      CHECK(received == 150);
      // 52 kB: one write, some reads, and accounts.
      CHECK(horus::io::Reactor::current()->statistics().operations - before < 20);
    });
  }

  TEST_CASE("a message finds its channel among hundreds, also after others have gone") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = listening("rover");
      const Hub base = connecting(rover.address(), "base");
      constexpr std::size_t kTopics = 300;
      const auto few = horus::AdvertiseOptions().with_max_queued(40);
      std::vector<horus::Publisher<Reading>> out;
      std::vector<horus::Subscriber<Reading>> in;
      for (std::size_t i = 0; i < kTopics; ++i) {
        out.push_back(rover.advertise<Reading>("topic" + std::to_string(i), few));
        in.push_back(base.subscribe<Reading>("topic" + std::to_string(i), SubscribeOptions().with_depth(4)));
      }
      for (int round = 0; round < 3; ++round) {
        std::vector<bool> got(kTopics);
        const bool all_got = co_await eventually([&] {
          for (std::size_t i = 0; i < kTopics; ++i) {
            if (!got[i]) out[i].send({.number = static_cast<std::int64_t>(i)});
            while (auto message = in[i].try_recv()) {
              CHECK((*message)->number == static_cast<std::int64_t>(i));
              got[i] = true;
            }
          }
          return std::find(got.begin(), got.end(), false) == got.end();
        });
        CHECK(all_got);
        // Their channels get other numbers.
        for (std::size_t i = 0; i < kTopics; i += 7) {
          in[i].reset();
          in[i] = base.subscribe<Reading>("topic" + std::to_string(i), SubscribeOptions().with_depth(4));
        }
      }
    });
  }

  TEST_CASE("a subscriber may go while a large message is on its way to it: others get theirs") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = listening("rover");
      const Hub base = connecting(rover.address(), "base");
      auto out = rover.advertise<Scan>("scan", horus::AdvertiseOptions().with_max_bytes(4 << 20));
      for (int round = 0; round < 12; ++round) {
        auto stays = base.subscribe<Scan>("scan", SubscribeOptions().with_depth(2));
        auto goes = base.subscribe<Scan>("scan", SubscribeOptions().with_depth(2));
        const bool met = co_await eventually([&] { return out.subscribers() == 2; });
        REQUIRE(met);
        auto loan = out.loan(900'000);
        REQUIRE(loan.ok());
        (*loan)->stamp_ns = round;
        CHECK(out.publish(std::move(*loan)));
        for (int i = 0; i < round; ++i) co_await horus::yield();
        goes.reset();
        auto got = co_await stays.recv();
        CHECK(got.value()->stamp_ns == round);
        got = horus::Error(ECANCELED);
        stays.reset();
        const bool parted = co_await eventually([&] {
          out.send({}, {});
          return out.subscribers() == 0;
        });
        CHECK(parted);
        check_account(out.metrics());
      }
    });
  }

  TEST_CASE("send_wait loses nothing on the way to a slow subscriber") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = listening("rover");
      const Hub base = connecting(rover.address(), "base");
      auto out = rover.advertise<Reading>("imu");
      auto in = base.subscribe<Reading>("imu", SubscribeOptions().with_depth(3));
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      horus::Scope scope("test");
      auto sender = scope.spawn([&]() -> Task<> {
        for (std::int64_t i = 0; i < 100; ++i) {
          const Reading reading{.number = i};
          auto sent = co_await out.send_wait(reading);
          CHECK(sent.ok());
          const auto metrics = out.metrics();
          CHECK(metrics.queued + metrics.in_flight <= 3);
        }
      });
      for (std::int64_t i = 0; i < 100; ++i) {
        if (i % 10 == 0) co_await horus::sleep(2ms);
        auto message = co_await in.recv();
        CHECK(message.value()->number == i);
      }
      co_await sender;
      co_await scope.join();
      CHECK(in.missed() == 0);
      CHECK(out.metrics().dropped == 0);
      check_account(out.metrics());
    });
  }

  TEST_CASE("a subscriber that does not read loses by its policy, and both ends count the same") {
    struct Row {
      Overflow overflow;
      std::int64_t last;  // that is read
      bool all_sent;
    };
    for (const Row& row : {Row{Overflow::drop_oldest, 999, true}, Row{Overflow::latest, 999, true},
                           Row{Overflow::drop_newest, 7, false}}) {
      CAPTURE(static_cast<int>(row.overflow));
      const CapturedLog log;
      horus::io::run([&]() -> Task<> {
        const Hub rover = listening("rover");
        const Hub base = connecting(rover.address(), "base");
        auto out = rover.advertise<Reading>("imu");
        auto in =
            base.subscribe<Reading>("imu", SubscribeOptions().with_depth(4).with_overflow(row.overflow));
        const bool met = co_await eventually([&] { return out.subscribers() == 1; });
        REQUIRE(met);
        bool all_sent = true;
        for (std::int64_t i = 0; i < 1000; ++i) {
          all_sent = out.send({.number = i}) && all_sent;
          if (i % 10 == 0) co_await horus::sleep(100us);
          check_account(out.metrics());
        }
        CHECK(all_sent == row.all_sent);
        // What can come has come: then read it all.
        std::int64_t last = -1;
        std::uint64_t received = 0;
        const bool read = co_await eventually([&] {
          while (auto message = in.try_recv()) {
            CHECK((*message)->number > last);
            last = (*message)->number;
            ++received;
          }
          return out.metrics().queued == 0 && out.metrics().in_flight == 0;
        });
        CHECK(read);
        if (row.all_sent) CHECK(last == row.last);
        const auto metrics = out.metrics();
        check_account(metrics);
        CHECK(metrics.sent == 1000);
        CHECK(metrics.delivered == received);
        CHECK(metrics.dropped == 1000 - received);
        // The last losses of the publisher's end travel with the next message.
        out.send({.number = 5000});
        auto message = co_await in.recv();
        CHECK(message.value()->number == 5000);
        CHECK(in.missed() == metrics.dropped);
      });
    }
  }

  TEST_CASE("what was published before a publisher closed arrives, and its end is seen") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub base = listening("base");
      auto in = base.subscribe<Reading>("imu", SubscribeOptions().with_depth(100));
      {
        const Hub rover = connecting(base.address(), "rover");
        auto out = rover.advertise<Reading>("imu");
        const bool met = co_await eventually([&] { return out.subscribers() == 1; });
        REQUIRE(met);
        for (std::int64_t i = 0; i < 50; ++i) out.send({.number = i});
      }
      for (std::int64_t i = 0; i < 50; ++i) {
        auto message = co_await in.recv();
        CHECK(message.value()->number == i);
      }
      const bool gone =
          co_await eventually([&] { return !in.has_msg() && !in.try_recv() && in.publishers() == 0; });
      CHECK(gone);
    });
  }

  TEST_CASE("a subscriber that goes is gone at the publisher, and what it had is dropped") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = listening("rover");
      const Hub base = connecting(rover.address(), "base");
      auto out = rover.advertise<Reading>("imu");
      auto in = base.subscribe<Reading>("imu");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      for (std::int64_t i = 0; i < 5; ++i) out.send({.number = i});
      const bool arrived = co_await eventually([&] { return in.metrics().queued == 5; });
      CHECK(arrived);
      CHECK(in.try_recv().has_value());
      in.reset();
      const bool settled = co_await eventually([&] { return out.metrics().dropped == 4; });
      CHECK(settled);
      CHECK(out.metrics().delivered == 1);
      check_account(out.metrics());
      out.send({});
      CHECK(out.metrics().subscribers == 0);
      CHECK(out.metrics().sent == 5);
    });
  }

  TEST_CASE("links meet the hub that they name, and nobody else") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = listening("rover");
      const Hub base = connecting(rover.address(), "base");
      const Hub stranger = connecting(rover.address(), "stranger");
      auto near = rover.create_link<Reading>("data", "base");
      auto far = base.create_link<Reading>("data", "rover");
      auto wrong = stranger.create_link<Reading>("data", "rover");
      auto topic = base.subscribe<Reading>("data");
      const bool met = co_await eventually(
          [&] { return near.connected() && far.connected() && rover.connection_state().peers.size() == 2; });
      REQUIRE(met);
      near.send({.number = 1});
      far.send({.number = 2});
      auto at_far = co_await far.recv();
      auto at_near = co_await near.recv();
      CHECK(at_far.value()->number == 1);
      CHECK(at_near.value()->number == 2);
      CHECK(near.metrics().subscribers == 1);
      CHECK_FALSE(wrong.connected());
      CHECK_FALSE(topic.has_msg());
    });
  }

  TEST_CASE("nothing is passed on to a third hub") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub middle = listening("middle");
      const Hub left = connecting(middle.address(), "left");
      const Hub right = connecting(middle.address(), "right");
      auto out = left.advertise<Reading>("imu");
      auto near = middle.subscribe<Reading>("imu");
      auto far = right.subscribe<Reading>("imu");
      auto own = middle.advertise<Reading>("imu");
      const bool met = co_await eventually([&] { return out.subscribers() == 1 && own.subscribers() == 2; });
      REQUIRE(met);
      out.send({.number = 1});
      auto message = co_await near.recv();
      CHECK(message.value()->number == 1);
      own.send({.number = 2});
      message = co_await far.recv();
      CHECK(message.value()->number == 2);
      CHECK(far.metrics().received == 1);
    });
  }

  TEST_CASE("a topic with another type is refused, and both ends name both layouts, once") {
    CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = listening("rover");
      const Hub base = connecting(rover.address(), "base");
      auto out = rover.advertise<Reading>("imu");
      auto in = base.subscribe<Other>("imu");
      const auto problem = [](const Hub& hub) {
        const auto state = hub.connection_state();
        return state.peers.empty() ? std::string() : state.peers[0].problem;
      };
      const bool told = co_await eventually([&] {
        return problem(rover).find("Reading") != std::string::npos &&
               problem(base).find("Reading") != std::string::npos;
      });
      REQUIRE(told);
      for (const Hub& hub : {rover, base}) {
        CHECK(problem(hub).find("topic imu: hub rover publishes Reading {i64, f64[6]}, 56 bytes") !=
              std::string::npos);
        CHECK(problem(hub).find("hub base subscribes to Other {i32}, 4 bytes") != std::string::npos);
        CHECK(hub.connection_state().connected);
      }
      CHECK(out.subscribers() == 0);
    });
    CHECK(log.count("topic imu") == 2);
  }

  TEST_CASE(
      "a subscriber beyond the publisher's memory, or a topic too large for a hub, is refused with the "
      "remedy") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = listening("rover");
      const Hub base =
          Hub::tcp(rover.address(), "base", quick().with_role(TcpRole::connect).with_max_message_bytes(1000))
              .or_throw();
      auto small = rover.advertise<Reading>("imu", horus::AdvertiseOptions().with_max_queued(10));
      auto large = rover.advertise<std::string>("map");
      auto in = base.subscribe<Reading>("imu");
      auto map = base.subscribe<std::string>("map");
      const bool told = co_await eventually([&] {
        const auto state = base.connection_state();
        return !state.peers.empty() && state.peers[0].problem.find("max_queued") != std::string::npos &&
               state.peers[0].problem.find("TcpHubOptions::max_message_bytes") != std::string::npos;
      });
      CHECK(told);
    });
  }

  TEST_CASE("hubs and ports on other threads") {
    const CapturedLog log;
    std::atomic<std::uint16_t> port{0};
    std::atomic<bool> done{false};
    std::string address;
    std::thread rover([&] {
      horus::io::run([&]() -> Task<> {
        const Hub hub = listening("rover");
        address = hub.address();
        port = 1;
        std::thread publisher([&] {
          horus::io::run([&]() -> Task<> {
            auto out = hub.advertise<Reading>("imu");
            const bool met = co_await eventually([&] { return out.subscribers() == 1; });
            CHECK(met);
            for (std::int64_t i = 0; i < 2000; ++i) {
              const Reading reading{.number = i};
              auto sent = co_await out.send_wait(reading);
              CHECK(sent.ok());
            }
            const bool settled = co_await eventually([&] { return out.metrics().delivered == 2000; });
            CHECK(settled);
            check_account(out.metrics());
          });
        });
        const bool over = co_await eventually([&] { return done.load(); });
        CHECK(over);
        publisher.join();
      });
    });
    while (port == 0) std::this_thread::yield();
    horus::io::run([&]() -> Task<> {
      const Hub hub = connecting(address, "base");
      std::thread subscriber([&] {
        horus::io::run([&]() -> Task<> {
          auto in = hub.subscribe<Reading>("imu");
          for (std::int64_t i = 0; i < 2000; ++i) {
            auto message = co_await in.recv();
            REQUIRE(message.value()->number == i);
          }
          // Leave only when the account is told: the publisher waits for it.
          co_await horus::sleep(20ms);
        });
        done = true;
      });
      const bool over = co_await eventually([&] { return done.load(); });
      CHECK(over);
      subscriber.join();
    });
    rover.join();
  }

  TEST_CASE("when the listener dies the other listens, and a new one finds it") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      std::optional<Hub> first = Hub::tcp("127.0.0.1:0", "first", quick()).or_throw();
      const std::string address = first->address();
      const Hub second = Hub::tcp(address, "second", quick()).or_throw();
      auto in = second.subscribe<Reading>("imu");
      for (int round = 0; round < 3; ++round) {
        CAPTURE(round);
        auto out = first->advertise<Reading>("imu");
        const bool met = co_await eventually([&] { return out.subscribers() == 1; });
        REQUIRE(met);
        out.send({.number = round});
        auto message = co_await in.recv();
        CHECK(message.value()->number == round);
        out.reset();
        first.reset();
        const bool lost = co_await eventually([&] { return !second.connection_state().connected; });
        CHECK(lost);
        first = Hub::tcp(address, "first", quick()).or_throw();
      }
    });
  }

  TEST_CASE("two hubs that connect to each other keep one connection") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub a = listening("a");
      const Hub b =
          Hub::tcp("127.0.0.1:0", "b", quick().with_role(TcpRole::listen).with_peer(a.address())).or_throw();
      const Hub c = Hub::tcp("127.0.0.1:0", "c",
                             quick().with_role(TcpRole::listen).with_peer(b.address()).with_peer(b.address()))
                        .or_throw();
      auto out = c.advertise<Reading>("imu");
      auto in = b.subscribe<Reading>("imu");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      for (int i = 0; i < 50; ++i) {
        out.send({.number = i});
        auto message = co_await in.recv();
        CHECK(message.value()->number == i);
        co_await horus::sleep(2ms);
      }
      const bool one = co_await eventually([&] { return c.connection_state().peers.size() == 1; });
      CHECK(one);
      CHECK(b.connection_state().connected);
    });
  }

  TEST_CASE("addresses and options that cannot be are refused with the remedy") {
    const CapturedLog log;
    const auto refused = [](std::string address, const TcpHubOptions& options, int code) {
      const auto hub = Hub::tcp(std::move(address), "rover", options);
      REQUIRE_FALSE(hub.ok());
      CHECK(hub.code() == code);
      return hub.error().message();
    };
    horus::io::run([&]() -> Task<> {
      CHECK(refused("0.0.0.0:0", {}, EPERM).find("TcpHubOptions::insecure") != std::string::npos);
      CHECK(refused("10.1.2.3:80", TcpHubOptions().with_role(TcpRole::listen), EPERM).find("unencrypted") !=
            std::string::npos);
      CHECK(refused("somewhere", {}, EINVAL).find("127.0.0.1:8080") != std::string::npos);
      TcpHubOptions wrong[12];
      wrong[0].max_message_bytes = 0;
      wrong[1].max_greeting_bytes = 1;
      wrong[2].max_outbound_bytes = 1;
      wrong[3].max_connections = 0;
      wrong[4].max_connections_per_address = 0;
      wrong[5].max_ports = 0;
      wrong[6].peers.resize(1000);
      wrong[7].handshake_limit = 0ms;
      wrong[8].idle_limit = 1ms;
      wrong[9].retry_first = 0ms;
      wrong[10].retry_most = 1ms;
      wrong[11].linger = -1ms;
      const char* names[] = {"max_message_bytes",
                             "max_greeting_bytes",
                             "max_outbound_bytes",
                             "max_connections is",
                             "max_connections_per_address",
                             "max_ports",
                             "peers",
                             "handshake_limit",
                             "idle_limit",
                             "retry_first",
                             "retry_most",
                             "linger"};
      for (std::size_t i = 0; i < std::size(wrong); ++i)
        CHECK(refused("127.0.0.1:0", wrong[i], EINVAL).find(names[i]) != std::string::npos);
      CHECK_FALSE(Hub::tcp("127.0.0.1:0", "", {}).ok());
      CHECK(Hub::tcp("0.0.0.0:0", "rover", TcpHubOptions().with_insecure()).ok());
      const Hub hub = listening("rover");
      CHECK(refused(hub.address(), TcpHubOptions().with_role(TcpRole::listen), EADDRINUSE)
                .find(hub.address()) != std::string::npos);
      co_return;
    });
  }
}

}  // namespace
