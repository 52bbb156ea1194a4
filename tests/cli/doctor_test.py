#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""doctor_test.py HORUS WITHOUT_IO_URING: what `horus doctor` says, also where io_uring is forbidden."""

import json
import os
import pty
import re
import subprocess
import sys
import tempfile
import unittest

HORUS = ""
WITHOUT_IO_URING = ""
NAMES = ["kernel", "container", "io_uring", "backend", "sleep", "clock", "timer slack", "CPUs",
         "CPU frequency", "CPU quota", "SCHED_FIFO", "locked memory", "open files", "shared memory",
         "hubs"]


def environment(**changes):
    kept = dict(os.environ)
    for name in ("HORUS_IO", "NO_COLOR"):
        kept.pop(name, None)
    return kept | {"TERM": "xterm"} | changes


def run(*arguments, wrapper=(), **variables):
    return subprocess.run([*wrapper, HORUS, *arguments], capture_output=True, text=True,
                          env=environment(**variables), check=False)


def diagnosis(*arguments, **more):
    done = run("doctor", "--json", *arguments, **more)
    told = json.loads(done.stdout)
    told["checks"] = {check["name"]: check for check in told["checks"]}
    return done, told


def on_terminal(**variables):
    """Standard output of `horus doctor` on a terminal."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([HORUS, "doctor"], stdout=theirs, env=environment(**variables))
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 4096):
            text += piece
    except OSError:  # how a terminal tells that nobody writes any more
        pass
    os.close(ours)
    child.wait()
    return text.decode()


class Doctor(unittest.TestCase):
    def test_everything_is_told_in_json(self):
        done, told = diagnosis()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        self.assertTrue(told["runs"])
        self.assertIn(told["backend"], ("uring", "epoll"))
        self.assertRegex(told["version"], r"^\d+\.\d+\.\d+$")
        self.assertEqual([name for name in told["checks"] if name != "operations"], NAMES)
        for check in told["checks"].values():
            self.assertIn(check["verdict"], ("ok", "note", "problem"))
            self.assertTrue(check["sentence"].endswith("."), check)
            if check["verdict"] == "ok":
                self.assertEqual(check["remedy"], "")
            else:
                self.assertNotEqual(check["remedy"], "", check)

    def test_text_is_aligned_and_without_colour_where_there_is_no_terminal(self):
        done = run("doctor")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("\033", done.stdout)
        lines = done.stdout.splitlines()
        for name in NAMES:
            matching = [line for line in lines if re.match(rf"  (ok|note|problem) +{name} ", line)]
            self.assertEqual(len(matching), 1, name)
            self.assertEqual(matching[0].index(name), len("  problem  "))
        self.assertRegex(lines[-1], r"^Horus runs here, on (uring|epoll)\. \d+ ok, .* problems?\.$")
        for line in lines:
            if "→" not in line:
                self.assertLessEqual(len(line), 100)

    def test_colour_on_a_terminal_unless_it_is_not_wanted(self):
        self.assertIn("\033[32mok", on_terminal())
        self.assertNotIn("\033", on_terminal(NO_COLOR="1"))
        self.assertNotIn("\033", on_terminal(TERM="dumb"))

    def test_where_io_uring_is_forbidden_epoll_is_used_and_the_reason_told(self):
        for error, reason in (("EPERM", "seccomp"), ("ENOSYS", "io_uring_setup")):
            done, told = diagnosis(wrapper=(WITHOUT_IO_URING, error))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stderr, "")
            self.assertEqual(told["backend"], "epoll")
            check = told["checks"]["io_uring"]
            self.assertEqual(check["verdict"], "note")
            if "This build" not in check["sentence"]:
                self.assertRegex(check["sentence"], f"{reason}|io_uring_disabled")
            self.assertNotIn("operations", told["checks"])
            self.assertIn("io_uring cannot be had", told["checks"]["backend"]["sentence"])

    def test_what_stops_horus_is_a_problem_and_the_exit_code_1(self):
        done, told = diagnosis(HORUS_IO="kqueue")
        self.assertEqual(done.returncode, 1)
        self.assertFalse(told["runs"])
        self.assertEqual(told["backend"], "")
        check = told["checks"]["backend"]
        self.assertEqual(check["verdict"], "problem")
        self.assertIn("uring, epoll or auto", check["sentence"])
        self.assertEqual(check["remedy"], "unset HORUS_IO")
        self.assertIn("Horus cannot run here.", run("doctor", HORUS_IO="kqueue").stdout)

    def test_a_backend_that_was_asked_for_is_named(self):
        done, told = diagnosis(HORUS_IO="epoll")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(told["backend"], "epoll")
        self.assertIn("HORUS_IO=epoll", told["checks"]["backend"]["sentence"])

    def test_few_descriptors_are_a_note_with_the_command_that_mends_it(self):
        few = ("sh", "-c", 'ulimit -S -n 64; exec "$@"', "sh")
        done, told = diagnosis(wrapper=few)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(told["checks"]["open files"]["verdict"], "note")
        self.assertIn("ulimit -n", told["checks"]["open files"]["remedy"])


class Recordability(unittest.TestCase):
    def test_inputs_that_a_program_takes_round_horus_are_named(self):
        done = run("doctor", HORUS)  # it reads files and the environment itself
        self.assertEqual(done.returncode, 0)
        self.assertIn("std::ifstream", done.stdout)
        self.assertIn("horus::io::File", done.stdout)
        self.assertIn("getenv", done.stdout)
        told = json.loads(run("doctor", "--json", HORUS).stdout)
        self.assertIn("files", [check["name"] for check in told["checks"]])
        self.assertNotIn("runs", told)

    def test_a_program_without_horus_is_a_problem(self):
        self.assertIn("problem", run("doctor", WITHOUT_IO_URING).stdout)

    def test_what_is_no_program_is_refused_with_its_reason(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(HORUS, "rb") as program:
                whole = program.read()
            cases = {"text": b"#!/bin/sh\n", "empty": b"", "head": whole[:64], "cut": whole[:5000],
                     "noise": whole[:64] + os.urandom(4000)}
            for name, contents in cases.items():
                path = os.path.join(folder, name)
                with open(path, "wb") as file:
                    file.write(contents)
                done = run("doctor", path)
                self.assertEqual(done.returncode, 1, name)
                self.assertIn(path, done.stderr)
            for path in (folder, os.path.join(folder, "missing")):
                done = run("doctor", path)
                self.assertEqual(done.returncode, 1, path)
                self.assertIn(path, done.stderr)


class Program(unittest.TestCase):
    def test_version_and_help(self):
        self.assertRegex(run("--version").stdout, r"^horus \d+\.\d+\.\d+\n$")
        told = run("--help")
        self.assertEqual(told.returncode, 0)
        self.assertIn("doctor", told.stdout)
        self.assertEqual(run("doctor", "--help").returncode, 0)

    def test_arguments_that_cannot_be_are_exit_code_2(self):
        for arguments in ((), ("docter",), ("doctor", "--jason")):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn("--help", done.stderr)

    def test_output_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([HORUS, "doctor"], stdout=full, stderr=subprocess.PIPE, text=True,
                                  env=environment(), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("standard output", done.stderr)


if __name__ == "__main__":
    HORUS, WITHOUT_IO_URING = sys.argv[1:3]
    del sys.argv[1:3]
    unittest.main()
