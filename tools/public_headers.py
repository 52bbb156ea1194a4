#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Print the headers that are installed, relative to horus/: what users include, and what that includes in turn.

Meson calls this while it configures. `--python` prints those of the Python layer, which need pybind11.
"""

import argparse
import pathlib
import re
import sys

# horus.hpp has what most programs need; the others are included by name.
ROOTS = [
    "horus.hpp",
    "absl.hpp",
    "bag/edit.hpp",
    "bag/file_writer.hpp",
    "bag/reader.hpp",
    "bag/recorder.hpp",
    "bag/writer.hpp",
    "msg/description.hpp",
    "msg/inspect.hpp",
    "msg/tap.hpp",
    "record/bag.hpp",
    "record/player.hpp",
    "sim/alone.hpp",
    "sim/campaign.hpp",
    "sim/faulty.hpp",
    "sim/relay.hpp",
]
PYTHON_ROOTS = ["py/asyncio.hpp", "py/awaited.hpp", "py/node.hpp"]

INCLUDE = re.compile(r"^\s*#\s*include\s*<horus/([^>]+)>", re.MULTILINE)


def reachable(tree, roots):
    """Every header that the `roots` bring, themselves included."""
    found = set()
    waiting = list(roots)
    while waiting:
        header = waiting.pop()
        if header in found:
            continue
        path = tree / header
        if not path.is_file():
            raise FileNotFoundError(f"horus/{header} is included by a public header, and there is none")
        found.add(header)
        waiting += INCLUDE.findall(path.read_text(encoding="utf-8"))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--python", action="store_true")
    arguments = parser.parse_args()
    tree = arguments.root / "horus"
    headers = reachable(tree, ROOTS)
    if arguments.python:
        headers = reachable(tree, PYTHON_ROOTS) - headers
    print("\n".join(sorted(headers)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
