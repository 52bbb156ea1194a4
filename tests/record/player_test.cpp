// SPDX-License-Identifier: Apache-2.0
#include <horus/record/player.hpp>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <horus/bag/file_writer.hpp>
#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>
#include <horus/msg/tap.hpp>
#include <horus/record/recording.hpp>
#include <horus/sim/world.hpp>
#include <horus/task/scope.hpp>

#include "../support/temporary_directory.hpp"

namespace field {

struct Reading {
  horus::Text<16> name;
  double value = 0;
  using Tail = std::uint8_t;
};
HORUS_MESSAGE(Reading, name, value);

}  // namespace field

namespace {

using namespace std::chrono_literals;
using horus::Duration;
using horus::Hub;
using horus::Player;
using horus::PlayOptions;
using horus::PlayStatus;
using horus::Task;
using horus::sim::World;

constexpr const char* kFile = "/var/run.mcap";

// Counts from 0 to 4, one every 100 ms, each with a reading at the same time; on the simulated disk.
Task<> record(Hub& hub) {
  horus::Scope scope("recorder");
  auto recording = scope.spawn(horus::record_topics(kFile, horus::RecordOptions()));
  auto counts = hub.advertise<std::int64_t>("count");
  auto readings = hub.advertise<field::Reading>("reading");
  co_await horus::sleep(10ms);
  for (std::int64_t i = 0; i < 5; ++i) {
    counts.send(i);
    field::Reading reading;
    reading.name.set("lidar");
    reading.value = 0.5 * static_cast<double>(i);
    const std::vector<std::uint8_t> tail(static_cast<std::size_t>(i), 7);
    readings.send(reading, tail);
    co_await horus::sleep(100ms);
  }
  scope.cancel();
  co_await scope.join();
}

struct Got {
  std::int64_t value;
  Duration when;  // since the playing began
  bool operator==(const Got&) const = default;
};
using Seen = std::vector<Got>;

doctest::String toString(const Got& got) {
  return doctest::String((std::to_string(got.value) + " at " + std::to_string(got.when.count())).c_str());
}

// What comes on a topic of counts.
Task<> listen(Hub hub, std::string topic, Seen& seen, std::int64_t begin_ns) {
  auto in = hub.subscribe<std::int64_t>(std::move(topic));
  while (true) {
    const auto sample = co_await in.recv();
    if (!sample) co_return;
    // A millisecond or two pass while the simulated disk reads the file.
    seen.push_back({**sample, (horus::now_ns() - begin_ns) / 10'000'000 * 10ms});
  }
}

Task<horus::Result<Player>> open(PlayOptions options) {
  return Player::open({std::string(kFile)}, std::move(options));
}

// Records, and gives the test a hub on which nothing is published.
void in_world(std::function<Task<>(Hub)> test, Duration length = 60s) {
  World world(1);
  bool ended = false;
  world.process("robot", [&]() -> Task<int> {
    Hub robot("robot");
    auto recording = record(robot);
    co_await recording;
    Hub hub("desk");
    auto testing = test(hub);
    co_await testing;
    ended = true;
    co_return 0;
  });
  const horus::sim::Report report = world.run_for(length);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(ended);
}

// Plays all of it while somebody listens.
Task<PlayStatus> play(Hub hub, PlayOptions options, std::string topic, Seen& seen) {
  horus::Scope scope("play");
  const std::int64_t begin = horus::now_ns();
  auto listening = scope.spawn(listen(hub, std::move(topic), seen, begin));
  co_await horus::yield();
  auto playing = horus::play(kFile, hub, std::move(options));
  PlayStatus status = (co_await playing).or_throw();
  co_await horus::sleep(1ms);
  scope.cancel();
  co_await scope.join();
  co_return status;
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// The recording above, as a file of the real disk.
void record_to(const std::string& path) {
  World world(1);
  world.process("robot", []() -> Task<int> {
    Hub robot("robot");
    auto recording = record(robot);
    co_await recording;
    co_return 0;
  });
  const horus::sim::Report report = world.run_for(10s);
  REQUIRE_MESSAGE(report.passed, report.to_string());
  write_file(path, world.file("robot", kFile).value());
}

}  // namespace

TEST_SUITE("record/player") {
  TEST_CASE("messages are published in their time, with their types, and equal times keep their order") {
    in_world([](Hub hub) -> Task<> {
      std::string order;
      horus::Scope scope("listeners");
      scope.spawn([&]() -> Task<> {
        auto counts = hub.subscribe<std::int64_t>("count");
        auto readings = hub.subscribe<field::Reading>("reading");
        for (int i = 0; i < 5; ++i) {
          const auto count = (co_await counts.recv()).or_throw();
          const auto reading = (co_await readings.recv()).or_throw();
          CHECK(reading->value == 0.5 * static_cast<double>(*count));
          CHECK(reading->name == "lidar");
          CHECK(reading.tail().size() == static_cast<std::size_t>(*count));
        }
      });
      Seen seen;
      auto playing = play(hub, PlayOptions(), "count", seen);
      const PlayStatus status = co_await playing;
      co_await scope.join();
      CHECK(seen == Seen{{0, 0ms}, {1, 100ms}, {2, 200ms}, {3, 300ms}, {4, 400ms}});
      CHECK(status.messages == 10);
      CHECK(status.late == 0);
      CHECK(status.rounds == 1);
      CHECK(status.position == 400ms);
      REQUIRE(status.topics.size() == 2);
      CHECK(status.topics[0].topic == "count");
      CHECK(status.topics[0].hub == "robot");
      CHECK(status.topics[0].messages == 5);
      CHECK(status.topics[1].topic == "reading");
      CHECK(status.topics[1].type == "field::Reading");
    });
  }

  TEST_CASE("rate, part, delay and other names") {
    in_world([](Hub hub) -> Task<> {
      Seen fast;
      auto playing = play(hub, PlayOptions().with_rate(2).with_delay(1s), "count", fast);
      co_await playing;
      CHECK(fast == Seen{{0, 1000ms}, {1, 1050ms}, {2, 1100ms}, {3, 1150ms}, {4, 1200ms}});
      Seen part;
      auto in_part =
          play(hub, PlayOptions().with_part(150ms, 200ms).with_renamed("count", "other"), "other", part);
      const PlayStatus status = co_await in_part;
      CHECK(part == Seen{{2, 50ms}, {3, 150ms}});
      CHECK(status.messages == 4);
      Seen slow;
      auto one = play(hub, PlayOptions().with_rate(0.1).with_topics({"c*t"}), "count", slow);
      const PlayStatus alone = co_await one;
      CHECK(slow.back() == Got{4, 4s});
      CHECK(alone.messages == 5);
    });
  }

  TEST_CASE("a loop begins anew until it is stopped") {
    in_world([](Hub hub) -> Task<> {
      Seen seen;
      horus::Scope scope("play");
      scope.spawn(listen(hub, "count", seen, horus::now_ns()));
      auto opening = open(PlayOptions().with_loop());
      Player player = (co_await opening).or_throw();
      auto playing = scope.spawn(player.run(hub));
      co_await horus::sleep(950ms);
      player.stop();
      const auto status = (co_await playing).or_throw();
      CHECK(status.rounds == 2);
      CHECK(seen.size() == 12);
      CHECK(seen[5].value == 0);
      CHECK(seen[5].when < 402ms);
      scope.cancel();
      co_await scope.join();
    });
  }

  TEST_CASE("paused, nothing is published but step by step, and the time goes on where it was") {
    in_world([](Hub hub) -> Task<> {
      Seen seen;
      horus::Scope scope("play");
      scope.spawn(listen(hub, "count", seen, horus::now_ns()));
      PlayOptions options;
      options.paused = true;
      options.topics = {"count"};
      auto opening = open(options);
      Player player = (co_await opening).or_throw();
      auto playing = scope.spawn(player.run(hub));
      co_await horus::sleep(10s);
      CHECK(seen.empty());
      player.step();
      player.step();
      co_await horus::sleep(1s);
      CHECK(seen.size() == 2);
      CHECK(player.status().paused);
      CHECK(player.status().position == 100ms);
      player.resume();
      co_await horus::sleep(150ms);
      CHECK(seen.size() == 3);
      player.pause();
      co_await horus::sleep(5s);
      player.resume();
      const auto status = (co_await playing).or_throw();
      CHECK(status.messages == 5);
      CHECK(status.late == 0);
      CHECK(seen == Seen{{0, 10s}, {1, 10s}, {2, 11100ms}, {3, 16200ms}, {4, 16300ms}});
      scope.cancel();
      co_await scope.join();
    });
  }

  TEST_CASE("a clock tells the time of the recording") {
    in_world([](Hub hub) -> Task<> {
      std::vector<std::int64_t> times;
      horus::Scope scope("play");
      scope.spawn([&]() -> Task<> {
        auto in = hub.subscribe<horus::messages::Clock>("clock");
        while (true) {
          const auto sample = co_await in.recv();
          if (!sample) co_return;
          times.push_back((*sample)->clock.ns);
        }
      });
      Seen seen;
      auto playing = play(hub, PlayOptions().with_rate(2).with_clock(50ms), "count", seen);
      co_await playing;
      scope.cancel();
      co_await scope.join();
      REQUIRE(times.size() == 5);
      for (std::size_t i = 1; i < times.size(); ++i) CHECK(times[i] - times[i - 1] == 100'000'000);
    });
  }

  TEST_CASE("it waits for subscribers, and counts what they lose") {
    in_world([](Hub hub) -> Task<> {
      const auto silent = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
      horus::Scope scope("play");
      auto opening = open(PlayOptions().with_topics({"count"}).with_subscribers(2).with_rate(1000));
      Player player = (co_await opening).or_throw();
      auto playing = scope.spawn(player.run(hub));
      auto one = hub.subscribe<std::int64_t>("count", horus::SubscribeOptions().with_depth(2));
      co_await horus::sleep(1s);
      CHECK(player.status().waiting);
      auto two = hub.subscribe<std::int64_t>("count");
      const auto status = (co_await playing).or_throw();
      CHECK_FALSE(status.waiting);
      CHECK(status.topics.at(0).messages == 5);
      CHECK(status.topics.at(0).subscribers == 2);
      CHECK(status.topics.at(0).dropped == 3);
      horus::set_log_sink(silent);
    });
  }

  TEST_CASE("what cannot be played is named, and what was asked for in vain is refused") {
    in_world([](Hub hub) -> Task<> {
      auto making = horus::bag::FileWriter::create("/var/odd.mcap", horus::bag::WriterOptions());
      auto file = (co_await making).or_throw();
      auto& writer = file.writer();
      const auto schema = writer.add_schema("x/msg/Y", "ros2msg", "uint8 x").or_throw();
      const auto odd = writer.add_channel("odd", "cdr", schema).or_throw();
      const auto proto = writer.add_channel("proto", "protobuf", 0).or_throw();
      const auto link = writer.add_channel("link", "cdr", schema, {{"horus.peer", "arm"}}).or_throw();
      const auto data = writer.add_channel("data", "json", 0).or_throw();
      const std::string json = R"({"value":1})";
      for (const auto channel : {odd, proto, link, data}) {
        auto adding = file.add(horus::bag::Message{channel, 0, 5, 5, std::as_bytes(std::span(json))});
        (co_await adding).or_throw();
      }
      auto finishing = file.finish();
      (co_await finishing).or_throw();
      auto playing = horus::play("/var/odd.mcap", hub);
      const PlayStatus status = (co_await playing).or_throw();
      CHECK(status.left_out.size() == 3);
      CHECK(status.messages == 1);
      REQUIRE(status.topics.size() == 1);
      CHECK(status.topics[0].type == "data (MessagePack)");
      auto nothing = horus::play("/var/odd.mcap", hub, PlayOptions().with_topics({"odd"}));
      const auto refused = co_await nothing;
      REQUIRE_FALSE(refused);
      CHECK_MESSAGE(refused.error().message().find("x/msg/Y") != std::string::npos,
                    refused.error().message());

      for (const auto& [options, text] : std::vector<std::pair<PlayOptions, std::string>>{
               {PlayOptions().with_topics({"cuont"}), "did you mean \"count\"?"},
               {PlayOptions().with_renamed("readin", "x"), "did you mean \"reading\"?"},
               {PlayOptions().with_renamed("reading", "two words"), "without spaces"},
               {PlayOptions().with_rate(0), "rate 0"},
               {PlayOptions().with_rate(-1), "rate -1"},
               {PlayOptions().with_rate(std::nan("")), "rate nan"},
               {PlayOptions().with_part(-1s), "start"}}) {
        auto trying = horus::play(kFile, hub, options);
        const auto tried = co_await trying;
        REQUIRE_FALSE(tried);
        CHECK_MESSAGE(tried.error().message().find(text) != std::string::npos, tried.error().message());
      }
      auto missing = horus::play("/var/none.mcap", hub);
      const auto none = co_await missing;
      CHECK(none.code() == ENOENT);
      // Another type on its hub.
      auto in = hub.subscribe<double>("count");
      auto wrong = horus::play(kFile, hub);
      const auto mismatch = co_await wrong;
      CHECK(mismatch.code() == horus::kTypeMismatch);
    });
  }

  TEST_CASE("a recording of the real disk is played into a process of a world, the same every time") {
    const TemporaryDirectory folder;
    record_to(folder / "field.mcap");
    const auto drive = [&] {
      World world(3);
      std::vector<double> sums;
      world.process("consumer", [&]() -> Task<int> {
        co_await horus::sleep(2s);  // it need not be there at once
        Hub hub("consumer");
        auto in = hub.subscribe<field::Reading>("reading");
        double sum = 0;
        for (int i = 0; i < 5; ++i) {
          const auto reading = (co_await in.recv()).or_throw();
          sums.push_back(sum += reading->value + static_cast<double>(reading.tail().size()));
        }
        co_return 0;
      });
      world.play("consumer", folder / "field.mcap");
      const horus::sim::Report report = world.run_for(10s);
      CHECK_MESSAGE(report.passed, report.to_string());
      CHECK(report.virtual_time >= 2400ms);
      CHECK(report.virtual_time < 2500ms);
      return std::pair(sums, report.trace_hash);
    };
    const auto first = drive();
    CHECK(first.first == std::vector<double>{0, 1.5, 4.5, 9, 15});
    CHECK(drive() == first);
  }

  TEST_CASE(
      "a world fails when the recording does not fit the process, and is refused when it cannot be read") {
    const TemporaryDirectory folder;
    record_to(folder / "field.mcap");
    World world(1);
    world.process("consumer", []() -> Task<int> {
      Hub hub("consumer");
      auto in = hub.subscribe<double>("count");
      co_await horus::sleep(1s);
      co_return 0;
    });
    CHECK_THROWS_AS(world.play("consumer", folder / "none.mcap"), horus::Error);
    CHECK_THROWS_AS(world.play("consumer", folder / "field.mcap", PlayOptions().with_topics({"cuont"})),
                    horus::Error);
    CHECK_THROWS_AS(world.play("nobody", folder / "field.mcap"), std::exception);
    world.play("consumer", folder / "field.mcap", PlayOptions().with_topics({"count"}));
    const horus::sim::Report report = world.run_for(10s);
    CHECK_FALSE(report.passed);
    CHECK_MESSAGE(report.failure.find("count") != std::string::npos, report.failure);
  }
}
