# SPDX-License-Identifier: Apache-2.0
"""A bare Debian that is played: a copy of ./dev, and fakes of the programs that it calls, in a folder of their own.

The fake Meson has the one property that matters here: it looks for a package once, remembers what it did not find, and
looks again only after --wipe or --clearcache.
"""

import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(os.environ.get("HORUS_SOURCE_ROOT", pathlib.Path(__file__).resolve().parents[2]))

FAKE = r'''#!{python} -SE
import json, os, pathlib, sys
machine = pathlib.Path({machine!r})
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with (machine / "calls").open("a") as calls:
    print(name, *arguments, file=calls)
installed_file = machine / "installed"
installed = set(installed_file.read_text().split())
# option -> (the package that it needs, how Meson names it)
NEEDS = {{
    "python_module": ("libmsgpack-cxx-dev", "C++ header 'msgpack.hpp'"),
    "cli": ("libcli11-dev", "CLI11"),
    "yaml": ("libyaml-cpp-dev", "yaml-cpp"),
    "docs": ("doxygen", "doxygen"),
}}

def load(path):
    return json.loads(path.read_text()) if path.exists() else {{}}

def setup(arguments):
    directory = pathlib.Path(arguments[-1])
    private = directory / "meson-private"
    if "--wipe" in arguments:
        if not (private / "coredata.dat").exists():
            sys.exit("Directory does not contain a valid build tree")
        (private / "cache.json").unlink(missing_ok=True)
    private.mkdir(parents=True, exist_ok=True)
    if not (private / "coredata.dat").exists():
        (private / "cache.json").unlink(missing_ok=True)
    options = load(private / "options.json")
    options.update(a[2:].split("=", 1) for a in arguments if a.startswith("-D"))
    cache = load(private / "cache.json")
    built = []
    for option, (package, title) in NEEDS.items():
        wish = options.get(option, "auto")
        if wish == "disabled":
            continue
        found = cache.setdefault(option, package in installed)
        if not found and wish == "enabled":
            (private / "cache.json").write_text(json.dumps(cache))
            sys.exit(f"ERROR: {{title}} not found")
        if found:
            built.append(option)
    for option in ("tests", "benchmarks"):
        if options.get(option) == "true":
            built.append(option)
    (private / "coredata.dat").touch()
    (private / "options.json").write_text(json.dumps(options))
    (private / "cache.json").write_text(json.dumps(cache))
    (directory / "build.ninja").write_text(" ".join(built))

if name == "dpkg-query" and "-L" in arguments:
    print("/lib/played-linux-gnu/libc.so.6", *map("/usr/share/doc/libc6/".__add__, map(str, range(50_000))), sep="\n")
elif name == "dpkg-query":
    # The whole list, or the named ones.
    for package in sorted(installed if "--" not in arguments else installed & set(arguments[arguments.index("--") + 1:])):
        print(package + "=installed ", end="")
elif name == "apt-get":
    if "install" in arguments:
        wanted = [a for a in arguments[arguments.index("install") + 1:] if not a.startswith("-")]
        if (machine / "no-network").exists():
            sys.exit("E: Unable to fetch some archives")
        installed_file.write_text("\n".join(sorted(installed.union(wanted))))
elif name == "meson":
    if arguments[0] == "setup":
        setup(arguments[1:])
    elif arguments[0] == "configure":
        assert "--clearcache" in arguments
        (pathlib.Path(arguments[-1]) / "meson-private" / "cache.json").unlink(missing_ok=True)
    elif arguments[0] == "test" and "--list" not in arguments:
        built = (pathlib.Path(arguments[arguments.index("-C") + 1]) / "build.ninja").read_text().split()
        print("tests of", *built)
elif name == "ninja":
    directory = pathlib.Path(arguments[arguments.index("-C") + 1])
    built = (directory / "build.ninja").read_text().split()
    if "targets" in arguments:
        print("examples/rover/rover: cpp_LINKER")
    elif "python" in arguments and "python_module" not in built:
        sys.exit("ninja: error: unknown target 'python'")
    elif any(a.startswith("tests/") for a in arguments) and "tests" not in built:
        sys.exit("ninja: error: unknown target")
    for program in [a for a in arguments if a.startswith(("examples/", "tests/"))]:
        (directory / program).parent.mkdir(parents=True, exist_ok=True)
        (directory / program).write_text("#!/bin/sh\necho ran $(basename $0) \"$@\"\n")
        (directory / program).chmod(0o755)
elif name.startswith("clang++"):
    print("clang version 19.1.0" if "--version" in arguments else "19.1.0")
elif name == "id":
    print(0)
'''


class Machine:
    def __init__(self, packages=()):
        self._folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self._folder.name)
        self.tree = self.path / "tree"
        (self.tree / "examples" / "rover").mkdir(parents=True)
        (self.tree / "examples" / "rover" / "rover.cpp").touch()
        for folder in ("horus", "tests/sim", "benchmarks", "tools", "docs"):
            (self.tree / folder).mkdir(parents=True)
        (self.tree / "tests" / "sim" / "small_campaign.cpp").touch()
        shutil.copy(ROOT / "dev", self.tree / "dev")
        (self.path / "installed").write_text("\n".join(packages))
        programs = self.path / "bin"
        programs.mkdir()
        for name in ("dpkg-query", "apt-get", "meson", "ninja", "clang++-19", "id"):
            program = programs / name
            program.write_text(FAKE.format(python=sys.executable, machine=str(self.path)))
            program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def close(self):
        self._folder.cleanup()

    def dev(self, *arguments, **environment):
        """Runs ./dev; gives the finished process, with both outputs as one text."""
        keep = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        keep["PATH"] = f"{self.path / 'bin'}:/usr/bin:/bin:/usr/sbin:/sbin"
        return subprocess.run(
            ["bash", str(self.tree / "dev"), *arguments],
            env={**keep, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=50,
        )

    def calls(self, program):
        lines = (self.path / "calls").read_text().splitlines() if (self.path / "calls").exists() else []
        return [line.split() for line in lines if line.split()[0] == program]

    def installed(self):
        return set((self.path / "installed").read_text().split())

    def remove(self, package):
        (self.path / "installed").write_text("\n".join(self.installed() - {package}))
