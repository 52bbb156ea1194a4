#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prepare files for clang-tidy: print what to check, and write the compile commands for it.

The sources of the library, of the Python module and of the program are joined into a few units each, because most of
the time goes into the headers that all of them read. Tests and examples stay alone: each has names of its own. What the
build directory does not compile is left out.
"""

import argparse
import json
import os
import pathlib
import shlex


ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES_OF_A_UNIT = 9  # at least, where there are more units than one


def without_output(command):
    """The command with neither its output files nor its source, nor a precompiled header that nobody has built."""
    words = shlex.split(command)
    kept, skip = [], 0
    for word in words:
        if skip:
            skip -= 1
        elif word in ("-o", "-MF", "-MQ", "-c", "-include-pch"):
            skip = 1
        elif word not in ("-MD", "ccache"):
            kept.append(word)
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="a build directory")
    parser.add_argument("output", type=pathlib.Path, help="folder for the units and compile_commands.json")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--units", type=int, default=2 * (os.cpu_count() or 1))
    arguments = parser.parse_args()

    known = {}
    for entry in json.loads((arguments.build / "compile_commands.json").read_text(encoding="utf-8")):
        known.setdefault((pathlib.Path(entry["directory"]) / entry["file"]).resolve(), entry)  # tests name some once more
    wanted = [path for path in (file.resolve() for file in arguments.files) if path in known]

    groups = {}  # sources by the command that compiles them
    for path in wanted:
        entry = known[path]
        alone = None if ROOT / "horus" in path.parents else path
        key = (entry["directory"], tuple(without_output(entry["command"])), alone)
        groups.setdefault(key, []).append(path)

    arguments.output.mkdir(parents=True, exist_ok=True)
    commands = []
    for (directory, words, _), paths in groups.items():
        count = max(1, min(arguments.units, len(paths) // SOURCES_OF_A_UNIT))
        for unit in range(count):
            part = paths[unit * len(paths) // count:(unit + 1) * len(paths) // count]
            source = part[0]
            if len(part) > 1:
                source = (arguments.output / f"unit{len(commands)}.cpp").resolve()
                source.write_text("".join(f'#include "{path}"\n' for path in part), encoding="utf-8")
            command = shlex.join([*words, "-c", str(source)])
            commands.append({"directory": directory, "file": str(source), "command": command})
            print(source)
    (arguments.output / "compile_commands.json").write_text(json.dumps(commands), encoding="utf-8")


if __name__ == "__main__":
    main()
