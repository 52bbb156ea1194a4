// SPDX-License-Identifier: Apache-2.0
// In the browser: from the arrays of timeline_page.cpp to lanes that can be searched, and words for times.
#include <horus/sched/report/timeline_page.hpp>
#include <horus/sched/states.hpp>

namespace horus::HORUS_ABI::detail {

static_assert(static_cast<int>(TickOutcome::cancelled_shutdown) == 5 &&
                  static_cast<int>(TickOutcome::cancelled_paused) == 7,
              "isOrdered below");

const char kTimelineData[] = R"js(
// --- Data: times are nanoseconds since the first event ---------------------------------------------------------------
const data = JSON.parse(document.getElementById("data").textContent);
const SKIPPED = 2, DEADLINE = 3, BUDGET = 4, CIRCUIT = 5, STATE = 6, WATCHDOG = 7, SAFE = 8;
const OK = 0, FAILED = 1, CANCELLED = 2;
const isOrdered = (outcome) => outcome >= 5 && outcome <= 7;  // cancelled by a stop or a pause: nothing went wrong
const classOf = (outcome) => outcome === 0 || isOrdered(outcome) ? OK : outcome === 1 ? FAILED : CANCELLED;

// Begins came as differences. `reach` is the latest end so far: what is visible from a time on begins where it passes.
function stretches(flat, fields) {
  const count = flat.length / fields;
  const begin = new Float64Array(count), end = new Float64Array(count), reach = new Float64Array(count);
  for (let i = 0, at = 0, latest = 0; i < count; ++i) {
    begin[i] = at += flat[i * fields];
    end[i] = at + flat[i * fields + 1];
    reach[i] = latest = Math.max(latest, end[i]);
  }
  return {count, begin, end, reach};
}

// First index whose value is not below `time`.
function lowerBound(values, time) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < time) low = middle + 1; else high = middle;
  }
  return low;
}
const visible = (set, view) => [lowerBound(set.reach, view.from), lowerBound(set.begin, view.to)];

function unpack(node) {
  const runs = stretches(node.runs, 2), ticks = stretches(node.ticks, 5);
  ticks.outcome = new Uint8Array(ticks.count);
  ticks.lateness = new Float64Array(ticks.count);  // -1: it never ran
  ticks.execution = new Float64Array(ticks.count);
  runs.kind = new Uint8Array(runs.count);
  for (let i = 0, run = 0, last = 0; i < ticks.count; ++i) {
    ticks.outcome[i] = node.ticks[i * 5 + 2];
    ticks.lateness[i] = node.ticks[i * 5 + 3];
    ticks.execution[i] = node.ticks[i * 5 + 4];
    const from = Math.max(ticks.begin[i], last);
    while (run < runs.count && runs.begin[run] < from) ++run;
    for (; run < runs.count && runs.begin[run] < ticks.end[i]; ++run) runs.kind[run] = classOf(ticks.outcome[i]);
    last = Math.max(last, ticks.end[i]);
  }
  const marks = {count: node.marks.length / 3};
  marks.begin = new Float64Array(marks.count);
  marks.kind = new Uint8Array(marks.count);
  marks.detail = new Uint8Array(marks.count);
  for (let i = 0, at = 0; i < marks.count; ++i) {
    marks.begin[i] = at += node.marks[i * 3];
    marks.kind[i] = node.marks[i * 3 + 1];
    marks.detail[i] = node.marks[i * 3 + 2];
  }
  const bands = [];
  for (let i = 0; i < node.bands.length; i += 4) {
    const [begin, end, kind, detail] = node.bands.slice(i, i + 4);
    const style = bandStyle(kind, detail);
    bands.push({begin, end, kind, word: markWord(kind, detail), style});
  }
  return {name: node.name, rate: node.rate, deadline: node.deadline, executor: node.executor, runs, ticks, marks, bands};
}

function markWord(kind, detail) {
  const of = (words) => words[detail] || "?";
  return kind === SKIPPED ? of(data.outcomes) : kind === DEADLINE ? "deadline missed" : kind === BUDGET ? "budget missed" :
    kind === CIRCUIT ? "circuit " + of(data.circuits).replace("_", " ") : kind === STATE ? of(data.states) :
    kind === WATCHDOG ? "watchdog: " + of(data.watchdog) : "safe state";
}

// What shades a lane; the ordinary states do not.
function bandStyle(kind, detail) {
  if (kind === CIRCUIT) return [null, "open", "half", "open"][detail];
  const styles = {paused: "paused", restarting: "restarting", stuck: "stuck", stopped: "stopped", failed: "open"};
  return styles[data.states[detail]];
}

const lanes = data.nodes.map(unpack);
data.nodes = null;

// --- Words for times -------------------------------------------------------------------------------------------------
function duration(ns) {
  const digits = (value) => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
  if (ns < 1e3) return ns + " ns";
  if (ns < 999.5e3) return digits(ns / 1e3) + " µs";
  if (ns < 999.5e6) return digits(ns / 1e6) + " ms";
  return digits(ns / 1e9) + " s";
}
const instant = (ns) => (ns / 1e9).toFixed(6).replace(/(\d{3})(?=\d)/g, (digits, _, at, all) =>
  at > all.indexOf(".") ? digits + "\u202f" : digits) + " s";
)js";

}  // namespace horus::HORUS_ABI::detail
