// SPDX-License-Identifier: Apache-2.0
// In the browser: the axis, the lanes and their marks. What is dense is drawn in columns, so that the work of a picture
// grows with what is visible and not with what was recorded.
#include <horus/sched/report/timeline_page.hpp>

namespace horus::HORUS_ABI::detail {

const char kTimelineDraw[] = R"js(
// --- Places and colours ----------------------------------------------------------------------------------------------
const axisCanvas = document.getElementById("axis"), laneCanvas = document.getElementById("lanes");
const AXIS = 30, GAP = 4, RIGHT = 14, SHORTEST_VIEW = 1000;
const whole = {from: -0.01 * Math.max(data.length, 1e4), to: 1.01 * Math.max(data.length, 1e4)};
let view = {...whole};
let width = 0, left = 0, laneHeight = 0, colours = {}, hatch = null;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  colours = {};
  for (const name of ["page", "lane", "ink", "faint", "line", "run", "tick", "wait", "failed", "failed-tick", "cancelled",
    "cancelled-tick", "miss", "budget", "skip", "open", "half", "paused", "restarting", "stuck", "stopped", "flag",
    "isolated", "safe", "stop"]) colours[name] = style.getPropertyValue("--" + name).trim();
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  pen.fillStyle = colours["cancelled-tick"];
  pen.fillRect(0, 0, 6, 6);
  pen.strokeStyle = colours.cancelled;
  pen.lineWidth = 1.4;
  for (const at of [-6, 0, 6]) {
    pen.moveTo(at - 1, 7);
    pen.lineTo(at + 7, -1);
  }
  pen.stroke();
  hatch = pen.createPattern(tile, "repeat");
}

function prepare(canvas, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 32000 / height);
  canvas.style.height = height + "px";
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = "11px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
  return pen;
}
const bold = (pen) => pen.font = "600 13px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
const plain = (pen) => pen.font = "11px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
const xOf = (time) => left + (time - view.from) / (view.to - view.from) * (width - left - RIGHT);
const timeOf = (x) => view.from + (x - left) / (width - left - RIGHT) * (view.to - view.from);
const settings = (lane) => lane.rate + (lane.deadline ? " · ≤ " + duration(lane.deadline).replace(/\.0+ /, " ") : "");

function layout() {
  width = laneCanvas.clientWidth;
  laneHeight = lanes.length <= 8 ? 62 : lanes.length <= 16 ? 50 : 42;
  const pen = laneCanvas.getContext("2d");
  left = 90;
  for (const lane of lanes) {
    bold(pen);
    left = Math.max(left, pen.measureText(lane.name).width + 18);
    plain(pen);
    left = Math.max(left, pen.measureText(settings(lane)).width + 18);
  }
  left = Math.round(Math.min(left, 240, width / 3));
}

function clipped(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  while (text.length > 1 && pen.measureText(text + "…").width > room) text = text.slice(0, -1);
  return text + "…";
}

// --- Axis ------------------------------------------------------------------------------------------------------------
function axisMarks() {
  const wanted = (view.to - view.from) / Math.max(3, (width - left) / 110);
  let step = 10 ** Math.floor(Math.log10(wanted));
  step *= [1, 2, 5, 10].find((factor) => factor * step >= wanted);
  const unit = step >= 1e7 ? ["s", 1e9] : step >= 1e4 ? ["ms", 1e6] : ["µs", 1e3];
  // Deep inside a long run, marks count from a round time that is told once.
  const base = unit[0] === "s" ? 0 : Math.max(0, Math.floor(view.from / (unit[1] * 1000)) * unit[1] * 1000);
  const decimals = Math.max(0, Math.ceil(Math.log10(unit[1] / step) - 1e-9));
  const marks = [];
  for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
    const number = ((time - base) / unit[1]).toFixed(decimals).replace(/^-0(\.0*)?$/, "0");
    marks.push({time, text: (base ? "+" : "") + number + " " + unit[0]});
  }
  return {base, marks};
}

function drawAxis(axis) {
  const pen = prepare(axisCanvas, AXIS);
  const share = (time) => left + (time - whole.from) / (whole.to - whole.from) * (width - left - RIGHT);
  pen.fillStyle = colours.line;
  pen.fillRect(left, 2, width - left - RIGHT, 3);
  pen.fillStyle = colours.run;
  pen.fillRect(share(view.from), 2, Math.max(3, share(view.to) - share(view.from)), 3);
  pen.fillStyle = colours.faint;
  if (axis.base) {
    pen.textAlign = "right";
    pen.fillText(instant(axis.base).replace(/(\.\d*?)[0\u202f]+ s$/, "$1 s").replace(". s", " s"), left - 10, 21);
  }
  pen.textAlign = "center";
  for (const {time, text} of axis.marks) {
    const x = xOf(time);
    if (x < left - 1) continue;
    const half = pen.measureText(text).width / 2;
    pen.fillText(text, Math.min(Math.max(x, left + half), width - half), 21);
    pen.fillRect(x, 26, 1, 4);
  }
}

