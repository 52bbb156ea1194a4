#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares Horus with Asio, libuv and programs written by hand, all interleaved in one run.

    benchmarks/compare.py                    everything, about 40 minutes
    benchmarks/compare.py --quick            a first look, below 2 minutes
    benchmarks/compare.py --only echo file   some groups only

Each round runs every program of a scenario once, in an order shuffled with a fixed seed, so that a
disturbance of the machine meets all of them. Prints tables; writes every run (runs.jsonl), every
figure (summary.jsonl) and one plot per group (PNG and SVG, when matplotlib is there) to
build/benchmarks/results/. A program that was not built is named and left out.
"""

import argparse
import json
import os
import platform
import random
import sys
import time
from pathlib import Path
from typing import TextIO

from comparison import curves, plot
from comparison.measure import RunFailed, Values, measure
from comparison.model import QUICK, Effort, Scenario, Setting
from comparison.ratios import Summary, summarize
from comparison.report import table
from comparison.scenarios import GROUPS, all_scenarios

DATA_FILE_BYTES = 256 << 20


def main() -> int:
    options = parse_arguments()
    binaries = options.build / "benchmarks"
    if not (binaries / "load/echo_load").exists():
        print(
            f"{binaries}/load/echo_load is missing: build first, "
            f"with `meson setup {options.build} -Dbenchmarks=true`",
            file=sys.stderr,
        )
        return 1
    results = options.results or binaries / "results"
    results.mkdir(parents=True, exist_ok=True)
    groups = tuple(options.only or GROUPS)
    setting = Setting(
        effort=QUICK if options.quick else Effort(),
        cpus=two_cpus(),
        data_file=results / "random.bin",
        groups=groups,
    )
    scenarios = [leave_out_missing(scenario, binaries) for scenario in all_scenarios(setting)]
    if "file" in groups:
        prepare_data_file(setting.data_file)

    rounds = options.rounds or (2 if options.quick else 15)
    summaries: list[Summary] = []
    start = time.monotonic()
    with open(results / "runs.jsonl", "w", encoding="utf-8") as log:
        log.write(json.dumps(describe_machine(rounds, options.seed)) + "\n")
        for scenario in scenarios:
            if not scenario.programs:
                continue
            found = run_scenario(scenario, binaries, setting.cpus, rounds, options.seed, log)
            ratios = summarize(scenario, found, options.seed)
            summaries += ratios
            print(f"\n{scenario.group}: {table(scenario, ratios)}", flush=True)
    with open(results / "summary.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(summary.as_dict()) + "\n" for summary in summaries)

    draw(groups, scenarios, summaries, results, rounds)
    print(f"\n{time.monotonic() - start:.0f} s; results in {results}")
    return 0


def parse_arguments() -> argparse.Namespace:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--build", type=Path, default=root / "build", help="build directory")
    parser.add_argument("--results", type=Path, help="where to write (BUILD/benchmarks/results)")
    parser.add_argument("--only", nargs="+", choices=GROUPS, help="groups to run (all)")
    parser.add_argument("--rounds", type=int, help="runs of each program (15; --quick: 2)")
    parser.add_argument("--seed", type=int, default=1, help="of the order and the intervals")
    parser.add_argument("--quick", action="store_true", help="short runs, few rounds: a first look")
    return parser.parse_args()


def two_cpus() -> tuple[int, int]:
    """The server's CPU and the load's; the same one twice on a machine with one."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[0], cpus[1] if len(cpus) > 1 else cpus[0]


missing_reported: set[str] = set()


def leave_out_missing(scenario: Scenario, binaries: Path) -> Scenario:
    there = []
    for program in scenario.programs:
        if (binaries / program.path).exists():
            there.append(program)
        elif program.path not in missing_reported:
            missing_reported.add(program.path)
            print(f"not built, left out: {program.path} ({program.name})")
    values = {**vars(scenario), "programs": tuple(there)}
    return Scenario(**values)


def prepare_data_file(path: Path) -> None:
    """Real data on the disk (a hole would never reach it), and all of it in the page cache."""
    if not path.exists() or path.stat().st_size != DATA_FILE_BYTES:
        with open(path, "wb") as file:
            for _ in range(DATA_FILE_BYTES >> 20):
                file.write(os.urandom(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass


def run_scenario(
    scenario: Scenario, binaries: Path, cpus: tuple[int, int], rounds: int, seed: int, log: TextIO
) -> list[dict[str, Values]]:
    chance = random.Random(f"{seed} {scenario.group} {scenario.title}")
    failed: set[str] = set()
    found: list[dict[str, Values]] = []
    for number in range(min(rounds, scenario.rounds_most or rounds)):
        programs = [program for program in scenario.programs if program.name not in failed]
        chance.shuffle(programs)
        values: dict[str, Values] = {}
        for program in programs:
            progress(f"{scenario.group}: {scenario.title}: round {number + 1}: {program.name}")
            try:
                values[program.name] = measure(binaries, cpus, scenario, program)
            except RunFailed as problem:
                failed.add(program.name)
                progress("")
                print(f"failed, left out: {problem}")
                continue
            line = {
                "group": scenario.group,
                "scenario": scenario.title,
                "program": program.name,
                "round": number,
                **values[program.name],
            }
            log.write(json.dumps(line) + "\n")
            log.flush()
        found.append(values)
    progress("")
    return found


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:110]}", end="", file=sys.stderr, flush=True)


def describe_machine(rounds: int, seed: int) -> dict[str, object]:
    model = ""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "kernel": platform.release(),
        "cpu": model or platform.machine(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "rounds": rounds,
        "seed": seed,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def draw(
    groups: tuple[str, ...],
    scenarios: list[Scenario],
    summaries: list[Summary],
    results: Path,
    rounds: int,
) -> None:
    if not plot.can_plot():
        print("no plot: matplotlib is missing (apt install python3-matplotlib; /usr/bin/python3)")
        return
    machine = describe_machine(rounds, 0)
    for group in groups:
        mine = [scenario for scenario in scenarios if scenario.group == group]
        most = max(min(rounds, scenario.rounds_most or rounds) for scenario in mine)
        spread = "its 95 % interval" if most >= 3 else "the range"
        caption = (
            f"Ratio to the dark bar: median of {most} interleaved pairs, whiskers: {spread}. "
            f"{machine['cpus']} × {machine['cpu']}, Linux {machine['kernel']}."
        )
        bars = [summary for summary in summaries if summary.group == group]
        paths = plot.plot_group(group, mine, bars, results, caption)
        if any(scenario.curve for scenario in mine):
            paths += curves.plot_curves(group, mine, bars, results, caption)
        for path in paths:
            print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
