// SPDX-License-Identifier: Apache-2.0
// Chrome's trace event format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
// One process, one thread per node; a tick is a span around its stretches, so that suspension is the gap between them.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include <horus/sched/report/timeline_lanes.hpp>
#include <horus/sched/timeline.hpp>

namespace horus::HORUS_ABI {
namespace {

using detail::TimelineLane;
using detail::TimelineMark;
using detail::TimelineStretch;
using detail::TimelineTick;

class TraceWriter {
 public:
  void metadata(const char* name, std::size_t thread, const std::string& argument) {
    begin();
    fmt::format_to(end(), R"("name":"{}","ph":"M","pid":1,"tid":{},"args":{{{}}}}})", name, thread, argument);
  }
  void run(std::size_t thread, std::int64_t begin_ns, std::int64_t end_ns) {
    begin();
    fmt::format_to(end(), R"("name":"run","cat":"run","ph":"X","pid":1,"tid":{},"ts":{},"dur":{}}})", thread,
                   us(begin_ns), us(end_ns - begin_ns));
  }
  void tick(std::size_t thread, const TimelineTick& tick) {
    begin();
    fmt::format_to(end(),
                   R"("name":"tick","cat":"tick","ph":"X","pid":1,"tid":{},"ts":{},"dur":{},"args":{{)",
                   thread, us(tick.earliest_ns), us(tick.end_ns - tick.earliest_ns));
    fmt::format_to(end(), R"("outcome":"{}","grid_us":{},)",
                   to_string(static_cast<TickOutcome>(tick.outcome)), us(tick.begin_ns));
    if (tick.ran())
      fmt::format_to(end(), R"("lateness_us":{},"execution_us":{},"suspended_us":{},)",
                     us(tick.lateness_ns()), us(tick.execution_ns), us(tick.suspended_ns()));
    fmt::format_to(end(), R"("response_us":{}}}}})", us(tick.response_ns()));
  }
  // `scope`: t for the node's own track, g for the whole picture.
  void instant(std::size_t thread, const std::string& name, const char* category, std::int64_t time_ns,
               char scope) {
    begin();
    fmt::format_to(end(), R"("name":"{}","cat":"{}","ph":"i","s":"{}","pid":1,"tid":{},"ts":{}}})", name,
                   category, scope, thread, us(time_ns));
  }
  std::string take() && { return std::move(text_); }

 private:
  static std::string us(std::int64_t ns) {
    return ns % 1000 == 0 ? fmt::format("{}", ns / 1000) : fmt::format("{}.{:03}", ns / 1000, ns % 1000);
  }
  void begin() { text_ += text_.empty() ? "{" : ",\n{"; }
  std::back_insert_iterator<std::string> end() { return std::back_inserter(text_); }

  std::string text_;
};

void trace_mark(TraceWriter& out, std::size_t thread, const TimelineMark& mark) {
  using Kind = TimelineEvent::Kind;
  const auto say = [&](const std::string& name, const char* category) {
    out.instant(thread, name, category, mark.time_ns, 't');
  };
  switch (mark.kind) {
    case Kind::skipped: return say(to_string(static_cast<TickOutcome>(mark.detail)), "skip");
    case Kind::deadline_miss: return say("deadline missed", "miss");
    case Kind::budget_miss: return say("budget missed", "miss");
    case Kind::circuit:
      return say(std::string("circuit ") + to_string(static_cast<CircuitState>(mark.detail)), "circuit");
    case Kind::state: return say(to_string(static_cast<NodeState>(mark.detail)), "state");
    case Kind::watchdog:
      return say(std::string("watchdog: ") + detail::watchdog_step(mark.detail), "watchdog");
    case Kind::safe_state: return say("safe state", "safe_state");
    case Kind::ran:
    case Kind::tick:
    case Kind::emergency_stop: return;
  }
}

// Spans of one thread have to lie inside one another: a stretch that reaches beyond its tick is cut at the tick's edges.
void trace_lane(TraceWriter& out, std::size_t thread, const TimelineLane& lane) {
  for (const TimelineTick& tick : lane.ticks) out.tick(thread, tick);
  auto tick = lane.ticks.begin();
  for (const TimelineStretch& run : lane.runs) {
    std::int64_t from = run.begin_ns;
    while (tick != lane.ticks.end() && tick->end_ns <= from && tick->end_ns < run.end_ns) ++tick;
    for (auto other = tick; other != lane.ticks.end() && other->earliest_ns < run.end_ns; ++other) {
      for (const std::int64_t edge : {other->earliest_ns, other->end_ns}) {
        if (edge <= from || edge >= run.end_ns) continue;
        out.run(thread, from, edge);
        from = edge;
      }
    }
    out.run(thread, from, run.end_ns);
  }
  for (const TimelineMark& mark : lane.marks) trace_mark(out, thread, mark);
}

}  // namespace

std::string Timeline::chrome_trace() const {
  const detail::TimelineLanes sorted(*this);
  TraceWriter out;
  out.metadata("process_name", 0, R"("name":)" + detail::timeline_json(title.empty() ? "horus" : title));
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    out.metadata("thread_name", i + 1, R"("name":)" + detail::timeline_json(nodes[i].name));
    out.metadata("thread_sort_index", i + 1, fmt::format(R"("sort_index":{})", i + 1));
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) trace_lane(out, i + 1, sorted.lanes[i]);
  for (const std::int64_t stop : sorted.emergency_stops)
    out.instant(1, "emergency stop", "emergency_stop", stop, 'g');
  return fmt::format(R"({{"displayTimeUnit":"ms","otherData":{{"lost_events":{}}},"traceEvents":[)", lost) +
         "\n" + std::move(out).take() + "\n]}\n";
}

}  // namespace horus::HORUS_ABI
