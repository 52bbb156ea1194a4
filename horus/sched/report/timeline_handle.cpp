// SPDX-License-Identifier: Apache-2.0
// In the browser: what the pointer and the keyboard do, the tooltip and the legend.
#include <horus/sched/report/timeline_page.hpp>

namespace horus::HORUS_ABI::detail {

const char kTimelineHandle[] = R"js(
// --- Moving about ----------------------------------------------------------------------------------------------------
let drawing = false;
function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function show(from, to) {
  const most = whole.to - whole.from, length = Math.min(Math.max(to - from, SHORTEST_VIEW), most);
  from = Math.min(Math.max((from + to - length) / 2, whole.from), whole.to - length);
  view = {from, to: from + length};
  redraw();
}
function zoom(factor, around = (view.from + view.to) / 2) {
  const most = whole.to - whole.from, length = view.to - view.from;
  factor = Math.min(Math.max(factor, SHORTEST_VIEW / length), most / length);
  show(around - (around - view.from) * factor, around + (view.to - around) * factor);
}
const move = (share) => show(view.from + share * (view.to - view.from), view.to + share * (view.to - view.from));

for (const canvas of [laneCanvas, axisCanvas]) {
  canvas.addEventListener("wheel", (event) => {
    if (event.offsetX < left || event.ctrlKey) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 30 : 1, sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(sideways * unit / width);
    else zoom(Math.exp(event.deltaY * unit / 400), timeOf(event.offsetX));
    tip.hidden = true;
  }, {passive: false});
  let grabbed = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    grabbed = {x: event.clientX, view};
    canvas.setPointerCapture(event.pointerId);
    laneCanvas.classList.add("moving");
    tip.hidden = true;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!grabbed) return canvas === laneCanvas ? point(event) : undefined;
    const by = (grabbed.x - event.clientX) / (width - left - RIGHT) * (grabbed.view.to - grabbed.view.from);
    show(grabbed.view.from + by, grabbed.view.to + by);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => {
    grabbed = null;
    laneCanvas.classList.remove("moving");
  });
  canvas.addEventListener("pointerleave", () => tip.hidden = true);
  canvas.addEventListener("dblclick", (event) => zoom(0.25, timeOf(event.offsetX)));
}

const actions = {
  "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), "ArrowLeft": () => move(-0.15),
  "ArrowRight": () => move(0.15), "0": () => show(whole.from, whole.to),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
});
for (const [id, key] of [["in", "+"], ["out", "-"], ["left", "ArrowLeft"], ["right", "ArrowRight"], ["all", "0"]])
  document.getElementById(id).addEventListener("click", actions[key]);

// --- Tooltip ---------------------------------------------------------------------------------------------------------
const tip = document.getElementById("tip");

// The tick under the pointer, or the nearest within `tolerance`; -1 when there is none.
function tickAt(ticks, time, tolerance) {
  let best = -1, nearest = tolerance;
  for (let i = lowerBound(ticks.reach, time - tolerance); i < ticks.count && ticks.begin[i] <= time + tolerance; ++i) {
    const away = Math.max(ticks.begin[i] - time, time - ticks.end[i], 0);
    if (away <= nearest) { best = i; nearest = away; }
  }
  return best;
}

function describeTick(ticks, i) {
  const ran = ticks.lateness[i] >= 0, response = ticks.end[i] - ticks.begin[i];
  const facts = [["tick at", instant(ticks.begin[i])], ["outcome", data.outcomes[ticks.outcome[i]] || "?"]];
  if (ran) facts.push(["lateness", duration(ticks.lateness[i])], ["execution", duration(ticks.execution[i])],
    ["suspended", duration(Math.max(response - ticks.lateness[i] - ticks.execution[i], 0))]);
  facts.push(["response", duration(response)]);
  return facts;
}

function describeColumn(lane, from, to) {
  const [first, last] = visible(lane.ticks, {from, to}), counts = [0, 0, 0];
  let execution = 0, longest = 0;
  for (let i = first; i < last; ++i) {
    ++counts[classOf(lane.ticks.outcome[i])];
    longest = Math.max(longest, lane.ticks.end[i] - lane.ticks.begin[i]);
  }
  const [firstRun, lastRun] = visible(lane.runs, {from, to});
  for (let i = firstRun; i < lastRun; ++i)
    execution += Math.min(lane.runs.end[i], to) - Math.max(lane.runs.begin[i], from);
  const facts = [["from", instant(Math.max(from, 0))], ["for", duration(Math.round(to - from))]];
  facts.push(["ticks", last - first]);
  if (counts[FAILED]) facts.push(["failed", counts[FAILED]]);
  if (counts[CANCELLED]) facts.push(["cancelled", counts[CANCELLED]]);
  if (last > first) facts.push(["longest response", duration(longest)]);
  facts.push(["execution", (100 * execution / (to - from)).toFixed(1) + " %"]);
  return facts;
}

