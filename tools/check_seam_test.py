#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of tools/check_seam.py."""

import unittest

from check_seam import check_text


def problems(text, name="horus/msg/x.cpp"):
    return list(check_text(name, text))


class CheckSeam(unittest.TestCase):
    def test_an_entry_is_filled_in_its_home_alone(self):
        self.assertTrue(problems("entry.opcode = IORING_OP_READ;", "horus/io/file/file.cpp"))
        self.assertTrue(problems("real_entry->opcode = opcode;", "horus/io/file/file.cpp"))
        self.assertEqual([], problems("entry.opcode = Opcode;", "horus/io/seam/entry.hpp"))
        self.assertEqual([], problems("if (entry.opcode == IORING_OP_READ) return;", "horus/io/file/file.cpp"))
        self.assertEqual([], problems("operation.opcode = entry.opcode;", "horus/sim/kernel/seam_checks.cpp"))

    def test_a_system_call_needs_a_reason(self):
        self.assertTrue(problems("const int fd = ::open(path, O_RDONLY);"))
        self.assertTrue(problems("return ::getpid() == owner;"))
        self.assertEqual([], problems("return ::close(fd);", "horus/io/seam/system.cpp"))
        self.assertEqual([], problems("return ::fcntl(1, F_GETFD);", "horus/base/log.cpp"))

    def test_what_only_looks_like_one_is_free(self):
        self.assertEqual([], problems("system.open(path); io::close(fd); Pool::read(x); std::rename(a, b);"))
        self.assertEqual([], problems('// ::open(2) waits\nsay("::read(fd)");'))


if __name__ == "__main__":
    unittest.main()
