// SPDX-License-Identifier: Apache-2.0
// What publisher and subscriber promise each other across threads and machines: whoever waits for room is woken, what was
// accepted arrives, and a message says how old it is.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/link/inbox.hpp>
#include <horus/msg/link/outlet.hpp>
#include <horus/msg/subscriber.hpp>
#include <horus/task/scope.hpp>

#include "../support/eventually.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Overflow;
using horus::SubscribeOptions;
using horus::Task;
using horus::TcpHubOptions;
using horus::testing::eventually;

struct Reading {
  std::int64_t number = 0;
};
struct Scan {
  std::int64_t number = 0;
  using Tail = float;
};

// Sends `count` messages, each as soon as there is room, on a thread with a loop of its own.
std::thread patient_publisher(const Hub& hub, std::int64_t count, std::atomic<std::int64_t>& sent) {
  return std::thread([&hub, count, &sent] {
    horus::io::run([&]() -> Task<> {
      auto out = hub.advertise<Reading>("work");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      for (std::int64_t i = 0; met && i < count; ++i) {
        const Reading reading{.number = i};
        auto waiting = out.send_wait(reading, 2s);
        const auto done = co_await waiting;
        if (!done) break;
        ++sent;
      }
      co_await eventually([&] { return out.metrics().queued + out.metrics().in_flight == 0; });
    });
  });
}

class CountingBell final : public horus::msg::Bell {
 public:
  void ring() noexcept override { ++rings; }
  int rings = 0;
};

