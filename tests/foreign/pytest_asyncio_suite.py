# SPDX-License-Identifier: Apache-2.0
"""pytest-asyncio on this process's policy: pytest_asyncio_cases.py in both of its modes. Its own
tests are not in Debian's package."""

import asyncio
import unittest
from pathlib import Path
from typing import Any, Dict

import pytest

import loops

CASES = Path(__file__).with_name("pytest_asyncio_cases.py")


class Recorder:
    def __init__(self) -> None:
        self.outcomes: Dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("::")[2]
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[name] = report.outcome


class PytestAsyncio(unittest.TestCase):
    def run_mode(self, mode: str) -> None:
        before, policy = loops.Made.count, asyncio.get_event_loop_policy()
        recorder = Recorder()
        arguments = [str(CASES), f"--asyncio-mode={mode}", "-p", "no:cacheprovider", "-q"]
        arguments += [
            "--rootdir",
            str(CASES.parent),
            "-c",
            "/dev/null",
            "-W",
            "error::RuntimeWarning",
        ]
        code = pytest.main(arguments, plugins=[recorder])
        self.assertEqual(code, 0, recorder.outcomes)
        expected = 12 if mode == "auto" else 11
        passed = [name for name, outcome in recorder.outcomes.items() if outcome == "passed"]
        self.assertEqual(len(passed), expected, recorder.outcomes)
        self.assertIs(asyncio.get_event_loop_policy(), policy)
        if type(policy).__module__ == "loops":
            self.assertGreaterEqual(loops.Made.count - before, expected)

    def test_strict_mode(self) -> None:
        self.run_mode("strict")

    def test_auto_mode(self) -> None:
        self.run_mode("auto")


if __name__ == "__main__":
    unittest.main()
