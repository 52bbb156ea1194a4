// SPDX-License-Identifier: Apache-2.0
// What a person reads: tables that fit a terminal of 80 columns, and lines that do not come a hundred times a second.
#include <sstream>
#include <stdexcept>

#include <doctest/doctest.h>

#include "virtual_time.hpp"

using horus::Task;
using namespace horus::literals;

namespace {

struct Number {
  int value = 0;
};

class NodeWithANameThatIsMuchLongerThanAnyColumn : public horus::Node {
 public:
  Task<> tick() override {
    co_await horus::sleep(200ms);
    static_cast<void>(out_.send({1}));
    auto squared = co_await horus::io::offload([](int x) { return x * x; }, 3);
    if (!squared) throw squared.error();
  }

 private:
  horus::Publisher<Number> out_ = advertise<Number>("numbers");
  horus::Subscriber<Number> in_ = subscribe<Number>("numbers");
};

// Fails in every tick, and in on_error as well.
class Hopeless : public horus::PlainNode {
 public:
  void tick() override { throw horus::Error(EIO, "read", "/dev/hopeless"); }
  void on_error(const std::exception_ptr&) override { throw std::runtime_error("no idea"); }
};

void check_width(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) CHECK_MESSAGE(line.size() <= 80, line);
}

}  // namespace

TEST_CASE("tables are 80 columns wide at most, whatever the names and figures") {
  std::string status, report, stopped;
  virtual_time::run({
      .build =
          [](horus::Scheduler& scheduler) {
            scheduler.add<NodeWithANameThatIsMuchLongerThanAnyColumn>();
            for (int i = 0; i < 12; ++i)
              scheduler.add("a_plain_node_with_a_long_name_" + std::to_string(i), [] {}).rate(777.125_hz);
            scheduler.add<Hopeless>().rate(10_hz).logging(false).auto_restart();
          },
      .length = 10min,
      .beside = [&](horus::Scheduler& scheduler) -> Task<> {
        co_await horus::sleep(9min);
        status = scheduler.status();
        report = scheduler.report(horus::Detail::awaits);
        scheduler.emergency_stop();
        stopped = scheduler.report();
        scheduler.reset_emergency_stop();
      },
  });
  for (const std::string& text : {status, report, stopped}) {
    CHECK(text.find("node_with_a_na..") != std::string::npos);
    check_width(text);
  }
  CHECK(report.find("offload") != std::string::npos);
  CHECK(report.find("restarts") != std::string::npos);
  CHECK(stopped.find("EMERGENCY STOP") != std::string::npos);
}

TEST_CASE("the shares of a thread's time are wrapped") {
  const auto log = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  std::string report;
  horus::Scheduler scheduler;
  for (int i = 0; i < 10; ++i) {
    scheduler
        .add("computes_something_" + std::to_string(i),
             [] {
               const std::int64_t until = horus::monotonic_ns() + 300'000;
               while (horus::monotonic_ns() < until) {
               }
             })
        .rate(100_hz);
  }
  scheduler
      .add("asks",
           [&, ticks = 0]() mutable {
             if (++ticks != 20) return;
             report = scheduler.report(horus::Detail::awaits);
             scheduler.stop();
           })
      .rate(100_hz);
  CHECK(scheduler.run_for(20s) == 0);
  horus::set_log_sink(log);
  CHECK(report.find("of that in ticks: computes_something_0") != std::string::npos);
  CHECK(report.find("computes_something_9") != std::string::npos);
  check_width(report);
}

TEST_CASE("an on_error that throws is told once a second, and not at all of a node that does not log") {
  const auto run_with = [](bool logs) {
    return virtual_time::run({
        .build =
            [=](horus::Scheduler& scheduler) {
              scheduler.add<Hopeless>().rate(100_hz).circuit_breaker(false).logging(logs);
            },
        .length = 2500ms,
    });
  };
  const auto loud = run_with(true);
  CHECK(loud.nodes.at("hopeless").failed_ticks >= 249);
  CHECK(loud.lines_with("hopeless: on_error threw: no idea") == 3);
  CHECK(loud.lines_with("on_error threw: no idea (99 more since)") >= 1);
  CHECK(run_with(false).lines_with("on_error") == 0);
}
