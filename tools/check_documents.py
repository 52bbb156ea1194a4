#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every relative link of a document leads to a file and its heading, every header that docs/io.md names exists,
examples/README.md lists every example, docs/limits.md has the numbers of the sources, docs/glossary.md their files, and
the README links to every page that answers a newcomer's question.
"""

import argparse
import pathlib
import re
import sys

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADER = re.compile(r"`(\w+/\w+\.hpp)`")
FILE = re.compile(r"`((?:\w+/)+\w+\.[hc]pp)`")
LIMIT = re.compile(r"^\|[^|]*\| (?P<value>[\d.]+)(?: (?P<unit>[A-Za-z]+))? \| `(?P<name>\w+)` in `(?P<file>[\w/.]+)` \|")
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "ns": 1, "us": 1000, "ms": 1000000, "s": 1000000000, "Hz": 1}
CHRONO = {"nanoseconds": 1, "microseconds": 1000, "milliseconds": 1000000, "seconds": 1000000000, "minutes": 60000000000}


def documents(root):
    own = [path for path in root.glob("*.md")]
    for folder in ("docs", "examples", "benchmarks", "tests"):
        own += (root / folder).rglob("*.md")
    return sorted(own)


def anchors(path):
    """What headings are called in a link, as GitHub makes it."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ +(.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(root):
    for path in documents(root):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for target in LINK.findall(line):
                file, _, anchor = target.partition("#")
                place = path.parent / file if file else path
                if "://" in target:
                    continue
                if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
                    yield f"{path.relative_to(root)}:{number}: {target} leads nowhere"


def missing_headers(root):
    page = root / "docs/io.md"
    for header in HEADER.findall(page.read_text(encoding="utf-8")):
        if not (root / "horus" / header).exists():
            yield f"{page.relative_to(root)}: there is no horus/{header}"


def constant(text, name):
    """The value that a C++ source gives a constant or member: a number, or nanoseconds; None where it is not found."""
    found = re.search(rf"[\w:>]\s+{name}\s*(?:=|\{{)\s*([^;]*?)\}}?;", text)
    if found is None:
        return None
    value = re.sub(r"std::(?:size_t|int64_t|uint64_t)\{([^}]*)\}", r"\1", " ".join(found[1].replace("'", "").split()))
    value = re.sub(r"(?:std::chrono::)?(\w+)\(([^()]*)\)", lambda f: f"({f[2]}) * {CHRONO.get(f[1], 'None')}", value)
    value = re.sub(r"\b(\d+)(?:UL|U|L)+\b", r"\1", value)
    if not re.fullmatch(r"[\d\s()*+<.-]+", value):
        return None
    return eval(value, {"__builtins__": {}})  # digits and operators alone


def wrong_limits(root):
    page = root / "docs/limits.md"
    if not page.exists():
        return
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("|") or line.startswith("|---") or line.startswith("| limit |"):
            continue
        place, row = f"{page.relative_to(root)}:{number}", LIMIT.match(line)
        if row is None:
            yield f"{place}: a row is | limit | number unit | `name` in `file` | …"
            continue
        source = root / "horus" / row["file"]
        is_value = constant(source.read_text(encoding="utf-8"), row["name"]) if source.exists() else None
        said = float(row["value"]) * UNITS.get(row["unit"] or "Hz", 0)
        if is_value is None:
            yield f"{place}: no value of {row['name']} in horus/{row['file']}"
        elif is_value != said:
            yield f"{place}: {row['value']} {row['unit'] or ''}: {row['name']} in horus/{row['file']} is {is_value}"


def missing_files(root):
    page = root / "docs/glossary.md"
    for file in FILE.findall(page.read_text(encoding="utf-8")) if page.exists() else []:
        if not (root / "horus" / file).exists():
            yield f"{page.relative_to(root)}: there is no horus/{file}"


def far_answers(root):
    """Answers to newcomers' questions whose page the README does not link to."""
    page = root / "CONTRIBUTING.md"
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    readme = (root / "README.md").read_text(encoding="utf-8") if text else ""
    known = {target.partition("#")[0] for target in LINK.findall(readme)}
    for target in LINK.findall(text.partition("## Questions of newcomers")[2]):
        if target.partition("#")[0] not in known | {"README.md"}:
            yield f"{page.relative_to(root)}: {target} is more than two steps from the README"


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
    checks = (broken_links, missing_headers, unlisted_examples, wrong_limits, missing_files, far_answers)
    faults = [fault for check in checks for fault in check(root)]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
