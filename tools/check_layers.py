#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuse an include that goes up: a layer may use only the layers below it (docs/architecture.md)."""

import argparse
import pathlib
import re
import sys

BELOW = {
    "base": [],
    "config": ["base"],
    "task": ["base"],
    "io": ["task", "base"],
    "msg": ["io", "task", "config", "base"],
    "sched": ["msg", "io", "task", "config", "base"],
    "patterns": ["sched", "msg", "io", "task", "config", "base"],
    "sim": ["sched", "msg", "io", "task", "config", "base"],
    "cli": ["patterns", "sched", "msg", "io", "task", "config", "base"],
    "py": ["patterns", "sched", "msg", "io", "task", "config", "base"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(<horus/([^>]+)>|"([^"]+)")')


def check_text(layer, name, text):
    """Yield one message for each include of `text` (a file of `layer`) that is not allowed."""
    for number, line in enumerate(text.splitlines(), start=1):
        match = INCLUDE.match(line)
        if match is None:
            continue
        if match.group(3) is not None:
            yield f'{name}:{number}: write #include <horus/…>, not "{match.group(3)}"'
            continue
        target = match.group(2)
        if "/" not in target:
            yield f"{name}:{number}: {layer} includes the umbrella header horus/{target}"
            continue
        other = target.split("/", 1)[0]
        if other != layer and other not in BELOW[layer]:
            allowed = ", ".join(BELOW[layer]) or "nothing"
            yield f"{name}:{number}: {layer} includes horus/{target}, but may use only: {allowed}"


def check_tree(root):
    for path in sorted((root / "horus").glob("*/**/*")):
        if path.suffix not in (".hpp", ".cpp", ".h", ".c"):
            continue
        layer = path.relative_to(root / "horus").parts[0]
        name = path.relative_to(root).as_posix()
        if layer not in BELOW:
            yield f"{name}: unknown layer {layer}; name it and what lies below it in tools/check_layers.py"
            continue
        yield from check_text(layer, name, path.read_text(encoding="utf-8"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent)
    problems = list(check_tree(parser.parse_args().root))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