// --- Lanes -----------------------------------------------------------------------------------------------------------
// Above the bars: misses and flags; below: skips.
const rows = (y) => ({miss: y + 17, top: y + 23, height: laneHeight - GAP - 23 - 12, skip: y + laneHeight - GAP - 6});
const bars = {
  wait: (pen) => pen.fillStyle = colours.wait,
  pale: (pen, kind) => pen.fillStyle = kind === OK ? colours.tick : kind === FAILED ? colours["failed-tick"] : hatch,
  solid: (pen, kind) => pen.fillStyle = kind === OK ? colours.run : kind === FAILED ? colours.failed : colours.cancelled,
};

// What is narrower than a pixel is as high as the root of its share of the pixel: a picket fence of short ticks does not
// look like a busy node.
const rootHeight = (share, height) => Math.max(2, height * Math.sqrt(Math.min(share, 1)));

function bar(pen, from, to, {top, height}) {
  const x = Math.max(xOf(from), left - 2), wide = Math.min(xOf(to), width - RIGHT) - x;
  const high = wide >= 1 ? height : rootHeight(wide, height);
  pen.rect(x, top + height - high, Math.max(wide, 1), high);
}

function fillBars(pen, paint, kind, each) {
  pen.beginPath();
  paint(pen, kind);
  each();
  pen.fill();
}

// Each tick by itself.
function drawTicks(pen, lane, first, last, row) {
  const {ticks} = lane;
  fillBars(pen, bars.wait, OK, () => {
    for (let i = first; i < last; ++i)
      bar(pen, ticks.begin[i], ticks.lateness[i] < 0 ? ticks.end[i] : ticks.begin[i] + ticks.lateness[i], row);
  });
  fillBars(pen, bars.pale, OK, () => {
    for (let i = first; i < last; ++i)
      if (classOf(ticks.outcome[i]) === OK && ticks.lateness[i] >= 0)
        bar(pen, ticks.begin[i] + ticks.lateness[i], ticks.end[i], row);
  });
  if (!lane.deadline || (view.to - view.from) / (width - left) > lane.deadline / 12) return;
  for (let i = first; i < last; ++i) {
    const deadline = ticks.begin[i] + lane.deadline;
    if (deadline >= view.from) deadlineShape(pen, ticks.end[i] > deadline, xOf(deadline), row.top - 3, row.height + 6);
  }
}

function deadlineShape(pen, missed, x, top, height) {
  pen.fillStyle = missed ? colours.miss : colours.faint;
  for (let y = top; y < top + height; y += 5) pen.fillRect(x, y, 1, 3);
}

// Ticks that failed or were cancelled are seen from any distance.
function drawBadTicks(pen, {ticks}, first, last, {top, height}) {
  for (const kind of [CANCELLED, FAILED])
    for (const wide of [true, false])
      fillBars(pen, wide ? bars.pale : bars.solid, kind, () => {
        let painted = -1;
        for (let i = first; i < last; ++i) {
          if (classOf(ticks.outcome[i]) !== kind) continue;
          const x = Math.max(xOf(ticks.begin[i] + Math.max(ticks.lateness[i], 0)), left - 2);
          const end = Math.max(Math.min(xOf(ticks.end[i]), width - RIGHT), x + 2);
          if (end - x >= 5 !== wide || end <= painted) continue;
          pen.rect(x, top, end - x, height);
          painted = end;
        }
      });
}

function drawRuns(pen, {runs}, first, last, row) {
  for (const kind of [OK, CANCELLED, FAILED])
    fillBars(pen, bars.solid, kind, () => {
      for (let i = first; i < last; ++i)
        if (runs.kind[i] === kind) bar(pen, runs.begin[i], runs.end[i], row);
    });
}

