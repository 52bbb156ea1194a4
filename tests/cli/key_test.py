#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""key_test.py HORUS: `horus key` makes files that hubs take (tests/msg/tcp_tls_test.cpp reads the same form)."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

HORUS = ""
LIMIT_S = 20


class Key(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def key(self, *arguments, code=0):
        done = subprocess.run([HORUS, "key", *map(str, arguments)], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, cwd=self.folder, timeout=LIMIT_S)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done

    def test_a_shared_key_is_a_secret_of_its_own(self):
        self.key("new", "one.key")
        self.key("new", "other.key", "--identity", "lab")
        one, other = ((self.folder / name).read_text() for name in ("one.key", "other.key"))
        self.assertRegex(one, r"(?m)^fleet [0-9a-f]{64}$")
        self.assertRegex(other, r"(?m)^lab [0-9a-f]{64}$")
        self.assertNotEqual(re.findall("[0-9a-f]{64}", one), re.findall("[0-9a-f]{64}", other))
        self.assertEqual(0o600, (self.folder / "one.key").stat().st_mode & 0o777)

    def test_nothing_is_replaced(self):
        self.key("new", "fleet.key")
        before = (self.folder / "fleet.key").read_text()
        self.assertIn("nothing is replaced", self.key("new", "fleet.key", code=1).stderr)
        self.assertEqual(before, (self.folder / "fleet.key").read_text())

    def test_an_authority_signs_a_certificate(self):
        self.key("certificate", "fleet", "--as-authority", "-o", "ca", "--days", "30")
        self.key("certificate", "rover", "10.0.0.7", "--authority", "ca.pem", "--authority-key", "ca.key")
        told = self.key("show", "rover.pem").stdout
        self.assertRegex(told, r"names +rover, 10\.0\.0\.7\n")
        self.assertRegex(told, r"signed by +fleet\n")
        self.assertIn("a peer's own", told)
        self.assertIn("signs other certificates", self.key("show", "ca.pem").stdout)
        self.assertEqual(0o600, (self.folder / "rover.key").stat().st_mode & 0o777)

    def test_mistakes_are_told(self):
        for code, text, arguments in [
            (2, "one word", ["new", "a.key", "--identity", "two words"]),
            (2, "--authority-key", ["certificate", "rover", "--authority", "ca.pem"]),
            (1, "no such file", ["certificate", "rover", "--authority", "ca.pem", "--authority-key", "ca.key"]),
            (1, "no such file", ["show", "none.pem"]),
            (1, "no such file", ["new", "folder/a.key"]),
            (2, "range", ["certificate", "rover", "--days", "0"]),
        ]:
            with self.subTest(arguments=arguments):
                self.assertIn(text, self.key(*arguments, code=code).stderr)
        self.assertEqual([], list(self.folder.iterdir()))


if __name__ == "__main__":
    HORUS = str(pathlib.Path(sys.argv.pop(1)).resolve())  # the tests run it in folders of their own
    unittest.main()
