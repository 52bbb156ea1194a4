// SPDX-License-Identifier: Apache-2.0
// A run that is recorded: what its file holds, and what becomes of a file that cannot be made.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/bag/reader.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/cdr.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/more_messages.hpp>
#include <horus/sched/node.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/sim/world.hpp>
#include <horus/task/scope.hpp>

#include "../support/captured_log.hpp"
#include "../support/temporary_directory.hpp"

namespace {

using namespace std::chrono_literals;
using namespace horus::literals;
using horus::Scheduler;
using horus::Task;
using horus::testing::CapturedLog;

// Publishes from its first moment to its last one.
class Counter : public horus::PlainNode {
 public:
  explicit Counter(Scheduler& scheduler) : PlainNode("counter"), scheduler_(scheduler) {}
  void init() override { out_.send(-1); }
  void tick() override {
    if (ticks_ < 50) out_.send(ticks_++);
    if (ticks_ == 50) scheduler_.stop();
  }
  void shutdown() override { out_.send(-2); }

 private:
  Scheduler& scheduler_;
  horus::Publisher<std::int64_t> out_ = advertise<std::int64_t>("count");
  std::int64_t ticks_ = 0;
};

Task<std::map<std::string, std::uint64_t>> counts_in(std::string path) {
  auto opening = horus::bag::Reader::open(std::move(path));
  auto reader = (co_await opening).or_throw();
  std::map<std::string, std::uint64_t> counts;
  while (true) {
    auto reading = reader.next();
    const auto message = co_await reading;
    if (!message) break;
    ++counts[reader.contents().channels.at(message->channel).topic];
  }
  co_return counts;
}

}  // namespace

TEST_CASE("a run is recorded from init() to shutdown()") {
  const TemporaryDirectory folder;
  const CapturedLog log;
  Scheduler scheduler;
  scheduler.add<Counter>(scheduler).rate(1000_hz);
  scheduler.record(folder / "run.mcap", horus::RecordOptions().without_topics({"diagnostics", "rosout"}));
  CHECK(scheduler.run_for(20s) == 0);
  CHECK(horus::io::run(counts_in(folder / "run.mcap")) ==
        std::map<std::string, std::uint64_t>{{"count", 52}});
  CHECK(log.count("recorded 52 messages in " + folder / "run.mcap") == 1);
}

TEST_CASE("HORUS_RECORD records the first run of a program") {
  const TemporaryDirectory folder;
  const CapturedLog log;
  ::setenv("HORUS_RECORD", (folder / "run.mcap").c_str(), 1);
  for (int run = 0; run < 2; ++run) {
    Scheduler scheduler;
    scheduler.add<Counter>(scheduler).rate(1000_hz);
    CHECK(scheduler.run_for(20s) == 0);
  }
  ::unsetenv("HORUS_RECORD");
  const auto counts = horus::io::run(counts_in(folder / "run.mcap"));
  CHECK(counts.at("count") == 52);
  CHECK(counts.contains("diagnostics"));
}

TEST_CASE("once a second a recording says how the nodes are") {
  const CapturedLog log;
  horus::sim::World world(1);
  world.process("robot", []() -> Task<int> {
    Scheduler scheduler;
    scheduler.add("good", [] {}).rate(10_hz);
    scheduler.add("silent", []() -> Task<> { co_await horus::sleep(1h); }).watchdog(500ms);
    scheduler.record("/run.mcap");
    auto running = scheduler.run_main(3500ms);
    const int code = co_await running;
    co_return code;
  });
  const horus::sim::Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
  const TemporaryDirectory folder;
  std::ofstream(folder / "run.mcap", std::ios::binary) << world.file("robot", "/run.mcap").value();
  const auto levels = horus::io::run([](std::string path) -> Task<std::vector<std::string>> {
    std::vector<std::string> found;
    auto opening = horus::bag::Reader::open(std::move(path));
    auto reader = (co_await opening).or_throw();
    while (true) {
      auto reading = reader.next();
      const auto message = co_await reading;
      if (!message) break;
      if (reader.contents().channels.at(message->channel).topic != "diagnostics") continue;
      std::vector<std::byte> head, tail;
      horus::cdr_of<horus::messages::DiagnosticArray>().read(message->data, head, tail).or_throw();
      std::vector<horus::messages::DiagnosticStatus> parts(tail.size() /
                                                           sizeof(horus::messages::DiagnosticStatus));
      std::memcpy(parts.data(), tail.data(), tail.size());
      std::string line;
      for (const auto& part : parts)
        line += fmt::format("{} {};", part.name.view(), std::to_integer<int>(part.level));
      found.push_back(line);
    }
    co_return found;
  }(folder / "run.mcap"));
  REQUIRE(levels.size() == 4);
  CHECK(levels.front() == "scheduler 0;good 0;silent 0;");
  CHECK(levels.back() == "scheduler 0;good 0;silent 1;");  // its watchdog has expired
}