// Too many to see each: columns that hold a few of them, as high as the root of the share of their time. They stand at
// fixed times, so that they keep their shape while one moves.
function drawColumns(pen, set, first, last, paint, {top, height}) {
  const pixels = width - left - RIGHT, span = view.to - view.from;
  const step = span / pixels * Math.min(Math.max(Math.ceil(5 * pixels / (last - first)), 1), 16);
  const base = Math.floor(view.from / step), share = new Float64Array(Math.ceil(view.to / step) - base + 1);
  for (let i = first; i < last; ++i) {
    const from = Math.max(set.begin[i] / step - base, 0), to = Math.min(set.end[i] / step - base, share.length);
    const begin = Math.floor(from), end = Math.min(Math.floor(to), share.length - 1);
    if (begin === end) {
      share[begin] += to - from;
      continue;
    }
    share[begin] += begin + 1 - from;
    for (let x = begin + 1; x < end; ++x) share[x] += 1;
    share[end] += to - end;
  }
  fillBars(pen, paint, OK, () => {
    for (let i = 0; i < share.length; ++i) {
      if (share[i] === 0) continue;
      const x = Math.max(xOf((base + i) * step), left), high = rootHeight(share[i], height);
      pen.rect(x, top + height - high, Math.max(Math.min(xOf((base + i + 1) * step), left + pixels) - x, 0), high);
    }
  });
}
const isDense = (count, pixels) => count > pixels / 3;

function drawLane(pen, lane, y, labels, axis) {
  const row = rows(y), pixels = width - left - RIGHT;
  pen.fillStyle = colours.lane;
  pen.fillRect(left, y, pixels, laneHeight - GAP);
  for (const band of lane.bands) {
    if (!band.style || band.end < view.from || band.begin > view.to) continue;
    const x = Math.max(xOf(band.begin), left), end = Math.min(xOf(band.end), left + pixels);
    const circuit = band.kind === CIRCUIT;
    pen.fillStyle = colours[band.style];
    // Circuit and node at the same time: the node's state fills the lower half.
    pen.fillRect(x, circuit ? y : y + (laneHeight - GAP) / 2, Math.max(end - x, 2), (laneHeight - GAP) / 2);
    if (circuit || !overlaps(lane, band, CIRCUIT)) pen.fillRect(x, y, Math.max(end - x, 2), laneHeight - GAP);
    labels.push({x: x + 4, room: end - x - 6, text: band.word, colour: colours.faint});
  }
  pen.fillStyle = colours.line;
  pen.fillRect(left, row.top + row.height, pixels, 1);
  for (const {time} of axis.marks) pen.fillRect(xOf(time), y, 1, laneHeight - GAP);
  const [firstTick, lastTick] = visible(lane.ticks, view), [firstRun, lastRun] = visible(lane.runs, view);
  const dense = isDense(lastTick - firstTick, pixels);
  if (dense) drawColumns(pen, lane.ticks, firstTick, lastTick, bars.pale, row);
  else drawTicks(pen, lane, firstTick, lastTick, row);
  if (!dense) drawBadTicks(pen, lane, firstTick, lastTick, row);  // below their stretches
  if (dense || lastRun - firstRun > 2 * pixels) drawColumns(pen, lane.runs, firstRun, lastRun, bars.solid, row);
  else drawRuns(pen, lane, firstRun, lastRun, row);
  if (dense) drawBadTicks(pen, lane, firstTick, lastTick, row);
}
const overlaps = (lane, band, kind) =>
  lane.bands.some((other) => other.kind === kind && other.style && other.begin < band.end && other.end > band.begin);

// --- Marks -----------------------------------------------------------------------------------------------------------
// Skips are hollow, each reason with its own shape.
function skipShape(pen, reason, x, y) {
  const line = ([dx, dy], ...rest) => {
    pen.moveTo(x + dx, y + dy);
    for (const [right, down] of rest) pen.lineTo(x + right, y + down);
  };
  pen.strokeStyle = colours.skip;
  pen.lineWidth = 1.2;
  pen.beginPath();
  if (reason === "in flight") pen.arc(x, y, 3, 0, 7);
  else if (reason === "circuit open") pen.rect(x - 2.6, y - 2.6, 5.2, 5.2);
  else if (reason === "paused") line([-1.8, -3], [-1.8, 3]), line([1.8, -3], [1.8, 3]);
  else if (reason === "miss") line([-3.2, -2.6], [3.2, -2.6], [0, 3], [-3.2, -2.6]);
  else line([-2.6, -2.6], [2.6, 2.6]), line([-2.6, 2.6], [2.6, -2.6]);
  pen.stroke();
}
const reasonOf = (outcome) => (/\((.*)\)/.exec(data.outcomes[outcome] || "") || ["", "?"])[1];

function missShape(pen, kind, x, y) {
  pen.fillStyle = kind === DEADLINE ? colours.miss : colours.budget;
  pen.beginPath();
  if (kind === DEADLINE) { pen.moveTo(x - 4, y - 4); pen.lineTo(x + 4, y - 4); pen.lineTo(x, y + 4); }
  else { pen.moveTo(x, y - 4); pen.lineTo(x + 3.6, y); pen.lineTo(x, y + 4); pen.lineTo(x - 3.6, y); }
  pen.fill();
}

