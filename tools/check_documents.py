#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every relative link of a document leads to a file, every header that docs/io.md names exists, and examples/README.md
lists every example."""

import argparse
import pathlib
import re
import sys

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADER = re.compile(r"`(\w+/\w+\.hpp)`")


def documents(root):
    own = [path for path in root.glob("*.md")]
    for folder in ("docs", "examples", "benchmarks", "tests"):
        own += (root / folder).rglob("*.md")
    return sorted(own)


def broken_links(root):
    for path in documents(root):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for target in LINK.findall(line):
                file = target.partition("#")[0]
                if "://" not in target and file and not (path.parent / file).exists():
                    yield f"{path.relative_to(root)}:{number}: {target} leads nowhere"


def missing_headers(root):
    page = root / "docs/io.md"
    for header in HEADER.findall(page.read_text(encoding="utf-8")):
        if not (root / "horus" / header).exists():
            yield f"{page.relative_to(root)}: there is no horus/{header}"


def unlisted_examples(root):
    folder = root / "examples"
    listed = set(LINK.findall((folder / "README.md").read_text(encoding="utf-8")))
    there = {path.name for path in folder.iterdir() if path.is_dir() and path.name != "python"}
    there |= {f"python/{path.name}" for path in (folder / "python").glob("*.py")}
    for name in sorted(there - listed):
        yield f"examples/README.md: {name} is not listed"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root
    faults = [*broken_links(root), *missing_headers(root), *unlisted_examples(root)]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