TEST_SUITE("msg/link_rules") {
  TEST_CASE("in a stream a subscriber looks once more before it asks to be woken, and not for ever") {
    using namespace horus::msg;
    horus::io::run([]() -> Task<> {
      const horus::Layout& layout = horus::layout_of<Reading>();
      const auto options = SubscribeOptions().with_depth(8).with_overflow(Overflow::drop_newest);
      const LinkShape shape = LinkShape::of(layout, options.depth, options.overflow, 1);
      const LinkMemory link =
          LinkMemory::over(Mapping::create(shape.bytes(), false, "link").or_throw(), shape);
      auto slots = std::make_shared<SlotTable>(1, 64);
      const auto bell = std::make_shared<CountingBell>();
      Outlet outlet(link, options.overflow, bell);
      const auto inbox = std::make_shared<Inbox>("stream", layout, options);
      // One that lives on another thread, as far as the inbox knows.
      inbox->attach(new Inlet(link, std::move(slots), 8, 0, 1, bell, false));

      std::int64_t received = 0, sent = 0;
      const auto send = [&] {
        const Reading reading{.number = sent++};
        CHECK(outlet.push(&reading, 1));
      };
      const auto asleep = [&] { return link.state->subscriber_asleep.load() != 0; };
      horus::Scope scope("reader");
      scope.spawn([&]() -> Task<> {
        while (received < 5) {
          horus::detail::RecvAwaiter<Reading> next(*inbox);
          auto message = co_await next;
          CHECK(message.value()->number == received);
          ++received;
        }
      });
      const auto read_all = [&]() -> Task<> {
        while (received < sent) co_await horus::yield();
        co_await horus::yield();
      };
      co_await horus::yield();
      send();
      send();
      co_await read_all();
      send();
      CHECK(inbox->before_sleep());
      CHECK_FALSE(asleep());  // its publisher makes no system call
      co_await read_all();

      // Nothing comes: it asks.
      CHECK_FALSE(inbox->before_sleep());
      CHECK(asleep());
      send();
      co_await read_all();

      // One message at a time is no stream.
      send();
      CHECK(inbox->before_sleep());
      CHECK(asleep());
      co_await scope.join();
      inbox->close();
      CHECK(bell->rings == 1);  // the inlet's end
    });
  }

  TEST_CASE("a publisher that waits for room is woken for each message that a slow subscriber takes") {
    const Hub hub;
    std::atomic<std::int64_t> sent{0};
    std::thread publisher;
    horus::io::run([&]() -> Task<> {
      auto in = hub.subscribe<Reading>("work", SubscribeOptions().with_depth(8));
      publisher = patient_publisher(hub, 40, sent);
      const bool full = co_await eventually([&] { return in.metrics().queued == 8; });
      REQUIRE(full);
      // Never half of the queue at a time, and never all of it.
      for (std::int64_t i = 0; i < 32; ++i) {
        auto message = in.try_recv();
        REQUIRE(message.has_value());
        CHECK((*message)->number == i);
        const bool refilled = co_await eventually([&] { return in.metrics().queued == 8; });
        REQUIRE(refilled);
      }
      for (std::int64_t i = 32; i < 40; ++i) CHECK((*in.try_recv())->number == i);
    });
    publisher.join();
    CHECK(sent == 40);
  }

  TEST_CASE(
      "a publisher on another thread than its hub's connection is woken when a far subscriber has taken "
      "something") {
    std::atomic<std::int64_t> sent{0};
    std::thread publisher;
    horus::io::run([&]() -> Task<> {
      const Hub near =
          Hub::tcp("127.0.0.1:0", "near", TcpHubOptions().with_role(horus::TcpRole::listen)).or_throw();
      const Hub far =
          Hub::tcp(near.address(), "far", TcpHubOptions().with_role(horus::TcpRole::connect)).or_throw();
      auto in = far.subscribe<Reading>("work", SubscribeOptions().with_depth(2));
      publisher = patient_publisher(near, 20, sent);
      for (std::int64_t i = 0; i < 20; ++i) {
        auto message = co_await in.recv();
        CHECK(message.value()->number == i);
        co_await horus::sleep(2ms);
      }
      CHECK(in.missed() == 0);
      const bool all = co_await eventually([&] { return sent == 20; });
      CHECK(all);
      co_await horus::sleep(20ms);
    });
    publisher.join();
    CHECK(sent == 20);
  }

  TEST_CASE(
      "what was accepted for a far subscriber that drops the newest arrives there, however slow it is") {
    horus::io::run([]() -> Task<> {
      const Hub near =
          Hub::tcp("127.0.0.1:0", "near", TcpHubOptions().with_role(horus::TcpRole::listen)).or_throw();
      const Hub far =
          Hub::tcp(near.address(), "far", TcpHubOptions().with_role(horus::TcpRole::connect)).or_throw();
      auto in = far.subscribe<Reading>("log",
                                       SubscribeOptions().with_depth(4).with_overflow(Overflow::drop_newest));
      auto out = near.advertise<Reading>("log");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      std::int64_t accepted = 0;
      for (std::int64_t i = 0; i < 100; ++i) {
        if (out.send({.number = i})) ++accepted;
        co_await horus::sleep(horus::Duration::zero());
      }
      CHECK(accepted < 100);
      std::int64_t received = 0, last = -1;
      const bool all = co_await eventually([&] {
        while (auto message = in.try_recv()) {
          CHECK((*message)->number > last);
          last = (*message)->number;
          ++received;
        }
        return received >= accepted;
      });
      CHECK(all);
      CHECK(received == accepted);
    });
  }

  TEST_CASE("a sample knows how long ago it was published, in a queue and in hand, whatever its size") {
    horus::io::run([]() -> Task<> {
      const Hub hub;
      auto small_out = hub.advertise<Reading>("small");
      auto large_out = hub.advertise<Scan>("large");
      auto small_in = hub.subscribe<Reading>("small");
      auto large_in = hub.subscribe<Scan>("large");
      co_await horus::sleep(1ms);
      small_out.send({.number = 1});
      large_out.send({.number = 1}, {});
      co_await horus::sleep(20ms);
      auto small = small_in.try_recv();
      auto large = large_in.try_recv();
      CHECK(small->age() >= 20ms);
      CHECK(large->age() >= 20ms);
      const auto before = small->age();
      co_await horus::sleep(5ms);
      CHECK(small->age() >= before + 5ms);
      small_out.send({.number = 2});
      CHECK((*small_in.latest())->number == 2);
      CHECK(small_in.latest()->age() < 10s);
    });
  }

  TEST_CASE("an account from the other end wakes the publisher that waits for it, and nobody else") {
    horus::Layout layout;
    layout.head_bytes = layout.tail_offset = 8;
    const auto shape = horus::msg::LinkShape::of(layout, 4, Overflow::drop_newest, 0);
    const auto memory = horus::msg::Mapping::create(shape.bytes(), false, "link").or_throw();
    const auto link = horus::msg::LinkMemory::over(memory, shape);
    const auto bell = std::make_shared<CountingBell>();
    horus::msg::FarEnd far_end;
    far_end.belong_to(link, bell);
    far_end.settle(1, 0);  // nobody waits
    CHECK(bell->rings == 0);
    link.state->publisher_waits.store(1);
    far_end.settle(2, 0);
    CHECK(bell->rings == 1);
    CHECK(far_end.delivered() == 2);
    far_end.settle(2, 1);  // it has been told, and has not asked again
    CHECK(bell->rings == 1);
    link.state->publisher_waits.store(1);
    far_end.settle(2, 2);  // a message that is lost makes room as well
    CHECK(bell->rings == 2);
  }

  // A loaded machine takes its time until a subscriber knows that it is connected.
  TEST_CASE("a fast publisher is believed what it sent since it was asked, and no more") {
    horus::Layout layout;
    layout.head_bytes = layout.tail_offset = 8;
    const auto shape = horus::msg::LinkShape::of(layout, 4, Overflow::drop_oldest, 0);
    for (const bool in_time : {true, false}) {
      CAPTURE(in_time);
      const auto memory = horus::msg::Mapping::create(shape.bytes(), false, "link").or_throw();
      const auto link = horus::msg::LinkMemory::over(memory, shape);
      const std::int64_t asked_ns = horus::now_ns() - 1'000'000'000;
      constexpr std::uint64_t kSent = 100'000'000;
      // The last of them, as they lie there.
      for (std::uint64_t number = kSent - 4; number < kSent; ++number)
        link.words.entry(number)->store(4 * number + horus::msg::entry_state::kInline);
      link.state->pushed.store(kSent);
      auto* inlet = new horus::msg::Inlet(link, nullptr, 8, 0, 8, std::make_shared<CountingBell>(), false);
      if (in_time) inlet->asked_at(asked_ns);
      horus::msg::Arrival arrival;
      horus::msg::MessageStorage storage;
      const auto outcome = inlet->take(arrival, storage.bytes);
      CHECK((outcome == horus::msg::Inlet::Outcome::taken) == in_time);
      CHECK((outcome == horus::msg::Inlet::Outcome::broken) != in_time);
      inlet->let_go();
    }
  }

  TEST_CASE("a stamp that cannot be makes no age that cannot be") {
    for (const std::int64_t stamp : {INT64_MIN, INT64_MIN + 1, std::int64_t{-1}, std::int64_t{0}, INT64_MAX})
      CHECK(horus::msg::age_of(stamp) >= horus::Duration::zero());
    CHECK(horus::msg::age_of(INT64_MAX) == horus::Duration::zero());
  }
}

}  // namespace
