#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What check_weight.py refuses, and what it must leave alone."""

import pathlib
import tempfile
import unittest

from check_weight import LIGHT, MOST_OF_100, PRECOMPILED, check_tree


class CheckWeight(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for header in [*MOST_OF_100, *LIGHT, PRECOMPILED]:
            self.write(header, "")
        for number in range(100):
            self.write(f"horus/io/source_{number}.cpp", "#include <vector>\n")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def problems(self):
        return list(check_tree(self.root))

    def test_few_may_read_a_hot_header_but_not_many_through_another_one(self):
        most = MOST_OF_100["horus/sched/scheduler.hpp"]
        self.write("horus/sched/report.hpp", "#include <horus/sched/scheduler.hpp>\n")
        for number in range(most):
            self.write(f"horus/io/source_{number}.cpp", "  # include <horus/sched/report.hpp>\n")
        self.assertEqual([], self.problems())
        self.write(f"horus/io/source_{most}.cpp", "#include <horus/sched/report.hpp>\n")
        self.assertEqual(1, len(self.problems()))
        self.assertIn(f"horus/sched/scheduler.hpp: {most + 1} sources", self.problems()[0])

    def test_programs_outside_of_the_library_do_not_count(self):
        for number in range(20):
            self.write(f"horus/cli/part_{number}.cpp", "#include <horus/sched/scheduler.hpp>\n")
        self.assertEqual([], self.problems())

    def test_a_hot_header_brings_no_heavy_one_and_the_one_that_does_is_named(self):
        self.write("horus/io/reactor.hpp", "#include <horus/io/names.hpp>\n#include <vector>\n")
        self.assertEqual([], self.problems())
        self.write("horus/io/names.hpp", "#include <regex>\n")
        self.assertEqual(1, len(self.problems()))
        self.assertIn("horus/io/names.hpp: includes <regex>", self.problems()[0])

    def test_what_is_precompiled_for_the_library_is_nothing_of_it(self):
        self.write(PRECOMPILED, "#include <horus/base/compiler.hpp>\n#include <regex>\n")
        self.assertEqual([], self.problems())
        self.write(PRECOMPILED, "#include <horus/base/result.hpp>\n")
        self.assertEqual(1, len(self.problems()))

    def test_a_header_that_has_gone_is_named(self):
        (self.root / "horus/msg/hub.hpp").unlink()
        self.assertIn("there is no such header", self.problems()[0])


if __name__ == "__main__":
    unittest.main()
