#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuse what would make two runs of one seed differ (docs/simulation.md): clocks and chance from outside the seam,
orders that depend on addresses, two random draws in one statement."""

import argparse
import pathlib
import re
import sys

# Everywhere: the seam has the clock and the chance. What reads the real ones on purpose is named with its reason.
OUTSIDE = {
    r"\bsteady_clock::now\b": "ask the reactor: horus::now()",
    r"\bsystem_clock::now\b": "ask the reactor: horus::now()",
    r"\brandom_device\b": "ask the backend: random_bytes()",
    r"(?<![\w.>])s?rand\(": "ask the backend: random_bytes()",
    r"\bgetrandom\(": "ask the backend: random_bytes()",
    r"\bclock_gettime\(": "ask the reactor: horus::now_ns()",
    r"\bmonotonic_ns\(\)": "ask the reactor: horus::now_ns()",
    r"\bstd::this_thread::sleep": "a timer of the reactor",
}
ALLOWED = {
    "horus/base/clock.hpp": "the kernel's clock itself",
    "horus/base/log.cpp": "how long its own thread may take, which no simulator has",
    "horus/msg/door/door.cpp": "its own thread, which no simulator has",
    "horus/msg/door/doorstep.cpp": "the age of the process, and of what a dead one left behind",
    "horus/msg/door/visitor.cpp": "how long a topic has been silent, for a visitor, whom no simulator has",
    "horus/cli/topic.cpp": "when another process's counters were read",
    "horus/msg/door/inspect.cpp": "how long a client waits for another process, which no simulator has",
    "horus/io/seam/clock.cpp": "the default answers of the seam",
    "horus/io/seam/system.cpp": "the default answers of the seam",
    "horus/io/loop/dump_all.cpp": "how long another thread waits for an answer",
    "horus/io/loop/reactor.cpp": "its end waits for threads of the pool, which no simulator has",
    "horus/io/reactor.hpp": "where no reactor runs, and its own fast path",
    "horus/io/seam/uring_backend.cpp": "below the seam",
    "horus/io/base/mounts.cpp": "below the seam",
    "horus/io/seam/epoll_provider.cpp": "below the seam",
    "horus/sched/node/crash_guard.cpp": "a crash of the process",
    "horus/sched/run/executor.cpp": "how long another thread waits for an answer",
    "horus/sched/run/monitor_log.cpp": "the safety monitor's thread, which no simulator has",
    "horus/sched/node/node_watchdog.cpp": "since when a hook runs, for the safety monitor's thread",
    "horus/sched/run/questions.cpp": "how long another thread waits for an answer",
    "horus/sched/run/safety_monitor.cpp": "its thread, which no simulator has",
    "horus/sim/world/world.cpp": "how long a run took in reality",
    "horus/sim/campaign/campaign.cpp": "how long a run took in reality",
    "horus/sim/world/faulty.cpp": "over a real backend",
}
# Python's own time, threads and sockets cannot be simulated.
REAL = "horus/py/"
# In the simulation alone.
INSIDE = {
    r"\bunordered_(multi)?(map|set)\b": "its order depends on addresses or on the library; use std::map or a vector",
    r"\bstd::hash\b": "differs between libraries",
    r"\bstd::(multi)?(map|set)<[^,<>]*\*": "an order of pointers",
    r"\bstd::\w+_distribution\b": "differs between libraries; sim::Random has what is needed",
    r"\bstd::(shuffle|mt19937\w*)\b": "differs between libraries",
}
DRAW = re.compile(r"\.(?:next|below|chance|between|draw)\(")
CHANCE = re.compile(r"random|chance", re.IGNORECASE)


def without_comments(text):
    """The text with comments and strings blanked out, line by line as before."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"'
    return re.sub(pattern, lambda found: re.sub(r"[^\n]", " ", found.group()), text, flags=re.DOTALL)


def check_text(name, text):
    """Yield one message for each forbidden use in `text`, the contents of the file `name`."""
    code = without_comments(text)
    rules = {} if name in ALLOWED or name.startswith(REAL) else dict(OUTSIDE)
    simulated = name.startswith("horus/sim/")
    if simulated:
        rules.update(INSIDE)
    for number, line in enumerate(code.splitlines(), start=1):
        for pattern, instead in rules.items():
            found = re.search(pattern, line)
            if found is not None:
                yield f"{name}:{number}: {found.group()}: {instead}"
    if not simulated:
        return
    start = 0
    for end in (found.start() for found in re.finditer(r"[;{}]", code)):
        statement = code[start:end]
        if len(DRAW.findall(statement)) > 1 and CHANCE.search(statement):
            number = code.count("\n", 0, start + len(statement) - len(statement.lstrip())) + 1
            yield f"{name}:{number}: two random draws in one statement: their order is the compiler's"
        start = end + 1


def check_tree(root):
    for path in sorted((root / "horus").glob("**/*")):
        if path.suffix in (".hpp", ".cpp"):
            yield from check_text(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent)
    problems = list(check_tree(parser.parse_args().root))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
