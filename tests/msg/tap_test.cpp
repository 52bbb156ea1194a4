// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tap.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <horus/base/clock.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/task/scope.hpp>

namespace {

using namespace std::chrono_literals;
using horus::AdvertiseOptions;
using horus::Hub;
using horus::Overflow;
using horus::PublishedTopic;
using horus::SubscribeOptions;
using horus::Tap;
using horus::TapOptions;
using horus::Task;

struct Reading {
  std::int64_t number = 0;
};
struct Scan {
  std::int64_t number = 0;
  using Tail = float;
};

PublishedTopic find(const std::string& topic) {
  for (const PublishedTopic& published : horus::published_topics()) {
    if (published.topic == topic) return published;
  }
  return {};
}

Tap tap(const std::string& topic, const TapOptions& options = {}) {
  return Tap::open(find(topic), options).or_throw();
}

std::int64_t number_in(const Tap::Message& message) {
  std::int64_t number = 0;
  REQUIRE(message.bytes.size() >= sizeof number);
  std::memcpy(&number, message.bytes.data(), sizeof number);
  return number;
}

std::vector<std::int64_t> take_all(Tap& tap) {
  std::vector<std::int64_t> numbers;
  while (const Tap::Message* message = tap.take()) numbers.push_back(number_in(*message));
  return numbers;
}

TEST_SUITE("msg/tap") {
  TEST_CASE("every open publisher of this process is listed, with its hub and its layout") {
    horus::io::run([]() -> Task<> {
      Hub hub("front");
      auto imu = hub.advertise<Reading>("imu");
      auto scan = hub.advertise<Scan>("scan");
      auto in = hub.subscribe<Reading>("imu");
      const auto topics = horus::published_topics();
      REQUIRE(topics.size() == 2);
      CHECK(topics[0].topic == "imu");
      CHECK(topics[0].hub == "front");
      CHECK(topics[0].layout.hash == horus::layout_of<Reading>().hash);
      CHECK(topics[0].description == &horus::describe<Reading>());
      CHECK(topics[1].topic == "scan");
      CHECK(topics[1].publisher != topics[0].publisher);
      scan.reset();
      CHECK(horus::published_topics().size() == 1);
      co_return;
    });
  }

  TEST_CASE("a tap reads along what is sent from now on: small messages, large ones, tails") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto imu = hub.advertise<Reading>("imu");
      auto scan = hub.advertise<Scan>("scan");
      imu.send({.number = 1});
      Tap imu_tap = tap("imu");
      Tap scan_tap = tap("scan");
      CHECK(imu_tap.take() == nullptr);
      const std::int64_t before = horus::monotonic_ns();
      imu.send({.number = 2});
      imu.send({.number = 3});
      const std::vector<float> ranges{1.0F, 2.0F, 3.0F};
      scan.send({.number = 4}, ranges);
      auto loan = scan.loan(1).or_throw();
      loan->number = 5;
      loan.tail()[0] = 7.0F;
      scan.publish(std::move(loan));

      const Tap::Message* message = imu_tap.take();
      REQUIRE(message != nullptr);
      CHECK(number_in(*message) == 2);
      CHECK(message->bytes.size() == sizeof(Reading));
      CHECK(message->sequence == 0);
      CHECK(message->published_ns > before - 1'000'000'000);
      CHECK(message->published_ns <= horus::monotonic_ns());
      message = imu_tap.take();
      REQUIRE(message != nullptr);
      CHECK(message->sequence == 1);
      CHECK(imu_tap.take() == nullptr);

      message = scan_tap.take();
      REQUIRE(message != nullptr);
      REQUIRE(message->bytes.size() == sizeof(std::int64_t) + 3 * sizeof(float));
      CHECK(std::memcmp(message->bytes.data() + sizeof(std::int64_t), ranges.data(), 3 * sizeof(float)) == 0);
      message = scan_tap.take();
      REQUIRE(message != nullptr);
      CHECK(message->bytes.size() == sizeof(std::int64_t) + sizeof(float));
      co_return;
    });
  }

  TEST_CASE(
      "a publisher does not see a tap: not among its subscribers, nor in its account, nor in its room") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<Scan>("scan", AdvertiseOptions().with_max_queued(4).with_max_bytes(256));
      const std::vector<float> ranges(8, 1.0F);
      Tap forgotten = tap("scan", {.max_bytes = 512});
      CHECK(out.subscribers() == 0);
      auto in = hub.subscribe<Scan>(
          "scan", SubscribeOptions().with_depth(3).with_max_held(1).with_overflow(Overflow::drop_newest));
      for (int i = 0; i < 100; ++i) {  // far more than the tap keeps
        CHECK(out.has_room());
        CHECK(out.send({.number = i}, ranges));
        REQUIRE(in.try_recv().has_value());
      }
      const horus::PublisherMetrics metrics = out.metrics();
      CHECK(metrics.subscribers == 1);
      CHECK(metrics.sent == 100);
      CHECK(metrics.delivered == 100);
      CHECK(metrics.dropped == 0);
      CHECK(metrics.send_failures == 0);
      const std::vector<std::int64_t> kept = take_all(forgotten);
      CHECK(kept == std::vector<std::int64_t>{98, 99});
      CHECK(forgotten.missed() == 98);
      co_return;
    });
  }

  TEST_CASE("send_wait waits for subscribers alone") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<std::string>("chat", AdvertiseOptions().with_max_bytes(64));
      Tap forgotten = tap("chat");
      for (int i = 0; i < 200; ++i) {
        REQUIRE(out.has_room());
        auto sent = co_await out.send_wait("hello", 10s);
        REQUIRE(sent);
      }
      while (forgotten.take() != nullptr) {
      }
      CHECK(forgotten.missed() > 0);
    });
  }

  TEST_CASE(
      "messages without a fixed small size are tapped eight times at once, and a ninth is told why not") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<Scan>("scan", AdvertiseOptions().with_max_queued(2).with_max_bytes(64));
      std::vector<Tap> taps;
      for (int i = 0; i < 8; ++i) taps.push_back(tap("scan"));
      auto ninth = Tap::open(find("scan"));
      REQUIRE_FALSE(ninth);
      CHECK(ninth.code() == ENOBUFS);
      auto in = hub.subscribe<Scan>("scan", SubscribeOptions().with_depth(1).with_max_held(1));
      for (int i = 0; i < 1000; ++i) REQUIRE(out.send({.number = i}, {}));
      CHECK(in.try_recv().has_value());
      for (Tap& each : taps) CHECK(take_all(each).back() == 999);
      taps.clear();
      out.send({.number = 0}, {});  // sees them go
      CHECK(Tap::open(find("scan")));
      co_return;
    });
  }

  TEST_CASE("a tap outlives its publisher: what was sent can be taken, and then it has ended") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<Reading>("imu");
      const PublishedTopic topic = find("imu");
      Tap last = tap("imu");
      out.send({.number = 1});
      CHECK_FALSE(last.ended());
      out.reset();
      CHECK_FALSE(last.ended());
      CHECK(take_all(last) == std::vector<std::int64_t>{1});
      CHECK(last.ended());
      auto late = Tap::open(topic);
      REQUIRE_FALSE(late);
      CHECK(late.code() == ENOENT);
      co_return;
    });
  }

  TEST_CASE("a feed taps each publisher from its first message on, open before it or after") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto before = hub.advertise<Reading>("before");
      horus::TapFeed feed([](const PublishedTopic& topic) { return topic.topic != "unwanted"; });
      before.send({.number = 1});
      auto after = hub.advertise<Reading>("after");
      after.send({.number = 2});
      auto unwanted = hub.advertise<Reading>("unwanted");
      {
        auto short_lived = hub.advertise<Reading>("short");
        short_lived.send({.number = 3});
      }
      auto taken = feed.take();
      CHECK(taken.problems.empty());
      REQUIRE(taken.taps.size() == 3);
      CHECK(taken.taps[0].topic().topic == "before");
      for (std::int64_t i = 0; i < 3; ++i)
        CHECK(take_all(taken.taps[static_cast<std::size_t>(i)]) == std::vector<std::int64_t>{i + 1});
      CHECK(taken.taps[2].ended());
      CHECK_FALSE(taken.taps[1].ended());
      CHECK(feed.take().taps.empty());
      co_return;
    });
  }

  TEST_CASE("what a feed cannot tap is told, and the publisher is none the worse") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<Scan>("scan", AdvertiseOptions().with_max_queued(2).with_max_bytes(64));
      std::vector<Tap> taps;
      for (int i = 0; i < 8; ++i) taps.push_back(tap("scan"));
      horus::TapFeed feed;
      auto taken = feed.take();
      CHECK(taken.taps.empty());
      REQUIRE(taken.problems.size() == 1);
      CHECK(taken.problems[0].code() == ENOBUFS);
      CHECK(out.send({.number = 1}, {}));
      co_return;
    });
  }

  TEST_CASE(
      "a thread without a reactor taps a publisher of another one, and every message is taken or missed") {
    constexpr std::int64_t kMessages = 200'000;
    std::atomic<bool> sent{false};
    std::atomic<bool> opened{false};
    std::uint64_t taken = 0;
    std::uint64_t missed = 0;
    bool ordered = true;
    std::thread observer;
    horus::io::run([&]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<Reading>("imu");
      observer = std::thread([&, topic = find("imu")] {
        Tap along = Tap::open(topic, {.max_bytes = 4096}).or_throw();
        opened.store(true);
        std::int64_t last = -1;
        while (true) {
          const bool over = sent.load();
          const Tap::Message* message = along.take();
          if (message == nullptr && over) break;
          if (message == nullptr) continue;
          ++taken;
          const std::int64_t number = number_in(*message);
          ordered = ordered && number > last && message->sequence == static_cast<std::uint64_t>(number);
          last = number;
        }
        missed = along.missed();
      });
      while (!opened.load()) co_await horus::yield();
      for (std::int64_t i = 0; i < kMessages; ++i) out.send({.number = i});
      sent.store(true);
    });
    observer.join();
    CHECK(ordered);
    CHECK(taken > 0);
    CHECK(taken + missed == kMessages);
  }
}

}  // namespace
