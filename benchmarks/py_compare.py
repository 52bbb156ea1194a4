#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares Horus's Python loop with asyncio's and uvloop, all interleaved in one run.

    benchmarks/py_compare.py              7 rounds, some minutes
    benchmarks/py_compare.py --quick      a first look, below 3 minutes
    benchmarks/py_compare.py --only tasks echo

Each round runs every program on every loop once, in an order shuffled with a fixed seed. The table
has the median and the best of the rounds, what the others take in multiples of Horus (medians),
and the goal. Every value is written to build/benchmarks/results/py_runs.jsonl. What cannot be
measured is named with the reason.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, TextIO, Tuple

from comparison.measure import RunFailed, measure
from comparison.model import Program, Scenario
from comparison.report import number

LOOPS = ("asyncio", "uvloop", "horus")
RUN_SECONDS_MOST = 120.0

# What there is to reach, in the row's unit: docs/python.md.
GOALS: Dict[str, str] = {
    "await_completed": "50",
    "ring_operation_1": "650",
    "ring_operation_100": "400",
    "native_at_once": "",
    "native_turn_1": "700",
    "native_turn_100": "450",
    "call_soon": "120",
    "call_soon_burst": "120",
    "call_later_cancel": "150",
    "call_soon_threadsafe": "150",
    "sleep_0": "450",
    "create_task": "1000",
    "run_in_executor": "12",
    "file_read": "0.7",
    "file_read_32": "",
    "echo_protocol": "4.6",
    "echo_sock": "5.5",
    "echo_streams": "5.5",
    "echo_100k_protocol": "uvloop",
    "echo_100k_sock": "",
    "echo_100k_streams": "",
    "node_100hz_cpu": "1.2",
    "tick_1khz_p50": "80",
    "tick_1khz_p99": "",
}


@dataclass(frozen=True)
class Job:
    """One process of a round: a program on a loop, or an echo server of a style on one."""

    program: str
    loop: str
    style: str = ""
    large: bool = False

    @property
    def row(self) -> str:
        return f"echo_{'100k_' if self.large else ''}{self.style}"


@dataclass
class Found:
    """Values by row and loop, and why others are missing."""

    values: Dict[Tuple[str, str], List[float]] = field(default_factory=dict)
    units: Dict[str, str] = field(default_factory=dict)
    skipped: Dict[Tuple[str, str], str] = field(default_factory=dict)

    def add(self, row: str, loop: str, unit: str, value: float) -> None:
        self.units.setdefault(row, unit)
        self.values.setdefault((row, loop), []).append(value)


GROUPS = ("tasks", "file", "echo", "ticks", "camera")


def jobs_of(groups: List[str]) -> List[Job]:
    jobs = []
    for loop in LOOPS:
        if "tasks" in groups:
            jobs.append(Job("py_tasks.py", loop))
        if "file" in groups:
            jobs.append(Job("py_file.py", loop))
        if "echo" in groups:
            for style in ("protocol", "sock", "streams"):
                jobs += [Job("py_echo.py", loop, style, large) for large in (False, True)]
        if "ticks" in groups:
            jobs.append(Job("py_ticks.py", loop))
    if "ticks" in groups:
        jobs.append(Job("py_ticks.py", "node"))
    return jobs


def main() -> int:
    options = parse_arguments()
    binaries = options.build / "benchmarks"
    if not (binaries / "load/echo_load").exists() or not (binaries / "py_tasks.py").exists():
        print(f"{binaries} has no Python benchmarks: ./dev bench --python", file=sys.stderr)
        return 1
    (binaries / "results").mkdir(exist_ok=True)
    groups = options.only or list(GROUPS)
    rounds = options.rounds or (2 if options.quick else 7)
    seconds = {"tasks": 0.1, "file": 0.15, "echo": 0.3, "ticks": 1.0}
    if not options.quick:
        seconds = {"tasks": 0.3, "file": 0.3, "echo": 1.0, "ticks": 3.0}
    start = time.monotonic()
    found, jobs = Found(), jobs_of(groups)
    chance = random.Random(options.seed)
    with open(binaries / "results/py_runs.jsonl", "w", encoding="utf-8") as log:
        for turn in range(rounds):
            chance.shuffle(jobs)
            for job in jobs:
                if sys.stderr.isatty():
                    text = f"round {turn + 1}: {job.program} {job.loop} {job.style}"
                    print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
                run_job(job, binaries, seconds, found, log)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    if jobs:
        print(table(found, rounds))
        tell_skipped(found)
    if "camera" in groups:
        print("\n100 Hz controller beside a camera of 50 ms per read:", flush=True)
        subprocess.run([str(binaries / "py_camera.py")], timeout=RUN_SECONDS_MOST, check=False)
    print(f"\n{time.monotonic() - start:.0f} s; runs in {binaries}/results/py_runs.jsonl")
    return 0


def parse_arguments() -> argparse.Namespace:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--build", type=Path, default=root / "build", help="build directory")
    parser.add_argument("--only", nargs="+", choices=GROUPS, help="groups to run (all)")
    parser.add_argument("--rounds", type=int, help="runs of each program (7; --quick: 2)")
    parser.add_argument("--seed", type=int, default=1, help="of the order")
    parser.add_argument("--quick", action="store_true", help="short runs, few rounds")
    return parser.parse_args()


