#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plant the mistakes of tests/planted/bugs.toml in a copy of the tree, one at a time, and see that each is found.

A mistake is found by a check: a promise of a campaign that does not hold for some seed, or a named test case that fails.
What does not end in time counts as not found. What found it has to pass without the mistake. The copy and its build are in
build-planted; the tree itself stays as it is. Returns 1 when a mistake was not found, 2 when one cannot be planted.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEEDS = 300
LIMIT_S = 120  # of one seed, or of one test case


class Fault(Exception):
    pass


def copy_tree(tree):
    """Only what differs is written, so that ninja builds only that. Restores what an interrupted run has left, too."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, capture_output=True, check=True).stdout.decode()
    wanted = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for name in wanted:
        source, target = ROOT / name, tree / name
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        shutil.copymode(source, target)
    for path in tree.rglob("*"):
        name = path.relative_to(tree).as_posix()
        if name.split("/")[0] not in ("build", "subprojects") and path.is_file() and name not in wanted:
            path.unlink()


def planted_texts(tree, name, bug):
    """Pairs of path and text with the mistake; a mistake that does not fit the code any more is a fault."""
    texts = {}
    for change in bug["change"]:
        path = tree / change["file"]
        if not path.is_file():
            raise Fault(f"{name}: there is no file {change['file']}")
        text = texts.get(path) or path.read_text(encoding="utf-8")
        count = text.count(change["find"])
        if count != 1:
            told = f"{change['file']} {count} times, not once: {change['find'].strip()}"
            raise Fault(f"{name}: what it replaces stands in {told}")
        texts[path] = text.replace(change["find"], change["replace"])
    return texts


def program_of(bug):
    return f"sim/{bug['campaign']}" if "campaign" in bug else bug["test"]


def build(tree, programs):
    environment = {key: value for key, value in os.environ.items() if key not in ("HORUS_BUILD_DIR", "HORUS_SANITIZE", "CI")}
    environment["HORUS_BUILD_DIR"] = "build"
    environment.setdefault("HORUS_MESON_OPTIONS", "-Ddebug=false")
    done = subprocess.run(["./dev", "build", "--quiet", *(f"tests/{program}" for program in sorted(programs))],
                          cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise Fault(f"the build failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")


def fails(command):
    """Why the program fails by its own check; None when it passes. A crash or a hang is a TimeoutError of ours."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"did not end within {LIMIT_S} s") from None
    if done.returncode == 0:
        return None
    for pattern in (r'at [\d.]+ s: (.*)', r"ERROR: (.*)"):
        match = re.search(pattern, done.stdout)
        if match:
            return match[1].strip()
    raise TimeoutError(f"ended with {done.returncode} and no failed check")


def look_for(bug, program, jobs):
    """What found the mistake, and the command that did; None: nothing did."""
    if "test" in bug:
        command = [str(program), f"--test-case={bug['case']}"]
        why = fails(command)
        return why and (f"{bug['test']}: {why}", command)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for first in range(1, SEEDS + 1, jobs):
            seeds = range(first, min(first + jobs, SEEDS + 1))
            commands = [[str(program), "--seed", str(seed)] for seed in seeds]
            for seed, command, why in zip(seeds, commands, pool.map(fails, commands)):
                if why:
                    return f"{bug['campaign']}, seed {seed}: {why}", command
    return None


def main():
    parser = argparse.ArgumentParser(prog="./dev planted", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="mistakes of tests/planted/bugs.toml; all without one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="seeds at a time (one per CPU)")
    parser.add_argument("--check", action="store_true", help="only see that each fits the code; builds nothing")
    arguments = parser.parse_args()
    bugs = tomllib.loads((ROOT / "tests/planted/bugs.toml").read_text(encoding="utf-8"))
    unknown = [name for name in arguments.names if name not in bugs]
    if unknown:
        raise Fault(f"no mistake is named {', '.join(unknown)}; there are {', '.join(bugs)}")
    chosen = {name: bugs[name] for name in arguments.names or bugs}
    for name, bug in bugs.items():
        planted_texts(ROOT, name, bug)
    if arguments.check:
        return 0
    home = ROOT / "build-planted"
    tree, clean = home / "tree", home / "clean"
    tree.mkdir(parents=True, exist_ok=True)
    copy_tree(tree)
    programs = {program_of(bug) for bug in chosen.values()}
    print(f"building {len(programs)} programs without a mistake", file=sys.stderr, flush=True)
    build(tree, programs)
    for program in programs:
        target = clean / program
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(tree / "build/tests" / program, target)
    missing = 0
    for name, bug in chosen.items():
        program = tree / "build/tests" / program_of(bug)
        texts = planted_texts(tree, name, bug)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        try:
            build(tree, [program_of(bug)])
            began = time.monotonic()
            try:
                found = look_for(bug, program, max(arguments.jobs or 1, 1))
                seconds = time.monotonic() - began
                if found:
                    command = [str(clean / program_of(bug)), *found[1][1:]]
                    without = fails(command)
                    if without:
                        raise TimeoutError(f"what found it fails without it, too: {without}")
            except TimeoutError as error:
                found, reason = None, str(error)
            else:
                reason = "nothing found it"
        finally:
            copy_tree(tree)
        missing += found is None
        told = f"{seconds:5.1f} s  {found[0]}" if found else f"NOT FOUND: {reason}"
        print(f"{name:26} {told}", flush=True)
    print(f"{len(chosen) - missing} of {len(chosen)} found")
    return 1 if missing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Fault as fault:
        sys.exit(print(f"planted: {fault}", file=sys.stderr) or 2)
