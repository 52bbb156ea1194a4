// SPDX-License-Identifier: Apache-2.0
// The page around the picture: heading, summary and the events as arrays, which the scripts draw.
#include <horus/sched/report/timeline_page.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include <horus/sched/report/timeline_lanes.hpp>
#include <horus/sched/timeline.hpp>

namespace horus::HORUS_ABI {
namespace {

using detail::TimelineLane;
using detail::TimelineLanes;

std::string html_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string readable_duration(std::int64_t ns) {
  const auto value = static_cast<double>(ns);
  if (ns < 1'000) return fmt::format("{} ns", ns);
  if (ns < 1'000'000) return fmt::format("{:.4g} µs", value / 1e3);
  if (ns < 1'000'000'000) return fmt::format("{:.4g} ms", value / 1e6);
  return fmt::format("{:.4g} s", value / 1e9);
}

// 1234567 → 1 234 567, with narrow spaces that do not break.
std::string readable_count(std::uint64_t count) {
  std::string text = fmt::format("{}", count);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, "\u202f");
  return text;
}

struct LaneSums {
  std::uint64_t ticks, ok, failed, cancelled, skipped;
};

LaneSums lane_sums(const TimelineLane& lane) {
  const auto sum = [&](TickOutcome from, TickOutcome to) {
    std::uint64_t total = 0;
    for (auto i = static_cast<std::size_t>(from); i <= static_cast<std::size_t>(to); ++i)
      total += lane.outcomes.at(i);
    return total;
  };
  return {lane.ticks.size(), sum(TickOutcome::ok, TickOutcome::ok),
          sum(TickOutcome::failed, TickOutcome::failed),
          // Not those that a stop cut short: nothing went wrong with them.
          sum(TickOutcome::cancelled_deadline, TickOutcome::cancelled_watchdog),
          sum(TickOutcome::skipped_in_flight, TickOutcome::skipped_late)};
}

std::string rate_text(const Timeline::Node& node) {
  return node.rate_hz > 0 && std::isfinite(node.rate_hz) ? fmt::format("{:.6g} Hz", node.rate_hz)
                                                         : "on events";
}

std::string facts_text(const Timeline& timeline, const TimelineLanes& sorted) {
  LaneSums all{};
  std::uint64_t misses = 0;
  for (const TimelineLane& lane : sorted.lanes) {
    const LaneSums sums = lane_sums(lane);
    all.ticks += sums.ticks;
    all.failed += sums.failed;
    all.cancelled += sums.cancelled;
    all.skipped += sums.skipped;
    misses += lane.deadline_misses;
  }
  std::string out = fmt::format("{} · {} {} · {} {}", readable_duration(sorted.length_ns),
                                timeline.nodes.size(), timeline.nodes.size() == 1 ? "node" : "nodes",
                                readable_count(all.ticks), all.ticks == 1 ? "tick" : "ticks");
  const auto add = [&](std::uint64_t count, const char* what) {
    if (count > 0) out += fmt::format(" · {} {}", readable_count(count), what);
  };
  add(all.failed, "failed");
  add(all.cancelled, "cancelled");
  add(all.skipped, "skipped");
  add(misses, "deadline misses");
  add(sorted.emergency_stops.size(),
      sorted.emergency_stops.size() == 1 ? "emergency stop" : "emergency stops");
  if (timeline.lost > 0) out += fmt::format(" · {} older events did not fit", readable_count(timeline.lost));
  return out;
}

std::string summary_table(const Timeline& timeline, const TimelineLanes& sorted) {
  std::string out =
      "<table>\n<thead><tr><th>node<th>rate<th>deadline<th>executor<th>ticks<th>ok<th>failed<th>cancelled"
      "<th>skipped<th>deadline misses<th>budget misses<th>execution</tr></thead>\n<tbody>\n";
  const auto cell = [&](std::uint64_t count, const char* alarm) {
    out += count == 0 ? std::string("<td class=\"none\">0")
                      : fmt::format("<td class=\"{}\">{}", alarm, readable_count(count));
  };
  for (std::size_t i = 0; i < timeline.nodes.size(); ++i) {
    const Timeline::Node& node = timeline.nodes[i];
    const TimelineLane& lane = sorted.lanes[i];
    const LaneSums sums = lane_sums(lane);
    out += fmt::format("<tr><th scope=\"row\">{}<td>{}<td>{}<td>{}", html_text(node.name), rate_text(node),
                       node.deadline_ns > 0 ? readable_duration(node.deadline_ns) : "",
                       html_text(node.executor));
    cell(sums.ticks, "");
    cell(sums.ok, "");
    cell(sums.failed, "failed");
    cell(sums.cancelled, "cancelled");
    cell(sums.skipped, "");
    cell(lane.deadline_misses, "miss");
    cell(lane.budget_misses, "budget");
    const auto whole = static_cast<double>(std::max<std::int64_t>(sorted.length_ns, 1));
    out += fmt::format("<td>{:.2f} %</tr>\n", 100 * static_cast<double>(lane.execution_ns) / whole);
  }
  return out + "</tbody>\n</table>\n";
}

template <std::size_t kWords, class Word>
void add_words(std::string& out, const char* key, const char* (*to_text)(Word)) {
  fmt::format_to(std::back_inserter(out), "\"{}\":[", key);
  for (std::size_t i = 0; i < kWords; ++i) {
    if (i > 0) out += ',';
    out += detail::timeline_json(to_text(static_cast<Word>(i)));
  }
  out += "],\n";
}

// The inverse is kTimelineData: begins are differences to the one before.
void add_lane(std::string& out, const Timeline::Node& node, const TimelineLane& lane) {
  const auto end = std::back_inserter(out);
  fmt::format_to(end, "{{\"name\":{},\"rate\":{},\"deadline\":{},\"executor\":{}",
                 detail::timeline_json(node.name), detail::timeline_json(rate_text(node)),
                 std::max<std::int64_t>(node.deadline_ns, 0), detail::timeline_json(node.executor));
  const auto array = [&](const char* key, const auto& items, const auto& add) {
    fmt::format_to(end, ",\n\"{}\":[", key);
    std::int64_t last = 0;
    for (bool first = true; const auto& item : items) {
      if (!first) out += ',';
      first = false;
      last = add(item, last);
    }
    out += ']';
  };
  array("runs", lane.runs, [&](const auto& run, std::int64_t last) {
    fmt::format_to(end, "{},{}", run.begin_ns - last, run.end_ns - run.begin_ns);
    return run.begin_ns;
  });
  array("ticks", lane.ticks, [&](const auto& tick, std::int64_t last) {
    fmt::format_to(end, "{},{},{},{},{}", tick.begin_ns - last, tick.response_ns(), tick.outcome,
                   tick.ran() ? tick.lateness_ns() : -1, tick.execution_ns);
    return tick.begin_ns;
  });
  array("marks", lane.marks, [&](const auto& mark, std::int64_t last) {
    fmt::format_to(end, "{},{},{}", mark.time_ns - last, static_cast<int>(mark.kind), mark.detail);
    return mark.time_ns;
  });
  array("bands", lane.bands, [&](const auto& band, std::int64_t last) {
    fmt::format_to(end, "{},{},{},{}", band.begin_ns, band.end_ns, static_cast<int>(band.kind), band.detail);
    return last;
  });
  out += '}';
}

std::string page_data(const Timeline& timeline, const TimelineLanes& sorted) {
  std::string out = fmt::format("{{\"length\":{},\n", sorted.length_ns);
  add_words<kTickOutcomes, TickOutcome>(out, "outcomes", [](TickOutcome it) { return to_string(it); });
  add_words<4, CircuitState>(out, "circuits", [](CircuitState it) { return to_string(it); });
  add_words<9, NodeState>(out, "states", [](NodeState it) { return to_string(it); });
  add_words<4, std::uint8_t>(out, "watchdog", [](std::uint8_t it) { return detail::watchdog_step(it); });
  out += "\"stops\":[";
  for (std::size_t i = 0; i < sorted.emergency_stops.size(); ++i)
    out += fmt::format("{}{}", i > 0 ? "," : "", sorted.emergency_stops[i]);
  out += "],\n\"nodes\":[";
  for (std::size_t i = 0; i < timeline.nodes.size(); ++i) {
    if (i > 0) out += ",\n";
    add_lane(out, timeline.nodes[i], sorted.lanes[i]);
  }
  return out + "]}";
}

}  // namespace

std::string Timeline::html() const {
  const TimelineLanes sorted(*this);
  const std::string heading = html_text(title.empty() ? "Timeline" : title);
  std::string out = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  out +=
      fmt::format("<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n", heading, detail::kTimelineStyle);
  out += fmt::format("<header>\n<h1>{}</h1>\n<p>{}</p>\n", heading, facts_text(*this, sorted));
  out += R"html(<nav hidden><span><kbd>wheel</kbd> zoom <kbd>drag</kbd> move</span>
<button id="out" title="zoom out (-)">−</button><button id="in" title="zoom in (+)">+</button>
<button id="left" title="earlier (←)">←</button><button id="right" title="later (→)">→</button>
<button id="all" title="the whole run (0)">all</button></nav>
</header>
<noscript><p class="note">The picture needs JavaScript, which is switched off here. The table below is complete without
it.</p></noscript>
<main hidden><canvas id="axis"></canvas><canvas id="lanes" tabindex="0" role="img"
aria-label="One lane per node: its ticks over time. The table below has the sums."></canvas></main>
<ul id="legend" hidden></ul>
)html";
  out += summary_table(*this, sorted);
  out += "<div id=\"tip\" hidden></div>\n<script type=\"application/json\" id=\"data\">\n";
  out += page_data(*this, sorted);
  out += "\n</script>\n<script>\n\"use strict\";\n(() => {\n";
  out += detail::kTimelineData;
  out += detail::kTimelineDraw;
  out += detail::kTimelineHandle;
  out += "})();\n</script>\n</body>\n</html>\n";
  return out;
}

}  // namespace horus::HORUS_ABI
