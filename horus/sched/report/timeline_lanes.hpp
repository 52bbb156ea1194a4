// SPDX-License-Identifier: Apache-2.0
// A timeline sorted into one lane per node, for whoever draws it. Internal; plain values.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <horus/sched/states.hpp>
#include <horus/sched/timeline.hpp>

namespace horus::HORUS_ABI::detail {

/// Times here are nanoseconds since the first event of the timeline.
struct TimelineStretch {
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
};

struct TimelineTick : TimelineStretch {
  static constexpr std::int64_t kNeverRan = -1;
  std::int64_t earliest_ns = 0;  ///< its grid point, or the end of the tick before it when that came later
  std::int64_t start_ns = kNeverRan;  ///< its first stretch on the loop
  std::int64_t execution_ns = 0;      ///< sum of its stretches
  std::uint8_t outcome = 0;           ///< TickOutcome
  [[nodiscard]] bool ran() const noexcept { return start_ns != kNeverRan; }
  [[nodiscard]] std::int64_t lateness_ns() const noexcept { return ran() ? start_ns - begin_ns : 0; }
  [[nodiscard]] std::int64_t response_ns() const noexcept { return end_ns - begin_ns; }
  [[nodiscard]] std::int64_t suspended_ns() const noexcept {
    return ran() ? std::max<std::int64_t>(end_ns - start_ns - execution_ns, 0) : 0;
  }
};

/// A time during which the breaker or the node was in the state `detail`, until the next one.
struct TimelineBand : TimelineStretch {
  TimelineEvent::Kind kind = TimelineEvent::Kind::state;
  std::uint8_t detail = 0;
};

struct TimelineMark {
  std::int64_t time_ns = 0;
  TimelineEvent::Kind kind = TimelineEvent::Kind::skipped;
  std::uint8_t detail = 0;
};

struct TimelineLane {
  std::vector<TimelineStretch> runs;  // all of them by their begin
  std::vector<TimelineTick> ticks;
  std::vector<TimelineBand> bands;
  std::vector<TimelineMark> marks;  // whatever is neither a run nor a tick
  std::array<std::uint64_t, kTickOutcomes> outcomes{};
  std::uint64_t deadline_misses = 0;
  std::uint64_t budget_misses = 0;
  std::int64_t execution_ns = 0;
};

/// Semantics: events of nodes that the timeline does not name are left out, and a stretch that ends before it begins
/// ends where it begins.
struct TimelineLanes {
  explicit TimelineLanes(const Timeline& timeline);
  std::vector<TimelineLane> lanes;  // as Timeline::nodes
  std::vector<std::int64_t> emergency_stops;
  std::int64_t length_ns = 0;
};

/// `text` as a JSON string with its quotation marks: also safe inside <script>, and valid UTF-8 whatever it holds.
std::string timeline_json(std::string_view text);

/// "warned", "unhealthy", "isolated", "well".
const char* watchdog_step(std::uint8_t step) noexcept;

}  // namespace horus::HORUS_ABI::detail
