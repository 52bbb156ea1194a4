// SPDX-License-Identifier: Apache-2.0
// How the page of a timeline looks, on light and on dark screens.
#include <horus/sched/report/timeline_page.hpp>

namespace horus::HORUS_ABI::detail {

const char kTimelineStyle[] = R"css(
:root {
  color-scheme: light dark;
  --page: #ffffff; --lane: #f6f8fb; --ink: #111827; --faint: #5b6675; --line: #dde3ea;
  --run: #1d5fd1; --tick: #a9c8f7; --wait: #dbe8fb;
  --failed: #8f1414; --failed-tick: #dd9d9d; --cancelled: #475569; --cancelled-tick: #cdd5df;
  --miss: #e11d2e; --budget: #c26a00; --skip: #4b5767;
  --open: #fbd5d5; --half: #fdeab8;
  --paused: #dfe3e8; --restarting: #e3d9fb; --stuck: #e8d3c3; --stopped: #eceff2;
  --flag: #a85d00; --isolated: #b3141f; --safe: #0b7a70; --stop: #dc1626; --tip: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f141b; --lane: #161d27; --ink: #e7ecf3; --faint: #95a3b5; --line: #2a3442;
    --run: #6aa6ff; --tick: #2c4f86; --wait: #1e3250;
    --failed: #ff8080; --failed-tick: #7a2020; --cancelled: #a9b5c4; --cancelled-tick: #3a4554;
    --miss: #ff4d5a; --budget: #f5a742; --skip: #a3b0c2;
    --open: #4b1d24; --half: #4a3a12;
    --paused: #2c3440; --restarting: #33285a; --stuck: #4a3222; --stopped: #1f2630;
    --flag: #f5b04c; --isolated: #ff6b74; --safe: #3fc7b8; --stop: #ff4d5a; --tip: #1d2632;
  }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 16px 20px 28px; background: var(--page); color: var(--ink);
  font: 14px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 18px; margin-bottom: 10px; }
h1 { font-size: 20px; margin: 0; }
header p { margin: 0; color: var(--faint); flex: 1 1 360px; }
nav { display: flex; gap: 4px; align-items: baseline; white-space: nowrap; }
nav[hidden] { display: none; }
nav span { color: var(--faint); font-size: 12px; margin-right: 6px; }
kbd, button { font: inherit; font-size: 12px; color: inherit; background: var(--lane);
  border: 1px solid var(--line); border-radius: 5px; padding: 1px 7px; }
button { font-size: 13px; min-width: 30px; cursor: pointer; }
button:hover { border-color: var(--run); }
.note { border-left: 4px solid var(--half); background: var(--lane); padding: 10px 14px; }
canvas { display: block; width: 100%; }
#axis { position: sticky; top: 0; background: var(--page); z-index: 1; }
#lanes { cursor: crosshair; touch-action: pan-y; outline: none; }
#lanes.moving { cursor: grabbing; }
#legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 12px 0 18px; padding: 0;
  font-size: 12px; color: var(--faint); }
#legend[hidden] { display: none; }
#legend li { display: flex; align-items: center; gap: 6px; }
#legend canvas { width: 26px; height: 16px; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; display: block;
  overflow-x: auto; }
th, td { padding: 4px 14px 4px 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--faint); font-weight: 500; font-size: 12px; }
tbody th, thead th:first-child { text-align: left; max-width: 320px; overflow: hidden; text-overflow: ellipsis; }
td.none { color: var(--faint); opacity: .55; }
td.failed { color: var(--failed); font-weight: 600; }
td.miss { color: var(--miss); font-weight: 600; }
td.budget { color: var(--budget); font-weight: 600; }
td.cancelled { color: var(--cancelled); font-weight: 600; }
#tip { position: fixed; z-index: 2; pointer-events: none; background: var(--tip); border: 1px solid var(--line);
  border-radius: 8px; box-shadow: 0 6px 24px rgba(0, 0, 0, .22); padding: 8px 12px; font-size: 12px; max-width: 340px; }
#tip b { display: block; font-size: 13px; overflow: hidden; text-overflow: ellipsis; }
#tip dl { display: grid; grid-template-columns: auto auto; gap: 0 14px; margin: 4px 0 0;
  font-variant-numeric: tabular-nums; }
#tip dt { color: var(--faint); }
#tip dd { margin: 0; text-align: right; }
#tip[hidden] { display: none; }
)css";

}  // namespace horus::HORUS_ABI::detail