function describe(lane, x) {
  const time = timeOf(x), pixel = (view.to - view.from) / (width - left - RIGHT), facts = [];
  const [first, last] = visible(lane.ticks, view);
  if (isDense(last - first, width - left - RIGHT)) facts.push(...describeColumn(lane, time - 2 * pixel, time + 2 * pixel));
  else {
    const tick = tickAt(lane.ticks, time, 3 * pixel);
    facts.push(...(tick >= 0 ? describeTick(lane.ticks, tick) : [["at", instant(Math.max(time, 0))]]));
  }
  for (const band of lane.bands)
    if (band.style && band.begin <= time && time < band.end)
      facts.push([band.word, "for " + duration(band.end - band.begin)]);
  const counts = new Map();
  const end = lowerBound(lane.marks.begin, time + 5 * pixel);
  for (let i = lowerBound(lane.marks.begin, time - 5 * pixel); i < end; ++i) {
    const word = markWord(lane.marks.kind[i], lane.marks.detail[i]);
    const seen = counts.get(word) || {count: 0, time: lane.marks.begin[i]};
    ++seen.count;
    counts.set(word, seen);
  }
  for (const [word, {count, time}] of counts) facts.push([word, count > 1 ? count + " ×" : "at " + instant(time)]);
  return facts;
}

function point(event) {
  const lane = lanes[Math.floor(event.offsetY / laneHeight)];
  tip.hidden = !lane || event.offsetX > width - RIGHT;
  if (tip.hidden) return;
  const heading = document.createElement("b"), list = document.createElement("dl");
  heading.textContent = lane.name;
  const facts = event.offsetX >= left ? describe(lane, event.offsetX) :
    [["rate", lane.rate], ["deadline", lane.deadline ? duration(lane.deadline) : "none"],
      ["executor", lane.executor || "–"]];
  for (const [term, value] of facts) {
    list.append(document.createElement("dt"), document.createElement("dd"));
    list.children[list.children.length - 2].textContent = term;
    list.lastChild.textContent = value;
  }
  tip.replaceChildren(heading, list);
  const {width: wide, height: high} = tip.getBoundingClientRect();
  const beyond = event.clientX + 16 + wide > innerWidth;
  tip.style.left = Math.max(4, beyond ? event.clientX - wide - 12 : event.clientX + 16) + "px";
  tip.style.top = Math.max(4, Math.min(event.clientY + 16, innerHeight - high - 8)) + "px";
}

// --- Legend: what occurs, painted as in the lanes --------------------------------------------------------------------
function legendEntries() {
  const block = (paint, kind) => (pen) => {
    paint(pen, kind);
    pen.fillRect(2, 2, 22, 12);
  };
  const band = (name) => (pen) => {
    pen.fillStyle = colours[name];
    pen.fillRect(0, 1, 26, 14);
  };
  const has = (kind, detail) => lanes.some(({marks}) =>
    marks.kind.some((it, i) => it === kind && (detail === undefined || marks.detail[i] === detail)));
  const ends = (kind) => lanes.some(({ticks}) => ticks.outcome.some((it) => classOf(it) === kind));
  const shaded = (style, kind) => lanes.some(({bands}) => bands.some((it) => it.style === style && it.kind === kind));
  const skips = data.outcomes.map((word, i) => [has(SKIPPED, i), word, (pen) => skipShape(pen, reasonOf(i), 13, 8)]);
  return [
    [true, "running", block(bars.solid, OK)], [true, "suspended", block(bars.pale, OK)],
    [true, "from the grid point to the start", block(bars.wait, OK)],
    [lanes.some((lane) => lane.deadline), "deadline", (pen) => deadlineShape(pen, false, 13, 1, 14)],
    [ends(FAILED), "failed", block(bars.solid, FAILED)], [ends(CANCELLED), "cancelled", block(bars.pale, CANCELLED)],
    [has(DEADLINE), "deadline missed", (pen) => missShape(pen, DEADLINE, 13, 8)],
    [has(BUDGET), "budget missed", (pen) => missShape(pen, BUDGET, 13, 8)], ...skips,
    [shaded("open", CIRCUIT), "circuit open", band("open")], [shaded("half", CIRCUIT), "half open", band("half")],
    ...["paused", "restarting", "stuck", "stopped"].map((it) => [shaded(it, STATE), it, band(it)]),
    [has(WATCHDOG), "watchdog", (pen) => flagShape(pen, colours.flag, 8, 0, 15)],
    [has(SAFE), "safe state", (pen) => flagShape(pen, colours.safe, 8, 0, 15)],
    [true, "where ticks are dense: a column's height is the root of its share of time", (pen) => {
      [3, 5, 4, 7, 9, 6, 10].forEach((high, i) => {
        pen.fillStyle = colours.tick;
        pen.fillRect(2 + 3 * i, 14 - high, 3, high);
        pen.fillStyle = colours.run;
        pen.fillRect(2 + 3 * i, 14 - high / 2, 3, high / 2);
      });
    }],
  ];
}

function drawLegend() {
  const legend = document.getElementById("legend");
  legend.replaceChildren();
  for (const [occurs, word, paint] of legendEntries()) {
    if (!occurs) continue;
    const item = document.createElement("li"), picture = document.createElement("canvas");
    item.append(picture, word);
    legend.append(item);
    paint(prepare(picture, 16));
  }
}

// --- Begin -----------------------------------------------------------------------------------------------------------
for (const part of ["nav", "main", "#legend"]) document.querySelector(part).hidden = false;
function begin() {
  readColours();
  layout();
  draw();
  drawLegend();
}
begin();
window.addEventListener("resize", () => { layout(); redraw(); });
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", begin);
)js";

}  // namespace horus::HORUS_ABI::detail
