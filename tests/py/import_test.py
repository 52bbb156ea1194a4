# SPDX-License-Identifier: Apache-2.0
"""Where `import horus` finds the package: never the folder of the C++ sources."""

import os
import subprocess
import sys
import unittest

ROOT = os.environ["HORUS_SOURCE_ROOT"]
PACKAGE = os.environ["PYTHONPATH"].split(os.pathsep)[0]


def from_the_root(code, path):
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


class Import(unittest.TestCase):
    def test_in_the_root_of_the_repository_the_built_package_is_found(self):
        done = from_the_root("import horus; print(horus.Node, horus.__file__)", PACKAGE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(PACKAGE, done.stdout)

    def test_without_a_package_the_error_says_what_to_do(self):
        hide_installed = "import sys; sys.path = [p for p in sys.path if 'packages' not in p]\n"
        done = from_the_root(hide_installed + "import horus", "")
        self.assertRegex(
            done.stderr,
            "ImportError: .* holds C\\+\\+ sources, not the Python package.*PYTHONPATH=",
        )

    def test_the_package_says_its_version(self):
        done = from_the_root("import horus; print(horus.__version__)", PACKAGE)
        self.assertRegex(done.stdout, r"^\d+\.\d+\.\d+$")


if __name__ == "__main__":
    unittest.main()
