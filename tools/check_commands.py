#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `./dev help` lists, what ./dev runs, and every `./dev COMMAND` that a document or a source names are the same."""

import argparse
import pathlib
import re
import subprocess
import sys

FOLDERS = ("horus", "tests", "examples", "benchmarks", "tools", "docs", ".ci", "subprojects/packagefiles")
SUFFIXES = {".md", ".cpp", ".hpp", ".h", ".c", ".py", ".pyi", ".sh", ".build", ".txt", ".toml", ".yaml", ".in", ""}
MENTION = re.compile(r"(?<![\w/.])\./dev (--?)?([a-z][a-z_-]*)")


def listed_commands(root):
    """The commands of the text of help, each with the options that its lines name."""
    text = subprocess.run(["bash", str(root / "dev"), "help"], capture_output=True, text=True, check=True).stdout
    commands, current = {}, None
    for line in text.split("Environment:")[0].splitlines()[1:]:
        match = re.match(r"  ([a-z]+)\b", line)
        if match:
            current = match[1]
            commands[current] = set()
        if current is not None:
            commands[current].update(re.findall(r"--[a-z]+", line))
    return commands


def dispatched_commands(root):
    source = (root / "dev").read_text(encoding="utf-8")
    return set(re.findall(r"^command_([a-z]+)\(\)", source, re.MULTILINE))


def documents(root):
    paths = [path for path in root.iterdir() if path.is_file()]
    for folder in FOLDERS:
        paths += (path for path in (root / folder).rglob("*") if path.is_file())
    me = {"check_commands.py", "check_commands_test.py"}
    return [p for p in paths if p.suffix in SUFFIXES and p.name not in me and "__pycache__" not in p.parts]


def find_faults(root):
    listed, dispatched = listed_commands(root), dispatched_commands(root)
    faults = [f"./dev help lists {name}, and nothing runs it" for name in sorted(listed.keys() - dispatched - {"help"})]
    faults += [f"./dev runs {name}, and ./dev help does not list it" for name in sorted(dispatched - listed.keys())]
    for path in sorted(documents(root)):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for dashes, name in MENTION.findall(line):
                if dashes or name not in listed:
                    place = f"{path.relative_to(root)}:{number}"
                    faults.append(f"{place}: ./dev {dashes}{name}: no such command (write `./dev` where the script is meant)")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    faults = find_faults(parser.parse_args().root)
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
