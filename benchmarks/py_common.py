# SPDX-License-Identifier: Apache-2.0
"""What the py_*.py programs share: the three loops, the clock, and rows of results.

Each program measures one loop in one process, `--loop asyncio|uvloop|horus`, and prints a line per
row; with `--json` one object per row: {"row": "call_soon", "loop": "horus", "unit": "ns", "value":
98.1}, or {"row": …, "skipped": "why"}.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Awaitable, Callable, List

LOOPS = ("asyncio", "uvloop", "horus")
BATCH_NS = 5_000_000  # long against the clock, short against other programs' turns


class Skip(Exception):
    """This row cannot be measured on this loop; the text says why."""


def find_horus() -> None:
    """Makes `import horus` work in the build tree, or in a checkout with a folder build/."""
    here = Path(__file__).resolve().parent
    for package in (here.parent / "horus/py", here.parent / "build/horus/py"):
        if (package / "horus/__init__.py").exists() and list(package.glob("horus/_core.*so")):
            sys.path.insert(0, str(package))
            sys.path.append(str(package.parent.parent / "benchmarks"))  # for py_native
            return


find_horus()


def horus_module() -> Any:
    try:
        import horus
    except ImportError as problem:
        raise Skip(f"horus cannot be imported: {problem}") from problem
    return horus


def needs(owner: Any, name: str) -> Any:
    """An attribute of Horus, or a row that is skipped."""
    try:
        return getattr(owner, name)
    except AttributeError:
        where = getattr(owner, "__name__", type(owner).__name__)
        raise Skip(f"{where} has no {name} yet") from None


def new_loop(name: str) -> Any:
    if name == "asyncio":
        return asyncio.SelectorEventLoop()
    if name == "uvloop":
        try:
            import uvloop
        except ImportError as problem:
            raise Skip("uvloop is not installed") from problem
        return uvloop.new_event_loop()
    return needs(horus_module(), "new_event_loop")()


def run(name: str, main: Callable[[], Awaitable[Any]]) -> Any:
    """main() on a fresh loop of that name."""
    loop = new_loop(name)  # so that Skip comes from here, not from inside of the runner
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())  # type: ignore[arg-type]


class Sampler:
    """The time of one operation: the median of batches, each long enough for the clock. Of the CPU
    time of this thread, which other programs do not lengthen much, unless `wall` is set: for what
    other threads or the disk have a part in.

    sampler = Sampler(seconds)
    while sampler.more():
        …  # sampler.count operations
    """

    def __init__(self, seconds: float, count: int = 0, wall: bool = False) -> None:
        self.seconds = seconds
        self._clock = time.perf_counter_ns if wall else time.thread_time_ns
        self._fixed = count > 0
        self.count = count or 16
        self._samples: List[float] = []
        self._started = self._stop = 0

    def more(self) -> bool:
        now = self._clock()
        if not self._stop:
            self._stop = time.perf_counter_ns() + int(self.seconds * 1e9)
        else:
            took = now - self._started
            if not self._fixed and not self._samples and took < BATCH_NS // 2:
                self.count *= 2  # and this batch was too short to count
            else:
                self._samples.append(took / self.count)
        self._started = self._clock()
        return time.perf_counter_ns() < self._stop or not self._samples

    def nanoseconds(self) -> float:
        return statistics.median(self._samples)


def quantile(ordered: List[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


class Rows:
    """Prints what is found."""

    def __init__(self, loop: str, as_json: bool, only: List[str]) -> None:
        self.loop, self.as_json, self.only = loop, as_json, only

    def wanted(self, row: str) -> bool:
        return not self.only or row in self.only

    def add(self, row: str, value: float, unit: str) -> None:
        if self.as_json:
            print(
                json.dumps({"row": row, "loop": self.loop, "unit": unit, "value": value}),
                flush=True,
            )
        else:
            print(f"{self.loop:8} {row:32} {value:10.3f} {unit}", flush=True)

    def skip(self, row: str, reason: str) -> None:
        if self.as_json:
            print(json.dumps({"row": row, "loop": self.loop, "skipped": reason}), flush=True)
        else:
            print(f"{self.loop:8} {row:32} skipped: {reason}", flush=True)

    def measure(self, row: str, unit: str, function: Callable[[], float]) -> None:
        if not self.wanted(row):
            return
        try:
            self.add(row, function(), unit)
        except Skip as reason:
            self.skip(row, str(reason))


def arguments(text: str, seconds: float, loops: bool = True) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    if loops:
        parser.add_argument("--loop", choices=LOOPS, default="horus")
    parser.add_argument("--seconds", type=float, default=seconds, help="for each row")
    parser.add_argument("--only", nargs="+", default=[], help="these rows alone")
    parser.add_argument("--json", action="store_true", help="an object per row")
    return parser
