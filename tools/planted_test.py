#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What planted.py refuses to plant, and what it takes for a find."""

import pathlib
import sys
import tempfile
import unittest

import planted


class Plant(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "a.cpp").write_text("one two two")

    def plant(self, *pairs):
        changes = [{"file": file, "find": find, "replace": replace} for file, find, replace in pairs]
        return planted.planted_texts(self.root, "bug", {"change": changes})

    def test_a_text_that_stands_once_is_replaced_and_the_file_is_left_alone(self):
        self.assertEqual(self.plant(("a.cpp", "one", "six")), {self.root / "a.cpp": "six two two"})
        self.assertEqual((self.root / "a.cpp").read_text(), "one two two")

    def test_changes_of_one_file_add_up(self):
        self.assertEqual(list(self.plant(("a.cpp", "one", "1"), ("a.cpp", "1 two", "12")).values()), ["12 two"])

    def test_what_does_not_fit_is_a_fault(self):
        for find, count in (("two", 2), ("seven", 0)):
            with self.assertRaisesRegex(planted.Fault, f"a.cpp {count} times"):
                self.plant(("a.cpp", find, ""))
        with self.assertRaisesRegex(planted.Fault, "no file b.cpp"):
            self.plant(("b.cpp", "one", ""))


class Find(unittest.TestCase):
    def fails(self, program):
        return planted.fails([sys.executable, "-c", program])

    def test_a_promise_that_does_not_hold_is_named(self):
        why = self.fails("""print('hubs, seed 3: at 1.5 s: "all is well" does not hold'); exit(1)""")
        self.assertEqual(why, '"all is well" does not hold')

    def test_a_failed_check_is_named(self):
        self.assertEqual(self.fails("print('a.cpp:1: ERROR: CHECK( 1 == 2 ) is NOT correct!'); exit(1)"),
                         "CHECK( 1 == 2 ) is NOT correct!")

    def test_what_passes_finds_nothing(self):
        self.assertIsNone(self.fails("print('at 1.0 s: fine')"))

    def test_a_crash_and_a_hang_are_no_find(self):
        with self.assertRaisesRegex(TimeoutError, "no failed check"):
            self.fails("import os; os.abort()")
        limit, planted.LIMIT_S = planted.LIMIT_S, 0.2
        self.addCleanup(setattr, planted, "LIMIT_S", limit)
        with self.assertRaisesRegex(TimeoutError, "did not end"):
            self.fails("import threading; threading.Event().wait()")


if __name__ == "__main__":
    unittest.main()
