# SPDX-License-Identifier: Apache-2.0
"""A compiler or a standard that cannot compile Horus gets one error, which says what to do."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

ROOT = pathlib.Path(os.environ.get("HORUS_SOURCE_ROOT", pathlib.Path(__file__).resolve().parents[2]))
HEADERS = ("horus.hpp", "task/task.hpp", "io/time.hpp", "base/literals.hpp", "io/bytes.hpp")
COMPILERS = [name for name in ("clang++-19", "clang++", "g++", "clang++-14", "clang++-15") if shutil.which(name)]


def version(compiler):
    """('clang', 19) or ('gcc', 12.2)"""
    text = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    number = subprocess.run([compiler, "-dumpfullversion", "-dumpversion"], capture_output=True, text=True).stdout.strip()
    major, _, minor = (number or re.search(r"version (\S+)", text)[1]).partition(".")
    return ("clang", int(major)) if "clang" in text else ("gcc", float(f"{major}.{minor.split('.')[0] or 0}"))


def errors(compiler, standard, header):
    process = subprocess.run(
        [compiler, f"-std={standard}", "-I", str(ROOT), "-fsyntax-only", "-x", "c++", "-"],
        input=f"#include <horus/{header}>\n", capture_output=True, text=True,
    )
    return [line for line in process.stderr.splitlines() if "error:" in line]


class Compilers(unittest.TestCase):
    def test_an_older_standard_is_one_error_that_says_what_to_do(self):
        self.assertTrue(COMPILERS)
        for compiler in COMPILERS:
            for header in HEADERS:
                with self.subTest(compiler=compiler, header=header):
                    found = errors(compiler, "c++17", header)
                    self.assertEqual(1, len(found), found)
                    self.assertIn("Horus needs C++20: compile with -std=c++20", found[0])

    def test_an_older_compiler_is_one_error_that_says_which_ones_will_do(self):
        for compiler in COMPILERS:
            kind, number = version(compiler)
            if number >= (16 if kind == "clang" else 12.3):
                continue
            with self.subTest(compiler=compiler):
                found = errors(compiler, "c++20", "horus.hpp")
                self.assertEqual(1, len(found), found)
                self.assertIn("clang++ 16 or newer", found[0])
                self.assertIn("12.3 or newer", found[0])

    def test_the_check_stands_before_anything_that_fails_by_itself(self):
        for path in (ROOT / "horus").rglob("*.hpp"):
            includes = re.findall(r"^#include <([^>]+)>", path.read_text(encoding="utf-8"), re.MULTILINE)
            name = path.relative_to(ROOT).as_posix()
            if name == "horus/base/compiler.hpp" or "/py/" in name or "/cli/" in name:
                continue
            with self.subTest(header=name):
                self.assertTrue([i for i in includes if i.startswith("horus/")], "include <horus/base/compiler.hpp>")
                if "coroutine" in includes:
                    self.assertEqual("horus/base/compiler.hpp", includes[0])


if __name__ == "__main__":
    unittest.main()
