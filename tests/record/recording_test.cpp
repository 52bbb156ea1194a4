// SPDX-License-Identifier: Apache-2.0
#include <horus/record/recording.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <horus/bag/reader.hpp>
#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/cdr.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>
#include <horus/task/scope.hpp>

#include "../support/captured_log.hpp"
#include "../support/temporary_directory.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Recording;
using horus::RecordOptions;
using horus::Task;

struct Read {
  bool indexed = false;
  std::map<std::string, std::uint64_t> counts;  // of messages, by topic
  std::map<std::string, std::string> losses;
  bool ordered = true;
};

Task<Read> read(std::string path) {
  Read result;
  auto opening = horus::bag::Reader::open(std::move(path));
  auto reader = (co_await opening).or_throw();
  const horus::bag::Contents& contents = reader.contents();
  result.indexed = contents.indexed;
  for (const auto& index : contents.metadata) {
    if (index.name != "horus.losses") continue;
    auto reading = reader.metadata(index);
    result.losses = (co_await reading).or_throw().values;
  }
  std::map<std::uint16_t, std::uint32_t> next;
  std::uint64_t last_ns = 0;
  while (true) {
    auto reading = reader.next();
    const auto message = co_await reading;
    if (!message) break;
    ++result.counts[contents.channels.at(message->channel).topic];
    result.ordered =
        result.ordered && message->log_ns >= last_ns && message->sequence == next[message->channel]++;
    last_ns = message->log_ns;
  }
  co_return result;
}

Read read_file(const std::string& path) { return horus::io::run(read(path)); }

}  // namespace

