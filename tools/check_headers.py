#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every header compiles alone, without warnings: a user may include just the one he needs.

A header that its own source includes before anything else is left out: the build has compiled it alone already.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys

FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wno-missing-field-initializers"]


def check(root, compiler, header):
    name = header.relative_to(root).as_posix()
    process = subprocess.run(
        [*shlex.split(compiler), *FLAGS, "-Werror", "-I", str(root), "-x", "c++", "-"],
        input=f"#include <{name}>\n#include <{name}>\nint main() {{}}\n",
        text=True,
        capture_output=True,
    )
    return name, process.returncode, process.stderr


def is_first_in_its_source(root, header):
    # Beside it, or in one of the layer's rooms.
    source = next(header.parent.rglob(header.stem + ".cpp"), None)
    if source is None:
        return False
    first = re.search(r"^#include\s+[<\"]([^>\"]+)[>\"]", source.read_text(encoding="utf-8"), re.MULTILINE)
    return first is not None and first[1] == header.relative_to(root).as_posix()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--compiler", default=os.environ.get("CXX", "clang++-19"))
    arguments = parser.parse_args()
    # Those of horus/py are its own, not installed, and need Python's.
    tree = arguments.root / "horus"
    headers = sorted(header for header in tree.rglob("*.hpp") if header.relative_to(tree).parts[0] != "py")
    headers = [header for header in headers if not is_first_in_its_source(arguments.root, header)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(check, arguments.root, arguments.compiler, header) for header in headers]
        for job in jobs:
            name, code, output = job.result()
            if code != 0:
                failed += 1
                print(f"{name} does not compile alone:\n{output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
