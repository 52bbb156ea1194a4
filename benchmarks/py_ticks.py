#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ticks: how late they come at 1 kHz, and what a node of 100 Hz takes of a core.

Lateness is measured against a grid of CLOCK_MONOTONIC, the same for all: on a loop a callback that
asks for the next grid point with call_later, on `node` a horus.Node on horus.Scheduler.
"""

import asyncio
import sys
import time
from typing import Any, List

from py_common import Rows, arguments, horus_module, quantile, run

FAST_HZ, SLOW_HZ = 1000, 100
LEAD_NS = 20_000_000


async def loop_ticks(rate: int, seconds: float) -> List[float]:
    """Lateness of each tick, in µs. Grid points that are past are skipped, as the Scheduler
    does."""
    loop = asyncio.get_running_loop()
    ended, late = loop.create_future(), []
    period = 1_000_000_000 // rate
    clock = time.monotonic_ns
    due = clock() + LEAD_NS
    stop = due + int(seconds * 1e9)

    def tick() -> None:
        nonlocal due
        now = clock()
        if now < due:  # a timer of whole milliseconds may come early: not yet
            loop.call_later((due - now) / 1e9, tick)
            return
        late.append((now - due) / 1000)
        due += period * ((now - due) // period + 1)
        if due >= stop:
            ended.set_result(None)
        else:
            loop.call_later((due - clock()) / 1e9, tick)

    loop.call_later(LEAD_NS / 1e9, tick)
    await ended
    return late


def node_ticks(rate: int, seconds: float) -> List[float]:
    """The same on horus.Scheduler, by the node's own account."""
    horus = horus_module()
    horus.set_log_level(40)

    class Ticker(horus.Node):  # type: ignore[misc, name-defined]
        count = 0

        def tick(self) -> None:
            self.count += 1

    scheduler = horus.Scheduler()
    scheduler.add(Ticker("ticker"), rate=float(rate))
    scheduler.run(duration=seconds)
    lateness = scheduler.get_node_stats("ticker")["release_lateness"]
    return [lateness["p50_ns"] / 1000, lateness["p99_ns"] / 1000]


def main() -> int:
    parser = arguments(__doc__ or "", seconds=2.0)
    parser.add_argument("--node", action="store_true", help="a node on horus.Scheduler, no loop")
    options = parser.parse_args()
    rows = Rows("node" if options.node else options.loop, options.json, options.only)

    def ticks(rate: int) -> List[float]:
        if options.node:
            return node_ticks(rate, options.seconds)
        late: List[Any] = run(options.loop, lambda: loop_ticks(rate, options.seconds))
        late.sort()
        return [quantile(late, 0.5), quantile(late, 0.99)]

    found: List[float] = []

    def p50() -> float:
        found[:] = ticks(FAST_HZ)
        return found[0]

    def load() -> float:
        cpu, wall = time.process_time_ns(), time.monotonic_ns()
        ticks(SLOW_HZ)
        return 100 * (time.process_time_ns() - cpu) / (time.monotonic_ns() - wall)

    rows.measure("tick_1khz_p50", "us", p50)
    if found:
        rows.measure("tick_1khz_p99", "us", lambda: found[1])
    rows.measure("node_100hz_cpu", "%", load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
