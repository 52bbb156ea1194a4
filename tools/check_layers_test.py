#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What check_layers.py refuses, and what it must leave alone."""

import pathlib
import tempfile
import unittest

from check_layers import BELOW, OUTSIDE_THE_LIBRARY, ROOMS, check_cmake, check_namespace, check_text, check_tree, parts_of


def problems(layer, line, room=None):
    return list(check_text(layer, "x.hpp", line, room, lambda header: header.split("/")[0]))


def write(root, name, text=""):
    path = root / "horus" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


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

    def test_the_library_opens_its_namespace_with_the_version_of_its_interface(self):
        for versioned in ("namespace horus::HORUS_ABI {", "namespace horus::HORUS_ABI::io::detail {", "namespace {",
                          "using namespace horus::literals;", "namespace CLI {"):
            self.assertEqual([], list(check_namespace("io", "x.hpp", versioned)))
        for plain in ("namespace horus {", "namespace horus::io::detail {", "namespace horus::HORUS_ABIX {"):
            self.assertIn("x.hpp:2: write namespace horus::HORUS_ABI", *check_namespace("io", "x.hpp", "\n" + plain))
        self.assertEqual([], list(check_namespace("cli", "x.hpp", "namespace horus::cli {")))

    def test_neither_quotes_nor_the_umbrella(self):
        self.assertTrue(problems("io", '#include "reactor.hpp"'))
        self.assertTrue(problems("io", "#include <horus/horus.hpp>"))

    def test_a_room_may_use_the_rooms_below_it_and_no_others(self):
        self.assertEqual([], problems("io", "#include <horus/io/seam/ring.hpp>", "loop"))
        self.assertEqual([], problems("io", "#include <horus/io/loop/closer.hpp>", "loop"))
        upward = problems("io", "#include <horus/io/loop/closer.hpp>", "seam")
        self.assertIn("io/seam includes horus/io/loop/closer.hpp", upward[0])

    def test_a_public_header_belongs_to_the_room_of_its_source(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            write(root, "io/tcp.hpp")
            write(root, "io/stream/tcp.cpp", "#include <horus/io/tcp.hpp>\n")
            self.assertEqual([], list(check_tree(root)))
            write(root, "io/seam/ring.hpp", "#include <horus/io/tcp.hpp>\n")
            self.assertIn("of io/stream, which is above it", next(check_tree(root)))

    def test_a_file_lies_in_a_room(self):
        with tempfile.TemporaryDirectory() as folder:
            write(pathlib.Path(folder), "io/stray.cpp")
            self.assertIn("no room", next(check_tree(pathlib.Path(folder))))

    def test_a_room_has_few_parts_and_a_part_may_have_several_files(self):
        self.assertEqual({"ring", "tcp"}, parts_of({"ring", "tcp", "tcp_connect", "tcp_connect_late"}))
        with tempfile.TemporaryDirectory() as folder:
            for i in range(17):
                write(pathlib.Path(folder), f"io/{ROOMS['io'][0]}/part{i}.hpp")
            self.assertIn("17 parts", next(check_tree(pathlib.Path(folder))))

    def test_cmake_has_every_layer_of_the_library(self):
        layers = " ".join(set(BELOW) - OUTSIDE_THE_LIBRARY)
        self.assertEqual([], list(check_cmake(f"foreach(layer {layers})")))
        self.assertIn("sched", next(check_cmake(f"foreach(layer {layers.replace('sched', '')})")))
        self.assertTrue(list(check_cmake("")))

    def test_no_layer_is_below_itself(self):
        for layer, below in BELOW.items():
            self.assertNotIn(layer, below)
            for other in below:
                self.assertNotIn(layer, BELOW[other])


if __name__ == "__main__":
    unittest.main()
