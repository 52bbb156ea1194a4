// SPDX-License-Identifier: Apache-2.0
// A record of events on the scheduler's time axis, to draw a picture from: releases, execution, suspension, misses,
// states. Recorded on the loop's thread; a copy may be read on any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI {

/// One event of one node. Times are nanoseconds of the monotonic clock.
struct TimelineEvent {
  enum class Kind : std::uint8_t {
    ran,   ///< the node's code ran on the loop from `begin_ns` to `end_ns` (one stretch between suspensions)
    tick,  ///< a tick, from its grid point `begin_ns` to its end `end_ns`; `detail` is a TickOutcome
    skipped,        ///< a grid point without a tick, at `begin_ns`; `detail` is a TickOutcome
    deadline_miss,  ///< seen at `begin_ns`
    budget_miss,    ///< seen at `begin_ns`
    circuit,        ///< the breaker changed to the CircuitState `detail`
    state,          ///< the node changed to the NodeState `detail`
    watchdog,  ///< the watchdog reached step `detail`: 1 warned, 2 unhealthy, 3 isolated; 0: all is well again
    safe_state,      ///< enter_safe_state() was called
    emergency_stop,  ///< of the whole scheduler; `node` is 0
  };
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
  std::uint32_t node = 0;  ///< index into Timeline::nodes
  Kind kind = Kind::ran;
  std::uint8_t detail = 0;
};

/// A part of a scheduler's life: the newest events that fitted, oldest first.
///
/// Semantics: `write_chrome_trace` gives Chrome's trace event format, which https://ui.perfetto.dev and
/// chrome://tracing open; `write_html` gives one self-contained page with a picture to zoom and read.
/// Errors: those of writing a file, with its path.
/// Thread safety: a plain value.
/// Example:
/// ```
/// scheduler.run_for(30s);
/// scheduler.timeline().write_html("rover.html").or_throw();
/// ```
struct HORUS_API Timeline {
  struct Node {
    std::string name;
    double rate_hz = 0;            ///< 0: event-driven
    std::int64_t deadline_ns = 0;  ///< 0: none
    std::string executor;          ///< name of the thread that runs it
  };
  std::string title;
  std::vector<Node> nodes;
  std::vector<TimelineEvent> events;  ///< by the time at which they were recorded
  std::uint64_t lost = 0;             ///< older events that did not fit

  [[nodiscard]] std::string chrome_trace() const;
  [[nodiscard]] std::string html() const;
  Result<> write_chrome_trace(const std::string& path) const;
  Result<> write_html(const std::string& path) const;
};

}  // namespace horus::HORUS_ABI
