// SPDX-License-Identifier: Apache-2.0
//
// The scheduler under load: many nodes that await something in each tick, beside one 100 Hz controller.
//
//   ticks [--nodes 1000] [--rate 100] [--await-us 5000] [--seconds 5] [--idle] [--json]
//
// Each node's tick awaits a timer of --await-us (a camera, a disk). --idle: event-driven nodes that wait for ever
// instead. kept_pct: share of grid points whose tick succeeded before the next one. tick_ns: CPU time of one tick of a
// coroutine node that does nothing, everything included (frame, release, account, four histograms), in a graph of 10
// nodes; tick_ns_1000: of 1000, whose accounts no longer fit in the cache.

#include <horus/horus.hpp>

#include "common/arguments.hpp"
#include "common/measure.hpp"

namespace {

using horus::Task;

double cost_of_a_tick(int nodes) {
  horus::Scheduler scheduler;
  const int rounds = 200'000 / nodes;
  for (int i = 0; i < nodes; ++i) scheduler.add("node " + std::to_string(i), []() -> Task<> { co_return; });
  static_cast<void>(scheduler.tick_once());
  const std::uint64_t before = bench::thread_cpu_ns();
  for (int i = 0; i < rounds; ++i) static_cast<void>(scheduler.tick_once());
  return static_cast<double>(bench::thread_cpu_ns() - before) / (nodes * rounds);
}

}  // namespace

int main(int argc, char** argv) try {
  bench::Arguments arguments(argc, argv);
  const auto nodes = arguments.count("--nodes", 1000);
  const double rate = arguments.number("--rate", 100);
  const auto await = std::chrono::microseconds(arguments.count("--await-us", 5000));
  const double seconds = arguments.number("--seconds", 5);
  const bool idle = arguments.flag("--idle");
  const bool json = arguments.flag("--json");
  arguments.finish();

  const double tick_ns = cost_of_a_tick(10);
  const double tick_ns_1000 = cost_of_a_tick(1000);
  horus::Scheduler scheduler;
  for (std::uint64_t i = 0; i < nodes; ++i) {
    if (idle) {
      scheduler.add("node " + std::to_string(i),
                    []() -> Task<> { co_await horus::sleep(std::chrono::hours(1)); });
    } else {
      scheduler.add("node " + std::to_string(i), [await]() -> Task<> { co_await horus::sleep(await); })
          .rate(horus::Rate(rate));
    }
  }
  scheduler.add("control", [] {}).rate(horus::Rate(100)).priority(0);
  const std::uint64_t cpu_before = bench::process_cpu_ns();
  const int code = scheduler.run_for(std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9)));
  const double cpu_s = static_cast<double>(bench::process_cpu_ns() - cpu_before) / 1e9;

  std::uint64_t points = 0;
  std::uint64_t on_time = 0;
  double control = 0;
  for (const horus::NodeStatistics& node : scheduler.statistics()) {
    if (node.name == "control") {
      control = node.kept() * 100;
    } else if (node.rate_hz > 0) {
      points += node.grid_points;
      on_time += node.on_time_ticks;
    }
  }
  const double kept =
      points == 0 ? 100.0 : 100.0 * static_cast<double>(on_time) / static_cast<double>(points);
  if (json) {
    fmt::print(
        "{{\"kept_pct\": {:.4f}, \"control_kept_pct\": {:.4f}, \"tick_ns\": {:.1f}, \"tick_ns_1000\": "
        "{:.1f}, \"cpu_pct\": {:.2f}, "
        "\"cpu_s\": {:.4f}}}\n",
        kept, control, tick_ns, tick_ns_1000, 100 * cpu_s / seconds, cpu_s);
  } else {
    fmt::print(
        "nodes kept {:.3f} %, controller kept {:.3f} %, {:.0f} ns per tick ({:.0f} of 1000 nodes), {:.2f} % "
        "of a core\n",
        kept, control, tick_ns, tick_ns_1000, 100 * cpu_s / seconds);
  }
  return code;
} catch (const std::exception& error) {
  fmt::print(stderr, "ticks: {}\n", error.what());
  return 1;
}
