// SPDX-License-Identifier: Apache-2.0
//
// The scheduler under load: many nodes that await something in each tick, beside one 100 Hz controller.
//
//   ticks [--nodes 1000] [--rate 100] [--await-us 5000] [--seconds 5] [--idle] [--json]
//
// Each node's tick awaits a timer of --await-us (a camera, a disk). --idle: event-driven nodes that wait for ever
// instead. kept_pct: share of grid points whose tick succeeded before the next one. tick_ns: CPU time of one tick of a
// coroutine node that does nothing, everything included (frame, release, account, four histograms), in a graph of 10
// nodes; tick_ns_1000: of 1000, whose accounts no longer fit in the cache. miss_seen_us: from a suspended tick's deadline
// until the scheduler has seen it (median, p99; timer slack 1 ns). emergency_ms: from emergency_stop() to a node's safe
// state while the loop is blocked (worst of ten).

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>

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

// The scheduler sees that a suspended tick has missed its deadline: how long after, in ns.
horus::Histogram misses_seen() {
  constexpr auto kDeadline = std::chrono::milliseconds(2);
  horus::Scheduler scheduler(horus::SchedulerConfig::low_latency().with_spin({}).with_timeline(10'000));
  scheduler.add("late", []() -> Task<> { co_await horus::sleep(std::chrono::milliseconds(5)); })
      .rate(horus::Rate(100))
      .deadline(kDeadline)
      .logging(false);
  scheduler.run_for(std::chrono::seconds(3));
  horus::Histogram seen;
  std::int64_t grid = 0;
  const horus::Timeline timeline = scheduler.timeline();
  for (const horus::TimelineEvent& tick : timeline.events) {
    if (tick.kind != horus::TimelineEvent::Kind::tick) continue;
    grid = tick.begin_ns;
    for (const horus::TimelineEvent& miss : timeline.events) {
      if (miss.kind != horus::TimelineEvent::Kind::deadline_miss || miss.begin_ns < grid ||
          miss.begin_ns > tick.end_ns)
        continue;
      seen.record(
          static_cast<std::uint64_t>(miss.begin_ns - grid - std::chrono::nanoseconds(kDeadline).count()));
    }
  }
  return seen;
}

class Blocked : public horus::PlainNode {
 public:
  explicit Blocked(horus::Scheduler& scheduler) : scheduler_(scheduler) {}
  void tick() override {
    const std::int64_t start = horus::now_ns();
    scheduler_.emergency_stop();
    while (safe_ns.load() == 0 && horus::now_ns() - start < 5'000'000'000) {
    }
    took_ns = safe_ns.load() - start;
    scheduler_.stop();
  }
  void enter_safe_state() noexcept override { safe_ns.store(horus::monotonic_ns()); }
  std::atomic<std::int64_t> safe_ns{0};
  std::int64_t took_ns = 0;

 private:
  horus::Scheduler& scheduler_;
};

double emergency_ms() {
  std::int64_t worst = 0;
  for (int i = 0; i < 10; ++i) {
    horus::Scheduler scheduler;
    auto node = std::make_unique<Blocked>(scheduler);
    const Blocked& blocked = *node;
    scheduler.add(std::move(node));
    scheduler.run_for(std::chrono::seconds(10));
    worst = std::max(worst, blocked.took_ns);
  }
  return static_cast<double>(worst) / 1e6;
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
  const horus::Histogram seen = misses_seen();
  const double miss_p50_us = static_cast<double>(seen.percentile(50)) / 1e3;
  const double miss_p99_us = static_cast<double>(seen.percentile(99)) / 1e3;
  const double safe_ms = emergency_ms();
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
        "{:.1f}, \"cpu_pct\": {:.2f}, \"cpu_s\": {:.4f}, \"miss_seen_us_p50\": {:.1f}, \"miss_seen_us_p99\": "
        "{:.1f}, "
        "\"emergency_ms\": {:.1f}}}\n",
        kept, control, tick_ns, tick_ns_1000, 100 * cpu_s / seconds, cpu_s, miss_p50_us, miss_p99_us,
        safe_ms);
  } else {
    fmt::print(
        "nodes kept {:.3f} %, controller kept {:.3f} %, {:.0f} ns per tick ({:.0f} of 1000 nodes), {:.2f} % "
        "of a core;\na missed deadline is seen after {:.0f} us (p99 {:.0f}), a blocked loop's safe state "
        "comes after {:.0f} ms\n",
        kept, control, tick_ns, tick_ns_1000, 100 * cpu_s / seconds, miss_p50_us, miss_p99_us, safe_ms);
  }
  return code;
} catch (const std::exception& error) {
  fmt::print(stderr, "ticks: {}\n", error.what());
  return 1;
}
