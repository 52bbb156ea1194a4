#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A controller of 100 Hz beside a camera whose read takes 50 ms: blocking, in threads, as a
coroutine.

The controller's kept ticks are counted the same way in each mode: the periods of 10 ms, counted
from the controller's first tick, in which a tick of it began.

    py_camera.py [--seconds 1] [--modes blocking threads coroutines coroutines_horus] [--json]
"""

import argparse
import asyncio
import json
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Dict, List, Optional

from py_common import Skip, horus_module, new_loop, quantile

RATE_HZ = 100
READ_SECONDS = 0.050


class Camera:
    """Each read takes 50 ms, whoever waits."""

    frames = 0

    def read(self) -> int:
        time.sleep(READ_SECONDS)
        self.frames += 1
        return self.frames

    async def read_async(self) -> int:
        await asyncio.sleep(READ_SECONDS)
        self.frames += 1
        return self.frames


class Account:
    """When the controller ticked, and how many frames it has seen."""

    def __init__(self) -> None:
        self.began_ns: List[int] = []
        self.frames = 0

    def tick(self, node: Any) -> None:
        self.began_ns.append(time.monotonic_ns())
        self.frames += len(node.recv_all("frame"))

    def result(self, mode: str, seconds: float) -> Dict[str, Any]:
        period = 1_000_000_000 // RATE_HZ
        expected = round(seconds * RATE_HZ)
        first = self.began_ns[0]
        kept = len({(began - first) // period for began in self.began_ns})
        kept = min(kept, expected)
        gaps = sorted((b - a) / 1e6 for a, b in zip(self.began_ns, self.began_ns[1:]))
        return {
            "mode": mode,
            "expected": expected,
            "kept": kept,
            "efficiency_pct": round(100 * kept / expected, 1),
            "frames": self.frames,
            "longest_gap_ms": round(quantile(gaps, 1.0), 1) if gaps else None,
        }


def blocking(horus: Any, seconds: float, account: Account) -> None:
    camera = Camera()
    scheduler = horus.Scheduler(horus.SchedulerConfig(tick_rate=float(RATE_HZ)))
    scheduler.add(
        horus.Node("camera", tick=lambda node: node.send("frame", camera.read())), priority=1
    )
    scheduler.add(horus.Node("control", tick=account.tick, subs=["frame"]), priority=0)
    scheduler.run(duration=seconds)


def threads(horus: Any, seconds: float, account: Account) -> None:
    camera = Camera()
    executor = ThreadPoolExecutor(max_workers=1)
    pending: "Optional[Future[int]]" = None

    def tick(node: Any) -> None:
        nonlocal pending
        if pending is not None and pending.done():
            node.send("frame", pending.result())
            pending = None
        if pending is None:
            pending = executor.submit(camera.read)

    scheduler = horus.Scheduler(horus.SchedulerConfig(tick_rate=float(RATE_HZ)))
    scheduler.add(horus.Node("camera", tick=tick), priority=1)
    scheduler.add(horus.Node("control", tick=account.tick, subs=["frame"]), priority=0)
    scheduler.run(duration=seconds)
    executor.shutdown()


def coroutines(horus: Any, seconds: float, account: Account, loop_name: str = "asyncio") -> None:
    camera = Camera()

    class CameraNode(horus.AsyncNode):  # type: ignore[misc, name-defined]
        async def tick_async(self) -> None:
            self.send("frame", await camera.read_async())

    loop = new_loop(loop_name)
    scheduler = horus.AsyncScheduler(horus.SchedulerConfig(tick_rate=float(RATE_HZ)))
    scheduler.add(CameraNode("camera"), priority=1)
    scheduler.add(
        horus.Node("control", tick=account.tick, subs=["frame"]), priority=0, rate=RATE_HZ
    )
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scheduler.run_async(duration=seconds))


MODES = {
    "blocking": blocking,
    "threads": threads,
    "coroutines": coroutines,
    "coroutines_horus": lambda *all_: coroutines(*all_, loop_name="horus"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument("--json", action="store_true", help="an object per mode")
    options = parser.parse_args()
    horus = horus_module()
    horus.set_log_level(40)
    if not options.json:
        print(f"{'mode':18}{'expected':>10}{'kept':>8}{'':>10}{'frames':>8}{'longest gap':>14}")
    for mode in options.modes:
        account = Account()
        try:
            MODES[mode](horus, options.seconds, account)
        except Skip as reason:
            print(
                json.dumps({"mode": mode, "skipped": str(reason)})
                if options.json
                else f"{mode:18}skipped: {reason}"
            )
            continue
        found = account.result(mode, options.seconds)
        if options.json:
            print(json.dumps(found), flush=True)
        else:
            print(
                f"{mode:18}{found['expected']:>10}{found['kept']:>8}{found['efficiency_pct']:>8} %"
                f"{found['frames']:>8}{found['longest_gap_ms']:>11} ms",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
