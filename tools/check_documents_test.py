#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What check_documents.py refuses, and what it must leave alone."""

import pathlib
import tempfile
import unittest

from check_documents import broken_links, constant, far_answers, missing_files, wrong_limits


class CheckDocuments(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("horus/io/file.hpp", "inline constexpr std::size_t kLineLimit = std::size_t{64} << 10;  // bytes\n")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def limits(self, row):
        head = "| limit | value | declared as | at the limit | change it with |\n|---|---|---|---|---|\n"
        self.write("docs/limits.md", head + row)
        return list(wrong_limits(self.root))

    def test_a_number_that_is_the_source_s_is_left_alone(self):
        self.assertEqual([], self.limits("| a line | 64 KiB | `kLineLimit` in `io/file.hpp` | EMSGSIZE | |\n"))

    def test_another_number_name_or_file_is_refused(self):
        self.assertIn("is 65536", self.limits("| a line | 63 KiB | `kLineLimit` in `io/file.hpp` | | |\n")[0])
        self.assertIn("is 65536", self.limits("| a line | 64 MiB | `kLineLimit` in `io/file.hpp` | | |\n")[0])
        self.assertIn("no value", self.limits("| a line | 64 KiB | `kLine` in `io/file.hpp` | | |\n")[0])
        self.assertIn("no value", self.limits("| a line | 64 KiB | `kLineLimit` in `io/files.hpp` | | |\n")[0])
        self.assertIn("a row is", self.limits("| a line | many | `kLineLimit` in `io/file.hpp` | | |\n")[0])

    def test_values_as_sources_write_them(self):
        for text, value in (
            ("std::uint32_t depth =\n      16;  ///< messages", 16),
            ("static constexpr double kMost = 100'000;", 100000),
            ("static constexpr Duration kMost{std::chrono::seconds(10)};", 10**10),
            ("Duration kMost = std::chrono::milliseconds(20);", 20 * 10**6),
            ("constexpr std::size_t kMost = std::size_t{64}\n    << 20;", 64 << 20),
            ("constexpr std::uint32_t kMost = 1U << 20;", 1 << 20),
            ("constexpr int kMost = other();", None),
            ("constexpr int kMostElse = 3;", None),
        ):
            self.assertEqual(value, constant(text, "depth" if "depth" in text else "kMost"), text)

    def test_links_lead_to_files_and_headings(self):
        links = "[x](b.md#two-words) [y](#one-thing-and-another) [z](https://x.y/#q)\n"
        self.write("docs/a.md", "# One thing, and `another`\n" + links)
        self.write("docs/b.md", "# B\n\n## Two words\n")
        self.assertEqual([], list(broken_links(self.root)))
        self.write("docs/a.md", "[x](b.md#two) [y](c.md)\n")
        self.assertEqual(2, len(list(broken_links(self.root))))

    def test_answers_are_two_steps_from_the_readme(self):
        self.write("README.md", "[guide](docs/guide.md)\n")
        answers = "[a](docs/guide.md#a) [b](docs/hidden.md) [c](README.md)\n"
        self.write("CONTRIBUTING.md", "[x](docs/x.md)\n## Questions of newcomers\n" + answers)
        wanted = "CONTRIBUTING.md: docs/hidden.md is more than two steps from the README"
        self.assertEqual([wanted], list(far_answers(self.root)))

    def test_the_glossary_s_files_exist(self):
        self.write("docs/glossary.md", "| line | of a file | `io/file.hpp` |\n| x | y | `io/gone.hpp` |\n")
        self.assertEqual(["docs/glossary.md: there is no horus/io/gone.hpp"], list(missing_files(self.root)))


if __name__ == "__main__":
    unittest.main()