def run_job(job: Job, binaries: Path, seconds: Dict[str, float], found: Found, log: TextIO) -> None:
    rows: List[Dict[str, object]] = []
    if job.program == "py_echo.py":
        if (job.row, job.loop) in found.skipped:
            return
        rows = [measure_echo(job, binaries, seconds["echo"])]
    else:
        group = job.program[len("py_") : -len(".py")]
        rows = run_program(job, binaries, seconds[group])
    for row in rows:
        log.write(json.dumps(row) + "\n")
        name, loop = str(row["row"]), str(row["loop"])
        if "skipped" in row:
            found.skipped[name, loop] = str(row["skipped"])
        else:
            found.add(name, loop, str(row["unit"]), float(str(row["value"])))


def cpus() -> Tuple[int, int]:
    there = sorted(os.sched_getaffinity(0))
    return there[0], there[-1]


def run_program(job: Job, binaries: Path, seconds: float) -> List[Dict[str, object]]:
    command = ["taskset", "-c", str(cpus()[0])] if job.program == "py_ticks.py" else []
    command += [str(binaries / job.program), "--json", "--seconds", str(seconds)]
    command += ["--node"] if job.loop == "node" else ["--loop", job.loop]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=RUN_SECONDS_MOST, check=False
        )
    except subprocess.TimeoutExpired:
        return [_skipped(job, job.program, f"not finished after {RUN_SECONDS_MOST:.0f} s")]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        rows.append(_skipped(job, job.program, f"ended badly: {words[-1]}"))
    return rows


def _skipped(job: Job, row: str, reason: str) -> Dict[str, object]:
    return {"row": row, "loop": job.loop, "skipped": reason}


def measure_echo(job: Job, binaries: Path, seconds: float) -> Dict[str, object]:
    """A value is the server's CPU per request, in µs; of 100 KiB messages, requests per second."""
    load = ("--connections", "50", "--seconds", str(seconds), "--warmup", str(seconds / 3))
    load += ("--size", "102400" if job.large else "64")
    program = Program(job.loop, job.program, ("--loop", job.loop, "--style", job.style))
    scenario = Scenario("py_echo", job.row, "echo", (program,), "", (), load)
    try:
        values = measure(binaries, cpus(), scenario, program)
    except RunFailed as problem:
        return _skipped(job, job.row, str(problem))
    if job.large:
        return {"row": job.row, "loop": job.loop, "unit": "1/s", "value": values["rps"]}
    return {"row": job.row, "loop": job.loop, "unit": "us", "value": values["server_cpu_us"]}


def table(found: Found, rounds: int) -> str:
    head = ["row", "unit", *LOOPS, "best of horus", "asyncio ÷", "uvloop ÷", "goal"]
    rows = [head]
    names = list(dict.fromkeys(row for row, _ in sorted(found.values, key=_order)))
    for name in names:
        unit = found.units[name]
        medians: Dict[str, Optional[float]] = {}
        for loop in (*LOOPS, "node"):
            values = found.values.get((name, loop))
            medians[loop] = statistics.median(values) if values else None
        ours = medians["horus"]
        mine = found.values.get((name, "horus"))
        best = (max if unit == "1/s" else min)(mine) if mine else None
        rows.append(
            [
                name,
                unit,
                *(_cell(medians[loop]) for loop in LOOPS),
                _cell(best),
                _ratio(medians["asyncio"], ours, unit),
                _ratio(medians["uvloop"], ours, unit),
                GOALS.get(name, ""),
            ]
        )
        if medians["node"] is not None:
            node = found.values[name, "node"]
            cells = ["", "", _cell(medians["node"]), _cell(min(node))]
            ratios = [_ratio(medians[loop], medians["node"], unit) for loop in LOOPS[:2]]
            rows.append([f"{name}, horus.Node", unit, *cells, *ratios, GOALS.get(name, "")])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "─" * max(map(len, lines)))
    title = (
        f"medians of {rounds} interleaved rounds; ÷: multiples of Horus, above 1 Horus is better"
    )
    return "\n".join([title, *lines])


def _order(key: Tuple[str, str]) -> Tuple[int, str]:
    known = list(GOALS)
    return (known.index(key[0]) if key[0] in known else len(known), key[0])


def _cell(value: Optional[float]) -> str:
    return "" if value is None else number(value)


def _ratio(other: Optional[float], ours: Optional[float], unit: str) -> str:
    if not other or not ours:
        return ""
    return f"{ours / other:.2f}" if unit == "1/s" else f"{other / ours:.2f}"


def tell_skipped(found: Found) -> None:
    by_reason: Dict[Tuple[str, str], List[str]] = {}
    for (row, loop), reason in found.skipped.items():
        if reason != "only Horus has it":
            by_reason.setdefault((loop, reason), []).append(row)
    for (loop, reason), names in by_reason.items():
        print(f"skipped on {loop}: {', '.join(names)}: {reason}")


if __name__ == "__main__":
    sys.exit(main())
