// SPDX-License-Identifier: Apache-2.0
// The statistics of a node. A snapshot: plain values, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/histogram.hpp>
#include <horus/sched/states.hpp>

namespace horus::HORUS_ABI {

/// The waits of a node's ticks at one place in its code.
struct AwaitStatistics {
  std::string operation;  ///< "recv", "sleep", "file read", …
  std::string place;      ///< file:line of the co_await
  std::uint64_t count = 0;
  /// From each suspension until the tick continued, time in the ready list included.
  std::uint64_t total_ns = 0;
  std::uint64_t worst_ns = 0;
};

/// Counters and timings of one node since its scheduler started. Durations are in nanoseconds unless their name says
/// otherwise.
///
/// Every grid point of a periodic node ends as exactly one TickOutcome; `grid_points` is their sum plus the tick that
/// is in flight now.
struct HORUS_API NodeStatistics {
  std::string name;
  std::string executor;  ///< empty: the thread that runs the scheduler
  int priority = 0;
  double rate_hz = 0;  ///< 0: event-driven
  /// The present rate: below `rate_hz` while Miss::degrade slows the node down.
  double tick_rate_hz = 0;
  bool logging_enabled = true;
  NodeState state = NodeState::added;
  /// The age of this snapshot: 0 unless the node's loop is blocked. State and watchdog are always current.
  double age_ms = 0;

  std::uint64_t grid_points = 0;
  std::uint64_t total_ticks = 0;  ///< started
  std::uint64_t successful_ticks = 0;
  std::uint64_t failed_ticks = 0;
  std::uint64_t cancelled_ticks = 0;
  std::uint64_t ticks_skipped = 0;
  std::array<std::uint64_t, kTickOutcomes> outcomes{};  ///< by TickOutcome
  std::uint64_t on_time_ticks = 0;   ///< ticks that succeeded and ended before the next grid point
  std::uint64_t total_failures = 0;  ///< failed ticks, and those that the watchdog cancelled
  std::uint64_t consecutive_failures = 0;
  std::string last_error;  ///< the error of the last failed tick

  double deadline_ms = 0;  ///< 0: none
  double budget_ms = 0;    ///< 0: none
  std::uint64_t deadline_misses = 0;
  std::uint64_t budget_misses = 0;

  CircuitState circuit_state = CircuitState::closed;
  std::uint64_t circuit_opens = 0;
  std::uint64_t circuit_rejected = 0;
  std::int64_t circuit_open_ns = 0;  ///< how long the circuit was open or half-open
  std::uint64_t restarts = 0;

  bool watchdog_enabled = false;
  double watchdog_timeout_ms = 0;
  bool watchdog_expired = false;  ///< since the last successful tick
  std::uint64_t watchdog_expirations = 0;
  double watchdog_time_since_feed_ms = 0;  ///< 0 while its clock is frozen
  std::uint64_t safe_states = 0;           ///< how often enter_safe_state() was called

  std::uint64_t messages_sent = 0;
  std::uint64_t messages_received = 0;
  std::uint64_t messages_queued = 0;      ///< waiting in its subscribers' queues now
  std::uint64_t messages_high_water = 0;  ///< the most messages that one of those queues has held
  double uptime_seconds = 0;              ///< since its last init() ended

  std::int64_t last_tick_ns = 0;        ///< execution of the last tick
  Histogram release_lateness;           ///< grid point → start of the tick
  Histogram execution;                  ///< running on the loop, between suspensions
  Histogram suspended;                  ///< awaiting
  Histogram response;                   ///< grid point → end of the tick
  std::vector<AwaitStatistics> awaits;  ///< the place with the longest total first

  [[nodiscard]] std::uint64_t count(TickOutcome outcome) const noexcept {
    return outcomes[static_cast<std::size_t>(outcome)];
  }
  [[nodiscard]] bool circuit_open() const noexcept {
    return circuit_state == CircuitState::open || circuit_state == CircuitState::forced_open;
  }
  [[nodiscard]] double last_tick_duration_ms() const noexcept {
    return static_cast<double>(last_tick_ns) / 1e6;
  }
  [[nodiscard]] double avg_tick_duration_ms() const noexcept { return execution.mean() / 1e6; }
  [[nodiscard]] double min_tick_duration_ms() const noexcept {
    return static_cast<double>(execution.min()) / 1e6;
  }
  [[nodiscard]] double max_tick_duration_ms() const noexcept {
    return static_cast<double>(execution.max()) / 1e6;
  }
  /// Share of grid points whose tick succeeded before the next one, 0 to 1; 1 for an event-driven node.
  [[nodiscard]] double kept() const noexcept {
    return rate_hz == 0 || grid_points == 0
               ? 1.0
               : static_cast<double>(on_time_ticks) / static_cast<double>(grid_points);
  }
};

}  // namespace horus::HORUS_ABI
