// SPDX-License-Identifier: Apache-2.0
//
// The workload of `tick_jitter`: a tick on an absolute grid, and how late each one came.
//
//   bench::TickLoad load(argc, argv);             // --rate 1000 --seconds 10 [--spin] [--json]
//   while (!load.done()) { sleep until load.deadline(); load.tick(); }
//   load.print();
//
// Lateness counts against the grid from the first tick on, so a timer that drifts shows a growing lateness
// and `drift_pct`. A tick before its deadline is `early`, a defect, and counts as 0 in the percentiles.
#pragma once

#include <cstdint>

#include "arguments.hpp"
#include "measure.hpp"

namespace bench {

class TickLoad {
 public:
  TickLoad(int argc, char** argv, Arguments* extra = nullptr) {
    Arguments own(argc, argv);
    Arguments& arguments = extra != nullptr ? *extra : own;
    double rate_hz = arguments.number("--rate", 1000);
    double seconds = arguments.number("--seconds", 10);
    spin_ = arguments.flag("--spin");
    json_ = arguments.flag("--json");
    arguments.finish();
    if (rate_hz <= 0 || seconds <= 0) fail("--rate and --seconds want to be above 0");
    period_ns_ = static_cast<std::uint64_t>(1e9 / rate_hz);
    ticks_wanted_ = static_cast<std::uint64_t>(rate_hz * seconds);
    start();
  }

  // Begins the grid one period from now; called again when setting up took time.
  void start() {
    start_ns_ = monotonic_ns();
    cpu_start_ns_ = process_cpu_ns();
  }

  bool spin() const { return spin_; }
  std::uint64_t period_ns() const { return period_ns_; }
  std::uint64_t start_ns() const { return start_ns_; }
  bool done() const { return ticks_ == ticks_wanted_; }

  // Absolute CLOCK_MONOTONIC time of the next tick.
  std::uint64_t deadline() const { return start_ns_ + (ticks_ + 1) * period_ns_; }

  void tick() {
    std::uint64_t now = monotonic_ns();
    std::uint64_t due = deadline();
    if (now < due) ++early_;
    lateness_.record(now < due ? 0 : now - due);
    last_ns_ = now;
    ++ticks_;
  }

  void print() const {
    double cpu_s = static_cast<double>(process_cpu_ns() - cpu_start_ns_) / 1e9;
    double elapsed_s = static_cast<double>(last_ns_ - start_ns_) / 1e9;
    double nominal_s = static_cast<double>(ticks_ * period_ns_) / 1e9;
    Report report;
    report.add("p50_us", lateness_.quantile_us(0.5));
    report.add("p99_us", lateness_.quantile_us(0.99));
    report.add("p999_us", lateness_.quantile_us(0.999));
    report.add("max_us", static_cast<double>(lateness_.max()) / 1e3);
    report.add("early", early_);
    report.add("cpu_pct", 100 * cpu_s / elapsed_s);
    report.add("cpu_s", cpu_s);
    report.add("ticks", ticks_);
    report.add("drift_pct", 100 * (elapsed_s / nominal_s - 1));
    report.print(json_);
  }

 private:
  bool spin_ = false;
  bool json_ = false;
  std::uint64_t period_ns_ = 0;
  std::uint64_t ticks_wanted_ = 0;
  std::uint64_t start_ns_ = 0;
  std::uint64_t cpu_start_ns_ = 0;
  std::uint64_t last_ns_ = 0;
  std::uint64_t ticks_ = 0;
  std::uint64_t early_ = 0;
  Histogram lateness_;
};

}  // namespace bench
