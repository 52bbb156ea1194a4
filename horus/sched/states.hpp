// SPDX-License-Identifier: Apache-2.0
// The scheduler's enumerations: states of a node and of its circuit breaker, outcomes of a tick, and reactions to a
// miss. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI {

enum class NodeState : std::uint8_t {
  added,
  initialising,
  running,
  paused,      ///< by pause(): not released
  restarting,  ///< between two lives
  /// Its tick was cancelled and has not ended. The node is neither released nor restarted until it has.
  stuck,
  stopping,
  stopped,
  failed,  ///< its init() failed and it is not restarted
};
HORUS_API const char* to_string(NodeState state) noexcept;

enum class CircuitState : std::uint8_t { closed, open, half_open, forced_open };
HORUS_API const char* to_string(CircuitState state) noexcept;

/// The outcome of a grid point: exactly one of these.
enum class TickOutcome : std::uint8_t {
  ok,
  failed,
  cancelled_deadline,
  cancelled_overrun,
  cancelled_watchdog,
  cancelled_shutdown,
  cancelled_emergency,   ///< by an emergency stop
  cancelled_paused,      ///< it waited for input when its node was paused or its circuit was opened by hand
  skipped_in_flight,     ///< the previous tick had not ended
  skipped_circuit_open,  ///< the circuit breaker was open, or the node was being restarted
  skipped_paused,        ///< by pause()
  skipped_emergency,     ///< by an emergency stop
  skipped_miss,          ///< by Miss::skip, after a missed deadline
  skipped_late,          ///< the loop reached it only when the next grid point was already due
};
inline constexpr std::size_t kTickOutcomes = 14;
HORUS_API const char* to_string(TickOutcome outcome) noexcept;

/// The reaction when a tick misses its deadline or its budget.
enum class Miss : std::uint8_t {
  warn,  ///< one line in the log, at most one per second and node
  skip,  ///< a warning, and the next release is dropped
  /// A warning. After 3 misses in a row the rate is halved, down to an eighth; 50 clean ticks raise it one step.
  degrade,
  cancel,     ///< a warning, and the tick's pending operation is cancelled (deadlines only)
  safe_mode,  ///< a warning, and enter_safe_state() is called, once per episode
  stop,       ///< a warning, and the scheduler stops gracefully
};
HORUS_API const char* to_string(Miss miss) noexcept;

/// What happens to a grid point that comes while the previous tick is still in flight.
enum class Overrun : std::uint8_t {
  skip,    ///< it is dropped
  queue,   ///< one grid point waits, and its tick starts late
  cancel,  ///< the old tick is cancelled; the new one starts when it has ended
};
HORUS_API const char* to_string(Overrun overrun) noexcept;

/// Which of several nodes released at the same instant starts first.
enum class Policy : std::uint8_t {
  priority,        ///< the lower number, then the order of addition
  rate_monotonic,  ///< the higher rate
  edf,             ///< the earlier deadline (without one: the next grid point)
};
HORUS_API const char* to_string(Policy policy) noexcept;

}  // namespace horus::HORUS_ABI
