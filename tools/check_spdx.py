#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every source, script and build file says under which licence it stands, within its first five lines."""

import argparse
import pathlib
import subprocess
import sys

HEADER = "SPDX-License-Identifier: Apache-2.0"
SUFFIXES = {".c", ".cc", ".cpp", ".h", ".hpp", ".py", ".sh", ".cmake", ".in", ".toml"}
NAMES = {"meson.build", "meson_options.txt", "CMakeLists.txt", "dev", "run", ".clang-format", ".clang-tidy"}


def wanted(path):
    return path.suffix in SUFFIXES or path.name in NAMES


def has_header(text):
    return any(HEADER in line for line in text.splitlines()[:5])


def tracked_files(root):
    """What git tracks or would add, but for new files beside the README: those are somebody's first programs. Without git,
    everything that is not in a build directory."""

    def listed(*which):
        command = ["git", "-C", str(root), "ls-files", "-z", "--exclude-standard", *which]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")

    try:
        names = listed("--cached") + [name for name in listed("--others") if "/" in name]
        return [root / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        return [
            path
            for path in root.rglob("*")
            if not any(part.startswith(("build", ".git")) for part in path.relative_to(root).parts)
        ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent)
    root = parser.parse_args().root
    problems = 0
    for path in sorted(tracked_files(root)):
        if wanted(path) and path.is_file() and not has_header(path.read_text(errors="replace")):
            print(f"{path.relative_to(root)}: the first lines lack: {HEADER}")
            problems += 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
