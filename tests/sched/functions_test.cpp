// SPDX-License-Identifier: Apache-2.0
// Functions as nodes: what they may give, and what it counts as.
#include <cerrno>
#include <limits>

#include "virtual_time.hpp"

using horus::Error;
using horus::Result;
using horus::Scheduler;
using horus::Task;
using virtual_time::Run;
using namespace horus::literals;

namespace {

horus::Result<> every_second(int& ticks) {
  if (++ticks % 2 == 0) return Error(EIO, "read the sensor");
  return {};
}

}  // namespace

TEST_CASE("a Result that failed is a failed tick, from a plain function and from a coroutine") {
  int plain = 0;
  int coroutine = 0;
  const Run run = virtual_time::run({.build =
                                         [&](Scheduler& s) {
                                           s.add("plain", [&] { return every_second(plain); }).rate(100_hz);
                                           s.add("coroutine", [&]() -> Task<Result<>> {
                                              co_await horus::sleep(1ms);
                                              co_return every_second(coroutine);
                                            }).rate(100_hz);
                                         },
                                     .length = 95ms});
  CHECK(run.code == 0);
  for (const char* node : {"plain", "coroutine"}) {
    CAPTURE(node);
    CHECK(run.nodes.at(node).total_ticks == 10);
    CHECK(run.nodes.at(node).failed_ticks == 5);
    CHECK(run.nodes.at(node).successful_ticks == 5);
  }
  CHECK(run.lines_with("read the sensor: input/output error") >= 2);
}

TEST_CASE("a run for a time below 0 is an error, and starts no node") {
  int ticks = 0;
  const Run run =
      virtual_time::run({.build = [&](Scheduler& s) { s.add("node", [&] { ++ticks; }); }, .length = -1s});
  CHECK(run.code == 1);
  CHECK(ticks == 0);
  CHECK(run.lines_with("run for -1 s: a time below 0") == 1);
}

TEST_CASE("a scheduler's own settings are checked when it starts, however they were made") {
  const auto code_with = [](auto change) {
    horus::SchedulerConfig config;
    change(config);
    const Run run = virtual_time::run(
        {.build = [](Scheduler& s) { s.add("node", [] {}); }, .length = 20ms, .config = config});
    CHECK(run.lines_with("configure the scheduler (") == run.code);
    return run.code;
  };
  CHECK(code_with([](auto&) {}) == 0);
  CHECK(code_with([](auto& c) { c.tick_rate.hz = 0; }) == 1);
  CHECK(code_with([](auto& c) { c.tick_rate.hz = -5; }) == 1);
  CHECK(code_with([](auto& c) { c.tick_rate.hz = std::numeric_limits<double>::quiet_NaN(); }) == 1);
  CHECK(code_with([](auto& c) { c.watchdog_timeout = 1ms; }) == 1);
  CHECK(code_with([](auto& c) { c.fifo_priority = 100; }) == 1);
  CHECK(code_with([](auto& c) { c.finish_limit = -1s; }) == 1);
  CHECK(code_with([](auto& c) { c.shutdown_limit = -1s; }) == 1);
  CHECK(code_with([](auto& c) { c.spin = -1us; }) == 1);
}
