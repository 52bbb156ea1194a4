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

    def test_a_subinterpreter_is_refused_and_the_main_one_goes_on(self):
        try:
            import _xxsubinterpreters  # noqa: F401
        except ImportError:
            self.skipTest("this Python has no subinterpreters to be tried with")
        code = (
            "import sys, _xxsubinterpreters as interpreters\n"
            "{before}\n"
            "other = interpreters.create()\n"
            "try: interpreters.run_string(other, f'import sys; sys.path[:0] = {{sys.path}}\\nimport horus')\n"
            "except BaseException as error: print(error)\n"
            "interpreters.destroy(other)\n"
            "import asyncio, horus\n"
            "print(horus.run(asyncio.sleep(0, 'alive')))\n"
        )
        for before in ("", "import horus"):
            done = from_the_root(code.format(before=before), PACKAGE)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, "ImportError.*subinterpreter(.*\n)+alive\n")

    def test_a_module_that_is_forgotten_and_imported_again_is_the_same(self):
        code = (
            "import sys, horus\n"
            "first = sys.modules['horus._core']\n"
            "for name in [name for name in sys.modules if name.startswith('horus')]: del sys.modules[name]\n"
            "import asyncio, horus\n"
            "assert sys.modules['horus._core'] is first\n"
            "print(horus.run(asyncio.sleep(0, 'alive')))\n"
        )
        done = from_the_root(code, PACKAGE)
        self.assertEqual((done.returncode, done.stdout), (0, "alive\n"), done.stderr)

    def test_the_package_says_its_version(self):
        done = from_the_root("import horus; print(horus.__version__)", PACKAGE)
        self.assertRegex(done.stdout, r"^\d+\.\d+\.\d+$")


if __name__ == "__main__":
    unittest.main()
