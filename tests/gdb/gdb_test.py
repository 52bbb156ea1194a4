#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/gdb/horus_gdb.py shows tasks, the ready list and values, of a running program and of its core file."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools/gdb/horus_gdb.py"
PROGRAM = None
NO_PTRACE = ("ptrace: Operation not permitted", "Could not trace the inferior process", "PTRACE_TRACEME")


def gdb(*arguments):
    """The output of gdb that runs these commands; a skipped test where nobody may trace."""
    command = ["gdb", "-batch", "-nx", "-iex", "set debuginfod enabled off", "-iex", "set pagination off"]
    done = subprocess.run(command + list(arguments), capture_output=True, text=True, timeout=100, check=False)
    text = done.stdout + done.stderr
    if any(sign in text for sign in NO_PTRACE):
        raise unittest.SkipTest("this machine lets nobody trace a program (ptrace)")
    return text


def commands(*texts):
    return [word for text in texts for word in ("-ex", text)]


class GdbTest(unittest.TestCase):
    def setUp(self):
        if shutil.which("gdb") is None:
            self.fail("gdb is missing: apt-get install gdb (./dev test does it)")

    def stopped(self, *texts):
        return gdb(*commands("break stop_here", "run", f"source {SCRIPT}", *texts), PROGRAM)

    def check_tasks(self, text):
        for wanted in (
            "main: running or ready to run",
            "sensor: waits for read (fd ",
            "driver: waits for an event",
            "counter: running or ready to run",
            "read_the_sensor(horus::io::PipeReader",
            "drive(horus::Event",
            "gdb/stopped_program.cpp:",
        ):
            self.assertIn(wanted, text)
        self.assertNotRegex(text, r"horus::v\d")  # the version of the binary interface is not for people

    def test_tasks_of_a_running_program(self):
        self.check_tasks(self.stopped("horus tasks"))

    def test_the_ready_list_names_who_runs_next(self):
        text = self.stopped("horus ready")
        self.assertRegex(text, r"1: counter: goes on at .*count_to\(int\) \(gdb/stopped_program.cpp:\d+\)")

    def test_values_show_what_they_hold(self):
        text = self.stopped("print lazy", "print none", "print good", "print bad")
        self.assertRegex(text, r"Task: answer\(")
        self.assertIn("Task: empty", text)
        self.assertIn("Result: 7", text)
        self.assertIn("Result: Error 111 of connect", text)

    def test_a_chain_shows_what_it_waits_for(self):
        text = self.stopped(
            "python chain = list(ThreadState().chains())[1]",
            "python print(chain.format_string())",
        )
        self.assertRegex(text, r"sensor: waits for read \(fd \d+\)\n(  at .*\n)*  at .*read_the_sensor")

    def test_tasks_of_a_core_file(self):
        with tempfile.TemporaryDirectory() as folder:
            core = f"{folder}/core"
            self.stopped(f"generate-core-file {core}")
            self.check_tasks(gdb(*commands(f"source {SCRIPT}", "horus tasks"), PROGRAM, core))


if __name__ == "__main__":
    PROGRAM = sys.argv.pop()
    unittest.main()
