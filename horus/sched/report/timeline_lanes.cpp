// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/report/timeline_lanes.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include <fmt/format.h>

namespace horus::HORUS_ABI::detail {
namespace {

// By their begin; at the same instant in the order in which they were recorded, as states follow one another.
std::vector<std::size_t> events_in_order(const std::vector<TimelineEvent>& events) {
  std::vector<std::size_t> order(events.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(events[a].begin_ns, a) < std::pair(events[b].begin_ns, b);
  });
  return order;
}

// A stretch belongs to the tick that it lies in; where ticks wait for one another, to the first that has not ended.
void share_out_stretches(TimelineLane& lane) {
  std::int64_t last_end = std::numeric_limits<std::int64_t>::min();
  std::size_t next = 0;
  for (TimelineTick& tick : lane.ticks) {
    tick.earliest_ns = std::min(std::max(tick.begin_ns, last_end), tick.end_ns);
    while (next < lane.runs.size() && lane.runs[next].begin_ns < tick.earliest_ns &&
           lane.runs[next].end_ns <= tick.earliest_ns)
      ++next;
    for (std::size_t i = next; i < lane.runs.size() && lane.runs[i].begin_ns <= tick.end_ns; ++i) {
      const std::int64_t from = std::max(lane.runs[i].begin_ns, tick.earliest_ns);
      const std::int64_t to = std::min(lane.runs[i].end_ns, tick.end_ns);
      if (to <= from && lane.runs[i].begin_ns != lane.runs[i].end_ns) continue;
      if (!tick.ran()) tick.start_ns = from;
      tick.execution_ns += to - from;
      next = i;
    }
    last_end = std::max(last_end, tick.end_ns);
  }
}

// Length of the UTF-8 character at the beginning of `text`; 0 where there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) -> unsigned { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (lead > 0xF4 || length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0U) != 0x80) return 0;
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;   // longer than it need be
  if (lead == 0xED && byte(1) >= 0xA0) return 0;  // half of a UTF-16 pair
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) >= 0x90) return 0;  // beyond the last character
  return length;
}

}  // namespace

TimelineLanes::TimelineLanes(const Timeline& timeline) : lanes(timeline.nodes.size()) {
  using Kind = TimelineEvent::Kind;
  const std::vector<std::size_t> order = events_in_order(timeline.events);
  const std::int64_t first = order.empty() ? 0 : timeline.events[order.front()].begin_ns;
  for (const std::size_t i : order) {
    const TimelineEvent& event = timeline.events[i];
    const std::int64_t begin = event.begin_ns - first;
    const bool long_one = event.kind == Kind::ran || event.kind == Kind::tick;
    const std::int64_t end = long_one ? std::max(begin, event.end_ns - first) : begin;
    length_ns = std::max(length_ns, end);
    if (event.kind == Kind::emergency_stop) emergency_stops.push_back(begin);
    if (event.kind == Kind::emergency_stop || event.node >= lanes.size()) continue;
    TimelineLane& lane = lanes[event.node];
    if (event.kind == Kind::ran) {
      lane.runs.push_back({begin, end});
      lane.execution_ns += end - begin;
      continue;
    }
    if (event.kind == Kind::tick || event.kind == Kind::skipped)
      if (event.detail < kTickOutcomes) ++lane.outcomes[event.detail];
    if (event.kind == Kind::tick) {
      TimelineTick tick;
      tick.begin_ns = begin;
      tick.end_ns = end;
      tick.outcome = event.detail;
      lane.ticks.push_back(tick);
      continue;
    }
    if (event.kind == Kind::deadline_miss) ++lane.deadline_misses;
    if (event.kind == Kind::budget_miss) ++lane.budget_misses;
    lane.marks.push_back({begin, event.kind, event.detail});
  }
  for (TimelineLane& lane : lanes) {
    share_out_stretches(lane);
    for (const Kind kind : {Kind::circuit, Kind::state}) {
      std::size_t open = lane.bands.size();
      for (const TimelineMark& mark : lane.marks) {
        if (mark.kind != kind) continue;
        if (open < lane.bands.size()) lane.bands[open].end_ns = mark.time_ns;
        open = lane.bands.size();
        lane.bands.push_back({{mark.time_ns, length_ns}, kind, mark.detail});
      }
    }
  }
}

std::string timeline_json(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const char c = text.front();
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == '<' || c == '>' || c == '&' || c == 0x7F) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  out += '"';
  return out;
}

const char* watchdog_step(std::uint8_t step) noexcept {
  switch (step) {
    case 0: return "well";
    case 1: return "warned";
    case 2: return "unhealthy";
    case 3: return "isolated";
    default: return "?";
  }
}

}  // namespace horus::HORUS_ABI::detail