function flagShape(pen, colour, x, y, bottom) {
  pen.fillStyle = colour;
  pen.fillRect(x - 0.5, y + 2, 1.5, bottom - y - 2);
  pen.beginPath();
  pen.moveTo(x, y + 2);
  pen.lineTo(x + 9, y + 6);
  pen.lineTo(x, y + 10);
  pen.fill();
}

function drawMarks(pen, lane, y, labels) {
  const row = rows(y), {marks} = lane, last = {};
  const end = lowerBound(marks.begin, view.to);
  for (let i = lowerBound(marks.begin, view.from); i < end; ++i) {
    const kind = marks.kind[i], detail = marks.detail[i], x = xOf(marks.begin[i]);
    // One for many at the same place: they would only blot each other out.
    const shape = kind * 16 + detail;
    if (kind === CIRCUIT || kind === STATE || x - last[shape] < (kind === WATCHDOG || kind === SAFE ? 3 : 7)) continue;
    last[shape] = x;
    if (kind === SKIPPED) skipShape(pen, reasonOf(detail), x, row.skip);
    else if (kind === DEADLINE) missShape(pen, kind, x, row.miss);
    else if (kind === BUDGET) missShape(pen, kind, x, row.miss);
    else {
      const steps = [colours.skip, colours.flag, colours.flag, colours.isolated];
      const colour = kind === SAFE ? colours.safe : steps[detail] || colours.skip;
      flagShape(pen, colour, x, y, row.top + row.height);
      const text = kind === SAFE ? "safe state" : data.watchdog[detail] || "?";
      labels.push({x: x + 11, flag: true, room: Infinity, text, colour});
    }
  }
}

// Words where they find room; flags keep their places, and come first.
function drawLabels(pen, labels, y) {
  const flags = labels.filter((label) => label.flag).slice(0, 400).sort((a, b) => a.x - b.x);
  const taken = flags.map(({x}) => [x - 12, x - 2]);
  for (let {x, flag, room, text, colour} of flags.concat(labels.filter((label) => !label.flag).slice(0, 400))) {
    const wide = pen.measureText(text).width, limit = Math.min(x + room, width);
    const collision = () => taken.find(([from, to]) => x < to && x + wide + 2 > from);
    if (!flag) for (let hit = collision(); hit && x < limit; hit = collision()) x = hit[1] + 2;
    if (x + wide > limit || collision()) continue;
    taken.push([x, x + wide + 4]);
    pen.fillStyle = colour;
    pen.fillText(text, x, y + 11);
  }
}

function drawNames(pen, lane, y) {
  pen.fillStyle = colours.ink;
  bold(pen);
  pen.fillText(clipped(pen, lane.name, left - 12), 0, y + laneHeight / 2 - 6);
  plain(pen);
  pen.fillStyle = colours.faint;
  pen.fillText(clipped(pen, settings(lane), left - 12), 0, y + laneHeight / 2 + 10);
}

function draw() {
  const pen = prepare(laneCanvas, Math.max(lanes.length, 1) * laneHeight), axis = axisMarks();
  const height = lanes.length * laneHeight;
  pen.textAlign = "left";
  drawAxis(axis);
  lanes.forEach((lane, i) => drawNames(pen, lane, i * laneHeight));
  pen.save();
  pen.beginPath();
  pen.rect(left, 0, width - left, Math.max(height, 1));
  pen.clip();
  const labels = lanes.map(() => []);
  lanes.forEach((lane, i) => drawLane(pen, lane, i * laneHeight, labels[i], axis));
  lanes.forEach((lane, i) => {
    drawMarks(pen, lane, i * laneHeight, labels[i]);
    drawLabels(pen, labels[i], i * laneHeight);
  });
  drawStops(pen, height);
  pen.restore();
  if (lanes.length === 0) {
    pen.fillStyle = colours.faint;
    pen.fillText("no nodes", 0, 20);
  }
}

function drawStops(pen, height) {
  pen.fillStyle = colours.stop;
  for (const time of data.stops) {
    const x = xOf(time), text = "emergency stop", room = pen.measureText(text).width + 12;
    if (x < left - 1 || x > width) continue;
    pen.fillRect(x - 1, 0, 2, height);
    const at = x + room > width ? x - room : x;
    pen.fillRect(at, 0, room, 16);
    pen.save();
    pen.fillStyle = colours.page;
    pen.fillText(text, at + 6, 12);
    pen.restore();
  }
}
)js";

}  // namespace horus::HORUS_ABI::detail
