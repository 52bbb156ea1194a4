#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What check_commands.py refuses, in a tree of its own."""

import pathlib
import tempfile
import unittest

from check_commands import find_faults

SCRIPT = """usage() {
  cat <<'EOF'
usage: ./dev COMMAND

  build [ARGS]    build everything
  soak            kill things
  help            this text

Environment:
  CXX             a compiler
EOF
}
command_build() { :; }
%s
usage
"""


class CheckCommands(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("command_soak() { :; }", "`./dev build` and ./dev soak; `./dev` alone; build/./dev nothing")

    def write(self, more, readme):
        (self.root / "dev").write_text(SCRIPT % more)
        (self.root / "README.md").write_text(readme)

    def test_what_agrees_is_left_alone(self):
        self.assertEqual([], find_faults(self.root))

    def test_a_listed_command_must_run(self):
        self.write("", "")
        self.assertEqual(["./dev help lists soak, and nothing runs it"], find_faults(self.root))

    def test_what_runs_must_be_listed(self):
        self.write("command_soak() { :; }\ncommand_secret() { :; }", "")
        self.assertEqual(["./dev runs secret, and ./dev help does not list it"], find_faults(self.root))

    def test_documents_name_commands_that_exist(self):
        self.write("command_soak() { :; }", "run\n./dev sock 100\n")
        self.assertIn("README.md:2: ./dev sock", find_faults(self.root)[0])

    def test_sources_name_commands_that_exist(self):
        (self.root / "horus").mkdir()
        (self.root / "horus" / "a.hpp").write_text("// many more with ./dev crush.\n")
        self.assertIn("horus/a.hpp:1: ./dev crush", find_faults(self.root)[0])


if __name__ == "__main__":
    unittest.main()