TEST_SUITE("record/recording") {
  TEST_CASE("a recording has every message of every publisher, from its first one to stop()") {
    const TemporaryDirectory folder;
    const std::string path = folder / "run.mcap";
    auto recording = Recording::start(path, RecordOptions().without_topics({"rosout"})).or_throw();
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto twist = hub.advertise<horus::messages::Twist>("cmd_vel");
      for (int i = 0; i < 500; ++i) twist.send({});
      auto chat = hub.advertise<std::string>("chat");
      for (int i = 0; i < 20; ++i) chat.send(std::string(100, 'x'));
      co_return;
    });
    CHECK(recording.stop());
    const horus::RecordingStatus status = recording.status();
    CHECK(status.ended);
    CHECK(status.messages == 520);
    CHECK(status.files == 1);
    CHECK(status.lost == 0);
    CHECK(status.problem.empty());
    CHECK(status.bytes == std::filesystem::file_size(path));
    const Read found = read_file(path);
    CHECK(found.indexed);
    CHECK(found.ordered);
    CHECK(found.counts == std::map<std::string, std::uint64_t>{{"chat", 20}, {"cmd_vel", 500}});
    CHECK(found.losses.empty());
    CHECK(recording.stop());  // it has ended
  }

  TEST_CASE("two recordings of different topics do not disturb each other") {
    const TemporaryDirectory folder;
    auto left = Recording::start(folder / "left.mcap", RecordOptions().with_topics({"left/*"})).or_throw();
    auto rest = Recording::start(folder / "rest.mcap",
                                 RecordOptions().without_topics({"left/*", "rosout"}).with_compression(false))
                    .or_throw();
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto a = hub.advertise<std::int64_t>("left/a");
      auto b = hub.advertise<std::int64_t>("right/b");
      for (std::int64_t i = 0; i < 10; ++i) a.send(i);
      for (std::int64_t i = 0; i < 7; ++i) b.send(i);
      co_return;
    });
    CHECK(left.stop());
    CHECK(rest.stop());
    CHECK(read_file(folder / "left.mcap").counts == std::map<std::string, std::uint64_t>{{"left/a", 10}});
    CHECK(read_file(folder / "rest.mcap").counts == std::map<std::string, std::uint64_t>{{"right/b", 7}});
  }

  TEST_CASE("a file that exists, or cannot be made, is an error at the start") {
    const TemporaryDirectory folder;
    const std::string path = folder / "run.mcap";
    CHECK(Recording::start(path).or_throw().stop());
    auto again = Recording::start(path);
    REQUIRE_FALSE(again);
    CHECK(again.code() == EEXIST);
    CHECK(again.error().message().find(path) != std::string::npos);
    CHECK(again.error().message().find("another name") != std::string::npos);
    auto nowhere = Recording::start(folder / "missing/run.mcap");
    REQUIRE_FALSE(nowhere);
    CHECK(nowhere.code() == ENOENT);
  }

  TEST_CASE("a time below 0 is refused at the start") {
    const TemporaryDirectory folder;
    auto file = Recording::start(folder / "run.mcap", RecordOptions().with_max_file(0, -1s));
    REQUIRE_FALSE(file);
    CHECK(file.code() == EINVAL);
    CHECK(file.error().message().find("max_file_time") != std::string::npos);
    auto last = Recording::start(folder / "run.mcap", RecordOptions().with_snapshot(-1s));
    REQUIRE_FALSE(last);
    CHECK(last.error().message().find("snapshot") != std::string::npos);
    const auto task =
        horus::io::run(horus::record_topics(folder / "run.mcap", RecordOptions().with_snapshot(-1s)));
    REQUIRE_FALSE(task);
    CHECK(task.code() == EINVAL);
  }

  TEST_CASE("two threads may stop a recording, and get the same answer") {
    const TemporaryDirectory folder;
    for (int i = 0; i < 20; ++i) {
      auto recording = Recording::start(folder / std::to_string(i)).or_throw();
      bool other = false;
      std::thread thread([&] { other = static_cast<bool>(recording.stop()); });
      const bool mine = static_cast<bool>(recording.stop());
      thread.join();
      CHECK(mine);
      CHECK(other);
    }
  }

  TEST_CASE("lines of the log are a topic, as ROS has them, unless they are left out") {
    const TemporaryDirectory folder;
    const horus::testing::CapturedLog quiet;
    auto all = Recording::start(folder / "all.mcap").or_throw();
    auto without =
        Recording::start(folder / "without.mcap", RecordOptions().without_topics({"rosout"})).or_throw();
    horus::log_warning("the battery is low");
    horus::log_info("and now it is not");
    horus::log_line(horus::LogLevel::debug, "nobody asked");
    CHECK(all.stop());
    CHECK(without.stop());
    CHECK(read_file(folder / "without.mcap").counts.empty());
    const auto lines = horus::io::run([](std::string path) -> Task<std::vector<std::string>> {
      std::vector<std::string> found;
      auto opening = horus::bag::Reader::open(std::move(path));
      auto reader = (co_await opening).or_throw();
      while (true) {
        auto reading = reader.next();
        const auto message = co_await reading;
        if (!message) break;
        const auto& channel = reader.contents().channels.at(message->channel);
        std::vector<std::byte> head, tail;
        horus::cdr_of<horus::messages::Log>().read(message->data, head, tail).or_throw();
        horus::messages::Log line;
        std::memcpy(&line, head.data(), sizeof line);
        found.push_back(channel.topic + " " + std::to_string(static_cast<int>(line.level)) + " " +
                        std::string(reinterpret_cast<const char*>(tail.data()), tail.size()));
      }
      co_return found;
    }(folder / "all.mcap"));
    CHECK(lines == std::vector<std::string>{"rosout 30 the battery is low", "rosout 20 and now it is not"});
    horus::log_info("after all recordings");  // nobody is told any more
  }

  TEST_CASE("what has no room while it waits for the disk is lost, and counted in the file") {
    const TemporaryDirectory folder;
    const std::string path = folder / "run.mcap";
    auto recording = Recording::start(path, RecordOptions().with_max_waiting_bytes(2000)).or_throw();
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<std::int64_t>("count");
      for (std::int64_t i = 0; i < 1000; ++i) out.send(i);
      co_return;
    });
    CHECK(recording.stop());
    const Read found = read_file(path);
    REQUIRE(found.counts.contains("count"));
    CHECK(found.counts.at("count") < 1000);
    CHECK(found.counts.at("count") + recording.status().lost == 1000);
    CHECK(found.losses ==
          std::map<std::string, std::string>{{"count", std::to_string(recording.status().lost)}});
  }

  TEST_CASE("in snapshot mode nothing is written but what is asked for") {
    const TemporaryDirectory folder;
    auto recording = Recording::start(folder / "run.mcap", RecordOptions().with_snapshot(10s)).or_throw();
    horus::io::run([&]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<std::int64_t>("count");
      for (std::int64_t i = 0; i < 10; ++i) out.send(i);
      CHECK(recording.snapshot(folder / "first.mcap"));
      for (std::int64_t i = 0; i < 5; ++i) out.send(i);
      CHECK(recording.snapshot(folder / "second.mcap"));
      CHECK(recording.snapshot(folder / "second.mcap").code() == EEXIST);
      co_return;
    });
    CHECK(recording.stop());
    CHECK(recording.snapshot(folder / "late.mcap").code() == ECANCELED);
    CHECK(read_file(folder / "first.mcap").counts.at("count") == 10);
    CHECK(read_file(folder / "second.mcap").counts.at("count") == 15);
    CHECK_FALSE(std::filesystem::exists(folder / "run.mcap"));
    CHECK_FALSE(std::filesystem::exists(folder / "late.mcap"));
  }

  TEST_CASE("a further file begins when one is large enough") {
    const TemporaryDirectory folder;
    auto recording =
        Recording::start(folder / "run.mcap",
                         RecordOptions().with_compression(false).with_max_file(std::uint64_t{1} << 20))
            .or_throw();
    horus::io::run([&]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<std::string>("chat");
      for (int i = 0; i < 300; ++i) {
        out.send(std::string(10'000, 'x'));
        // It keeps 31 of these that it has not taken.
        while (i % 20 == 19 && recording.status().messages <= static_cast<std::uint64_t>(i))
          co_await horus::sleep(1ms);
      }
    });
    CHECK(recording.stop());
    const horus::RecordingStatus status = recording.status();
    CHECK(status.files >= 2);
    CHECK(status.lost == 0);
    CHECK(read_file(folder / "run.mcap").counts.at("chat") < 300);
    CHECK(read_file(folder / "run_1.mcap").counts.contains("chat"));
  }

  TEST_CASE("a recording that is dropped is complete") {
    const TemporaryDirectory folder;
    const std::string path = folder / "run.mcap";
    horus::io::run([&]() -> Task<> {
      auto recording = Recording::start(path).or_throw();
      Hub hub;
      auto out = hub.advertise<std::int64_t>("count");
      out.send(1);
      co_return;
    });
    const Read found = read_file(path);
    CHECK(found.indexed);
    CHECK(found.counts.at("count") == 1);
  }

  TEST_CASE("record_topics records until it is asked to stop") {
    const TemporaryDirectory folder;
    const std::string path = folder / "run.mcap";
    horus::io::run([&]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<std::int64_t>("count");
      horus::Scope scope("recording");
      auto recording = scope.spawn(horus::record_topics(path, RecordOptions()));
      co_await horus::yield();
      for (std::int64_t i = 0; i < 10; ++i) out.send(i);
      co_await horus::sleep(20ms);
      scope.cancel();
      co_await scope.join();
    });
    const Read found = read_file(path);
    CHECK(found.indexed);
    CHECK(found.counts.at("count") == 10);
  }
}
