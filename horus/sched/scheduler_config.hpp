// SPDX-License-Identifier: Apache-2.0
// Settings of a scheduler, and the five presets. Plain data; copy freely.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <horus/base/export.hpp>
#include <horus/base/literals.hpp>
#include <horus/io/reactor_config.hpp>

namespace horus {

/// How a scheduler runs. Start from a preset and change what differs:
/// `SchedulerConfig::low_latency().with_tick_rate(250_hz)`.
struct HORUS_API SchedulerConfig {
  SchedulerConfig() {}

  static SchedulerConfig standard();          ///< 100 Hz, balanced
  static SchedulerConfig high_performance();  ///< 200 Hz, larger batches, no spin
  static SchedulerConfig low_latency();       ///< 500 Hz, short spin, 1 ns timer slack
  static SchedulerConfig power_saving();      ///< 30 Hz, default timer slack
  static SchedulerConfig realtime();          ///< 1000 Hz, spin, locked memory and SCHED_FIFO where permitted

  std::string preset = "standard";
  Rate tick_rate{100};                  ///< rate of plain nodes that set none
  std::optional<Duration> timer_slack;  ///< of the thread that runs; unset: left alone
  Duration spin{0};                     ///< poll instead of sleeping this long before a release
  bool lock_memory = false;             ///< mlockall; a refusal is logged, not an error
  int fifo_priority = 0;                ///< SCHED_FIFO priority, 1 to 99; 0: off; a refusal is logged
  Duration finish_limit{std::chrono::milliseconds(500)};  ///< at stop: time for ticks in flight
  Duration shutdown_limit{std::chrono::seconds(1)};       ///< at stop: time for each node's shutdown()
  io::ReactorConfig reactor;

  SchedulerConfig& with_tick_rate(Rate rate) {
    tick_rate = rate;
    return *this;
  }
  SchedulerConfig& with_spin(Duration margin) {
    spin = margin;
    return *this;
  }
  SchedulerConfig& with_backend(io::BackendChoice choice) {
    reactor.backend = choice;
    return *this;
  }
};

}  // namespace horus
