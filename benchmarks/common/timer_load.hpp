// SPDX-License-Identifier: Apache-2.0
//
// The workload of `timers`: schedule, fire and cancel `--count` timers, CPU nanoseconds for each.
//
// A program provides a class and calls bench::run_timers<Timers>(argc, argv):
//
//   class Timers {
//    public:
//     static constexpr std::uint64_t kScheduleBudgetNs = 2000;       // generous time for one schedule()
//     explicit Timers(std::size_t count);
//     void schedule(std::size_t i, std::uint64_t deadline_ns);       // absolute CLOCK_MONOTONIC
//     void run_until_fired(std::size_t count);                       // returns when so many have fired
//     void cancel(std::size_t i);
//     void finish_cancels(std::size_t count);                        // returns when all cancels are done with
//   };
//
// 1. schedule: deadlines scattered over a window of 100 ns per timer that opens when scheduling is surely over;
// 2. fire: the loop sleeps until the window opens and then has a timer due every 100 ns: CPU time of that;
// 3. schedule again, one to two hours ahead, and cancel all in another scattered order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "measure.hpp"

namespace bench {

template <typename Timers>
int run_timers(int argc, char** argv) {
  Arguments arguments(argc, argv);
  std::size_t count = arguments.count("--count", 100'000);
  bool json = arguments.flag("--json");
  arguments.finish();
  if (count == 0) fail("--count wants to be above 0");

  constexpr std::uint64_t kWindowNsPerTimer = 100;
  constexpr std::uint64_t kHourNs = 3600 * kNsPerSecond;
  Random random;
  std::vector<std::uint64_t> near(count);
  std::vector<std::uint64_t> far(count);
  std::vector<std::size_t> order(count);
  for (auto& offset : near) offset = random.below(count * kWindowNsPerTimer);
  for (auto& offset : far) offset = kHourNs + random.below(kHourNs);
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = count - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);

  Timers timers(count);
  std::uint64_t lap = process_cpu_ns();
  auto lap_ns_each = [&] {
    std::uint64_t now = process_cpu_ns();
    return static_cast<double>(now - std::exchange(lap, now)) / static_cast<double>(count);
  };

  std::uint64_t cpu_start = lap;
  std::uint64_t opens = monotonic_ns() + 20'000'000 + count * Timers::kScheduleBudgetNs;
  for (std::size_t i = 0; i < count; ++i) timers.schedule(i, opens + near[i]);
  double sched_ns = lap_ns_each();
  bool late = monotonic_ns() > opens;
  timers.run_until_fired(count);
  double fire_ns = lap_ns_each();
  if (late)
    std::fprintf(stderr, "scheduling was slower than its budget: fire_ns misses timers that fired early\n");

  std::uint64_t now = monotonic_ns();
  for (std::size_t i = 0; i < count; ++i) timers.schedule(i, now + far[i]);
  double cancel_sched_ns = lap_ns_each();
  for (std::size_t i : order) timers.cancel(i);
  timers.finish_cancels(count);
  double cancel_ns = lap_ns_each();

  Report report;
  report.add("sched_ns", sched_ns);
  report.add("fire_ns", fire_ns);
  report.add("cancel_sched_ns", cancel_sched_ns);
  report.add("cancel_ns", cancel_ns);
  report.add("cpu_s", static_cast<double>(process_cpu_ns() - cpu_start) / 1e9);
  report.print(json);
  return 0;
}

}  // namespace bench
