#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What check_determinism.py refuses, and what it must leave alone."""

import unittest

from check_determinism import check_text


def problems(text, name="horus/sim/x.cpp"):
    return list(check_text(name, text))


class CheckDeterminism(unittest.TestCase):
    def test_real_clocks_and_chance_are_refused(self):
        self.assertTrue(problems("auto now = std::chrono::steady_clock::now();", "horus/sched/x.cpp"))
        self.assertTrue(problems("std::random_device device;", "horus/io/x.cpp"))
        self.assertTrue(problems("return rand();", "horus/task/x.cpp"))
        self.assertTrue(problems("const auto now = monotonic_ns();"))

    def test_the_seam_may_ask_the_kernel(self):
        self.assertEqual([], problems("return monotonic_ns();", "horus/io/seam/clock.cpp"))

    def test_orders_of_addresses_are_refused_in_the_simulation(self):
        self.assertTrue(problems("std::unordered_map<int, int> table;"))
        self.assertTrue(problems("std::map<Node*, int> table;"))
        self.assertEqual([], problems("std::unordered_map<int, int> table;", "horus/io/x.cpp"))
        self.assertEqual([], problems("std::map<std::string, Node*> table;"))

    def test_two_draws_in_one_statement(self):
        self.assertTrue(problems("f(random.below(2), random.below(3));"))
        self.assertTrue(problems("if (a) {\n  return random.next() +\n      random.next();\n}"))
        self.assertEqual([], problems("const auto a = random.next();\nconst auto b = random.next();"))

    def test_comments_and_strings_are_free(self):
        self.assertEqual([], problems('// steady_clock::now() is wrong here\nsay("rand()");'))


if __name__ == "__main__":
    unittest.main()