TEST_CASE("a recording has the configuration of its scheduler as an attachment") {
  const CapturedLog log;
  const TemporaryDirectory folder;
  const std::string text = "[scheduler]\npreset = \"standard\"\n";
  std::ofstream(folder / "rover.toml") << text;
  Scheduler scheduler(horus::SchedulerConfig::from_file(folder / "rover.toml").or_throw());
  scheduler.add<Counter>(scheduler).rate(1000_hz);
  scheduler.record(folder / "run.mcap", horus::RecordOptions().with_attachment(folder / "missing"));
  CHECK(scheduler.run_for(20s) == 0);
  const auto attached = horus::io::run([](std::string path) -> Task<std::vector<horus::bag::Attachment>> {
    std::vector<horus::bag::Attachment> found;
    auto opening = horus::bag::Reader::open(std::move(path));
    auto reader = (co_await opening).or_throw();
    for (const auto& index : reader.contents().attachments) {
      auto reading = reader.attachment(index);
      found.push_back((co_await reading).or_throw());
    }
    co_return found;
  }(folder / "run.mcap"));
  REQUIRE(attached.size() == 1);
  CHECK(attached.front().name == folder / "rover.toml");
  CHECK(attached.front().data == text);
  CHECK(log.has(folder / "missing"));
}

TEST_CASE("a run whose recording cannot be made does not start, and says why") {
  const TemporaryDirectory folder;
  const CapturedLog log;
  Scheduler scheduler;
  scheduler.add<Counter>(scheduler).rate(1000_hz);
  scheduler.record(folder / "missing/run.mcap");
  CHECK(scheduler.run_for(20s) == 1);
  CHECK(scheduler.start_problem().find(folder / "missing/run.mcap") != std::string::npos);
}

TEST_CASE("a disk that is full ends the recording, and not the run; what was written can be read") {
  const CapturedLog log;
  horus::sim::World world(1);
  horus::sim::Faults faults;
  faults.disk_full = 1000;
  world.at(1500ms).faults(faults);
  world.process("robot", []() -> Task<int> {
    Scheduler scheduler;
    scheduler.add<Counter>(scheduler).rate(20_hz);
    scheduler.record("/run.mcap");
    auto running = scheduler.run_main(20s);
    const int code = co_await running;
    co_return code;
  });
  const horus::sim::Report report = world.run_for(60s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(log.has("no space left"));
  const auto contents = world.file("robot", "/run.mcap");
  REQUIRE(contents.has_value());
  const TemporaryDirectory folder;
  std::ofstream(folder / "run.mcap", std::ios::binary) << *contents;
  const auto counts = horus::io::run(counts_in(folder / "run.mcap"));
  REQUIRE(counts.contains("count"));
  CHECK(counts.at("count") >= 15);  // the first second's chunk
  CHECK(counts.at("count") < 52);
}

TEST_CASE(
    "a black box writes the last seconds after an emergency stop and an expired watchdog, and nothing else") {
  horus::sim::World world(1);
  std::map<std::string, std::uint64_t> first;
  std::map<std::string, std::uint64_t> second;
  world.process("robot", [&]() -> Task<int> {
    Scheduler scheduler;
    scheduler
        .add("beat", [out = scheduler.hub().advertise<std::int64_t>("beat"),
                      n = std::int64_t{0}]() mutable { out.send(n++); })
        .rate(10_hz)
        .keep_in_emergency();
    scheduler
        .add("sleeper",
             [n = 0]() mutable -> Task<> {
               if (++n == 80) co_await horus::sleep(1s);
             })
        .rate(10_hz)
        .watchdog(300ms);
    scheduler.record("/run.mcap", horus::RecordOptions().with_snapshot(2s));
    horus::Scope scope("operator");
    scope.spawn([](Scheduler& robot) -> Task<> {
      co_await horus::sleep(5s);
      robot.emergency_stop();
      co_await horus::sleep(100ms);
      robot.reset_emergency_stop();
    }(scheduler));
    auto running = scheduler.run_main(15s);
    const int code = co_await running;
    co_await scope.join();
    CHECK(code == 0);
    auto counting_first = counts_in("/run_1.mcap");
    first = co_await counting_first;
    auto counting_second = counts_in("/run_2.mcap");
    second = co_await counting_second;
    co_return 0;
  });
  const horus::sim::Report report = world.run_for(60s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK_FALSE(world.file("robot", "/run.mcap").has_value());
  CHECK_FALSE(world.file("robot", "/run_3.mcap").has_value());
  for (const auto& counts : {first, second}) {
    REQUIRE(counts.contains("beat"));
    CHECK(counts.at("beat") >= 20);
    CHECK(counts.at("beat") <= 40);  // two seconds, and what chunks of one second add
  }
}

TEST_CASE("a run in a simulated world is recorded in its files, at its times") {
  horus::sim::World world(1);
  std::map<std::string, std::uint64_t> counts;
  world.process("robot", [&]() -> Task<int> {
    Scheduler scheduler;
    scheduler.add<Counter>(scheduler).rate(1000_hz);
    scheduler.record("/run.mcap");
    auto running = scheduler.run_main(20s);
    const int code = co_await running;
    CHECK(code == 0);
    auto counting = counts_in("/run.mcap");
    counts = co_await counting;
    co_return 0;
  });
  const horus::sim::Report report = world.run_for(60s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(counts.at("count") == 52);
}
