# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of one module in this process and tells run.py about each, as a line of JSON.

    worker.py --loop horus --module test.test_asyncio.test_streams --report FD --limit 60
              [--only FILE] [--without FILE]

A test that takes longer than --limit seconds ends the process with the stacks of all threads, and
run.py starts another one for those that are left.
"""

import argparse
import faulthandler
import importlib
import json
import os
import sys
import time
import traceback
import unittest
from typing import Any, Iterator, List, Set, TextIO

import loops

# The same tests once more on another selector of CPython: they say nothing about a loop's own poll.
OTHER_SELECTORS = ("PollEventLoopTests", "SelectEventLoopTests")


class Reporter(unittest.TestResult):
    """Tells what each test ends as, at once, so that a crash loses nothing."""

    def __init__(self, report: TextIO, limit: float) -> None:
        super().__init__()
        self.report, self.limit = report, limit
        self.outcome, self.text, self.started, self.made = "", "", 0.0, 0

    def say(self, **what: Any) -> None:
        self.report.write(json.dumps(what) + "\n")
        self.report.flush()

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.outcome, self.text, self.made = "passed", "", loops.Made.count
        self.started = time.monotonic()
        faulthandler.dump_traceback_later(self.limit, exit=True)
        print(f"--- {test.id()}", file=sys.stderr, flush=True)
        self.say(begun=test.id())

    def stopTest(self, test: unittest.TestCase) -> None:
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        self.say(
            ended=test.id(),
            outcome=self.outcome,
            text=self.text,
            seconds=time.monotonic() - self.started,
            with_loop=loops.Made.count > self.made,
        )

    def worse(self, outcome: str, text: str) -> None:
        if self.outcome != "failed":
            self.outcome, self.text = outcome, text

    def addError(self, test: Any, err: Any) -> None:
        text = "".join(traceback.format_exception(*err))
        if isinstance(test, unittest.TestCase):
            self.worse("failed", text)
        else:  # the set-up of a class or a module: none of its tests will run
            self.say(fixture=str(test), text=text)

    def addFailure(self, test: Any, err: Any) -> None:
        self.addError(test, err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self.addError(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        if isinstance(test, unittest.TestCase):
            self.worse("skipped", reason)

    def addUnexpectedSuccess(self, test: Any) -> None:
        self.worse("failed", "unexpected success")


def each_test(suite: Any) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from each_test(item)
        else:
            yield item


def load(name: str) -> List[unittest.TestCase]:
    module = importlib.import_module(name)
    for other in OTHER_SELECTORS:
        if hasattr(module, other):
            delattr(module, other)
    return list(each_test(unittest.defaultTestLoader.loadTestsFromModule(module)))


def names_in(path: str) -> Set[str]:
    if not path:
        return set()
    with open(path, encoding="utf-8") as file:
        return set(file.read().split())


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=loops.NAMES, required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--report", type=int, required=True)
    parser.add_argument("--limit", type=float, default=60.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--without", default="")
    options = parser.parse_args()
    os.set_inheritable(options.report, False)  # a test's child must not hold it open
    faulthandler.enable()
    loops.install(options.loop)
    with open(options.report, "w", encoding="utf-8") as report:
        result = Reporter(report, options.limit)
        try:
            tests = load(options.module)
        except unittest.SkipTest as skip:
            result.say(tests=[], skipped=str(skip))
            return 0
        only, without = names_in(options.only), names_in(options.without)
        chosen = [
            test for test in tests if test.id() not in without and (not only or test.id() in only)
        ]
        result.say(tests=[test.id() for test in chosen])
        unittest.TestSuite(chosen).run(result)
        result.say(done=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
