#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Other projects' tests on Horus's event loop, beside the same tests on asyncio's own.

    tests/foreign/run.py                          everything
    tests/foreign/run.py asyncio                  one suite
    tests/foreign/run.py asyncio/test_streams     one module of it
    tests/foreign/run.py --loops stock uvloop     a yardstick
    tests/foreign/run.py rosmsg                   ready messages in CDR, read by Foxglove's packages
    tests/foreign/run.py bag                      recordings, read by the package of MCAP's authors

Every module runs in a process of its own with a time limit for each test; after a crash or a hang
another process goes on with the tests that are left. What fails is repeated once, alone. Prints a
table; the logs and every test's outcome are in build/foreign/. The exit code is 0 when every test
that asyncio's loop passes is passed by the other loop, or is named with its reason in
exclusions.toml.
"""

import argparse
import json
import os
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Tuple

import bag_suite
import modules
import rosmsg_suite
from modules import Outcomes

HERE = Path(__file__).resolve().parent
EXCLUSIONS_MOST = 10
LINES_MOST = 12  # of tests that fail for the same reason


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="SUITE or SUITE/MODULE; all without")
    parser.add_argument("--build", type=Path, default=HERE.parent.parent / "build")
    parser.add_argument("--package", type=Path, help="where `import horus` is; BUILD/horus/py without")
    parser.add_argument("--loops", nargs=2, default=["stock", "horus"], metavar="LOOP")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one test")
    parser.add_argument("--list", action="store_true", help="say what there is")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    readers = {"rosmsg": rosmsg_suite, "bag": bag_suite}  # npm packages that read what Horus writes
    wanted = [name for name in readers if not options.names or name in options.names]
    loops_too = not options.names or any(name not in readers for name in options.names)
    try:
        chosen = modules.choose([name for name in options.names if name not in readers])
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 2
    if options.list:
        print("\n".join([module.name for module in chosen if loops_too] + wanted))
        return 0
    logs = options.build / "foreign"
    logs.mkdir(parents=True, exist_ok=True)
    messages_good = all([readers[name].run(options.build.absolute(), logs.absolute()) for name in wanted])
    if not loops_too:
        return 0 if messages_good else 1
    setting = modules.Setting(
        (options.package or options.build / "horus/py").absolute(), logs, options.limit
    )
    reason = modules.loop_is_missing(options.loops[1], setting)
    if reason:
        print(f"not run: {reason}", file=sys.stderr)
        return 1

    start = time.monotonic()
    found: Dict[Tuple[str, str], Outcomes] = {}
    with ThreadPoolExecutor(max(1, options.jobs)) as pool:
        futures = {
            (module.name, loop): pool.submit(modules.run, module, loop, setting)
            for module in sorted(chosen, key=lambda module: -module.weight)
            for loop in options.loops
        }
        for key, future in futures.items():
            found[key] = future.result()
    keep(found, logs / "outcomes.jsonl")
    print(table([module.name for module in chosen], options.loops, found))
    good = verdict(chosen, options.loops, found) and messages_good
    print(f"{time.monotonic() - start:.0f} s; logs in {logs}")
    return 0 if good else 1


def keep(found: Dict[Tuple[str, str], Outcomes], path: Path) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for (module, loop), outcomes in found.items():
            for test, outcome in outcomes.tests.items():
                line = {"module": module, "loop": loop, "test": test, **vars(outcome)}
                file.write(json.dumps(line) + "\n")


def table(names: List[str], loop_names: List[str], found: Dict[Tuple[str, str], Outcomes]) -> str:
    first, second = loop_names
    rows = [["module", first, "failed", "skipped", second, "failed", "skipped", "used it"]]
    sums = [0] * 7
    for name in names:
        cells: List[int] = []
        for loop in loop_names:
            outcomes = found[name, loop]
            passed, skipped = outcomes.count("passed"), outcomes.count("skipped")
            cells += [passed, len(outcomes.tests) - passed - skipped, skipped]
        cells.append(sum(outcome.with_loop for outcome in found[name, second].tests.values()))
        sums = [total + cell for total, cell in zip(sums, cells)]
        rows.append([name, *map(str, cells)])
    rows.append(["all", *map(str, sums)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    ]
    lines.insert(1, "─" * len(lines[0]))
    lines.insert(len(lines) - 1, "─" * len(lines[0]))
    return "\n".join(lines)


def read_exclusions() -> Dict[str, str]:
    """The reason by the name of the test."""
    with open(HERE / "exclusions.toml", "rb") as file:
        entries = tomllib.load(file).get("exclusion", [])
    if len(entries) > EXCLUSIONS_MOST:
        raise SystemExit(f"exclusions.toml has {len(entries)} entries; {EXCLUSIONS_MOST} at most")
    return {entry["test"]: entry["reason"] for entry in entries}


def verdict(
    chosen: List["modules.Module"],
    loop_names: List[str],
    found: Dict[Tuple[str, str], Outcomes],
) -> bool:
    first, second = loop_names
    exclusions = read_exclusions()
    causes: Dict[str, List[str]] = {}
    good = True
    for module in chosen:
        ours, theirs = found[module.name, second], found[module.name, first]
        for outcomes, loop in ((theirs, first), (ours, second)):
            for problem in outcomes.problems:
                print(f"{module.name}, {loop}: {problem}")
                good = good and loop == first
        if not theirs.count("passed"):
            print(f"{module.name}: nothing passes on {first}")
            good = False
        for test, outcome in ours.tests.items():
            if outcome.repeated and outcome.result == "passed":
                print(f"unsteady on {second}, passed when repeated: {test}")
        for test, outcome in theirs.tests.items():
            mine = ours.tests.get(test)
            result = mine.result if mine else "not run"
            if test in exclusions:
                if result == "passed":
                    print(f"excluded, but it passes: {test}")
                else:
                    print(f"excluded, {result}: {test}\n    {exclusions[test]}")
            elif outcome.result == "passed" and result != "passed":
                lines = (mine.text if mine else "").strip().splitlines() or ["the log has more"]
                cause = f"{result} on {second}: {lines[-1][:160]}"
                causes.setdefault(cause, []).append(test)
    for cause, tests in causes.items():
        print(f"{cause}\n" + "\n".join(f"    {test}" for test in tests[:LINES_MOST]))
        if len(tests) > LINES_MOST:
            print(f"    and {len(tests) - LINES_MOST} more")
        good = False
    return good


if __name__ == "__main__":
    sys.exit(main())
