#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuse includes that make builds slow: a hot header in too many sources, a heavy header in a hot one.

An edit of a hot header compiles every source of the library that reads it, and what it includes is read by each of them.
Who needs less of it includes less, and the figure here goes down. docs/building.md tells what a build costs.
"""

import argparse
import pathlib
import re
import sys

# Of a hundred sources of the library so many read it, at most.
MOST_OF_100 = {
    "horus/io/reactor.hpp": 55,
    "horus/msg/hub.hpp": 15,
    "horus/msg/messages.hpp": 1,
    "horus/sched/scheduler.hpp": 15,
}
# Headers of others that take long to read, and what must not bring them, directly or through headers of Horus.
HEAVY = ["filesystem", "fmt/chrono.h", "fmt/format.h", "fstream", "iostream", "random", "ranges", "regex", "sstream"]
LIGHT = ["horus/base/result.hpp", "horus/io/reactor.hpp", "horus/task/task.hpp"]
# Precompiled for each source of the library: what it includes of Horus, each of them would be compiled for.
PRECOMPILED = "horus/base/precompiled.hpp"
PRECOMPILED_MAY_READ = {"horus/base/compiler.hpp"}

OUTSIDE_LAYERS = ("cli", "py")  # not in the library
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


class Tree:
    """The files below a folder, and what they include."""

    def __init__(self, root):
        self.root = root
        self.included = {}
        self.closures = {}

    def includes(self, name):
        if name not in self.included:
            path = self.root / name
            text = path.read_text(encoding="utf-8") if name.startswith("horus/") and path.is_file() else ""
            self.included[name] = INCLUDE.findall(text)
        return self.included[name]

    def closure(self, name):
        """All that it includes, directly or not, each with the header that brings it."""
        if name not in self.closures:
            brought, waiting = {}, [name]
            while waiting:
                by = waiting.pop()
                for header in self.includes(by):
                    if header not in brought:
                        brought[header] = by
                        waiting.append(header)
            self.closures[name] = brought
        return self.closures[name]

    def sources(self):
        for path in sorted((self.root / "horus").rglob("*.cpp")):
            if path.relative_to(self.root / "horus").parts[0] not in OUTSIDE_LAYERS:
                yield path.relative_to(self.root).as_posix()


def check_tree(root):
    """Yield one message for each thing that is too heavy."""
    tree = Tree(root)
    sources = list(tree.sources())
    for header, most in MOST_OF_100.items():
        if not (root / header).is_file():
            yield f"{header}: there is no such header; tools/check_weight.py names it"
            continue
        count = sum(header in tree.closure(source) for source in sources)
        if 100 * count > most * len(sources):
            limit = most * len(sources) // 100
            yield f"{header}: {count} sources of the library read it, at most {limit} should; include what you need of it"
    for header in LIGHT:
        brought = tree.closure(header)
        for heavy in HEAVY:
            if heavy in brought:
                yield f"{brought[heavy]}: includes <{heavy}>, which takes long to read, and {header} brings it to everybody"
    for header in tree.closure(PRECOMPILED):
        if header.startswith("horus/") and header not in PRECOMPILED_MAY_READ:
            yield f"{PRECOMPILED}: includes {header}, and an edit of that would compile the whole library"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    problems = list(check_tree(parser.parse_args().root))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
