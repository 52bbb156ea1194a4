#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What check_layers.py refuses, and what it must leave alone."""

import unittest

from check_layers import BELOW, check_text


def problems(layer, line):
    return list(check_text(layer, "x.hpp", line))


class CheckLayers(unittest.TestCase):
    def test_lower_layers_and_the_own_one_may_be_included(self):
        self.assertEqual([], problems("io", "#include <horus/base/result.hpp>"))
        self.assertEqual([], problems("io", "#include <horus/io/reactor.hpp>"))
        self.assertEqual([], problems("sim", "  # include <horus/sched/node.hpp>"))
        self.assertEqual([], problems("base", "#include <vector>"))

    def test_higher_layers_may_not(self):
        self.assertIn("x.hpp:1: base includes horus/task/task.hpp", problems("base", "#include <horus/task/task.hpp>")[0])
        self.assertTrue(problems("task", "#include <horus/io/reactor.hpp>"))
        self.assertTrue(problems("io", "#include <horus/sched/node.hpp>"))

    def test_neither_quotes_nor_the_umbrella(self):
        self.assertTrue(problems("io", '#include "reactor.hpp"'))
        self.assertTrue(problems("io", "#include <horus/horus.hpp>"))

    def test_no_layer_is_below_itself(self):
        for layer, below in BELOW.items():
            self.assertNotIn(layer, below)
            for other in below:
                self.assertNotIn(layer, BELOW[other])


if __name__ == "__main__":
    unittest.main()
