// SPDX-License-Identifier: Apache-2.0
// What a scheduler knows about a node. A snapshot: plain values, any thread.
#pragma once

#include <cstdint>
#include <string>

#include <horus/base/export.hpp>
#include <horus/base/histogram.hpp>
#include <horus/sched/states.hpp>

namespace horus {

/// Counters and timings of one node since its scheduler started. Durations are nanoseconds.
///
/// Every grid point of a periodic node ends as exactly one of: successful, failed, cancelled, skipped_in_flight,
/// skipped_late; `grid_points` is their sum plus the tick that is in flight now.
struct NodeStatistics {
  std::string name;
  int priority = 0;
  double rate_hz = 0;  ///< 0: event-driven
  NodeState state = NodeState::added;

  std::uint64_t grid_points = 0;
  std::uint64_t total_ticks = 0;  ///< started
  std::uint64_t successful_ticks = 0;
  std::uint64_t failed_ticks = 0;
  std::uint64_t cancelled_ticks = 0;    ///< by the shutdown
  std::uint64_t skipped_in_flight = 0;  ///< the previous tick had not ended
  std::uint64_t skipped_late = 0;       ///< the loop came too late for this grid point
  std::uint64_t on_time_ticks = 0;      ///< successful, and ended before the next grid point
  std::uint64_t consecutive_failures = 0;
  std::string last_error;  ///< of the last failed tick

  Histogram release_lateness;  ///< grid point → start of the tick
  Histogram execution;         ///< running on the loop, between suspensions
  Histogram suspended;         ///< awaiting
  Histogram response;          ///< grid point → end of the tick

  /// Share of grid points whose tick succeeded before the next one, 0 to 1; 1 for an event-driven node.
  [[nodiscard]] double kept() const noexcept {
    const std::uint64_t settled = grid_points;
    return rate_hz == 0 || settled == 0 ? 1.0
                                        : static_cast<double>(on_time_ticks) / static_cast<double>(settled);
  }
};

}  // namespace horus
