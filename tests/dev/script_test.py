# SPDX-License-Identifier: Apache-2.0
"""./dev: whatever ran before, each command gets all that it promises."""

import shutil
import unittest

from machine import ROOT, Machine

ORDERS = ("demo test build python", "python build test demo", "demo python test build", "test python demo build")
EVERYTHING = {"tests", "python_module", "cli", "yaml"}


class Script(unittest.TestCase):
    def machine(self, *packages):
        machine = Machine(packages)
        self.addCleanup(machine.close)
        return machine

    def run_well(self, machine, *arguments, **environment):
        process = machine.dev(*arguments, **environment)
        self.assertEqual(0, process.returncode, process.stdout)
        return process.stdout

    def check(self, machine, command):
        if command == "demo":
            self.assertIn("ran rover", self.run_well(machine, "demo"))
        elif command == "test":
            tested = set(self.run_well(machine, "test").split("tests of")[1].split())
            self.assertLessEqual(EVERYTHING, tested)
        elif command == "build":
            self.run_well(machine, "build")
            self.assertLessEqual(EVERYTHING | {"benchmarks"}, set((machine.tree / "build/build.ninja").read_text().split()))
        elif command == "python":
            self.assertIn("42", self.run_well(machine, "python", "-c", "print(42)"))

    def test_in_any_order_each_command_runs_everything(self):
        for order in ORDERS:
            with self.subTest(order=order):
                machine = self.machine()
                for command in order.split():
                    self.check(machine, command)

    def test_the_demo_alone_installs_no_more_than_it_needs(self):
        machine = self.machine()
        self.check(machine, "demo")
        self.assertLess(len(machine.installed()), 16)
        self.assertNotIn("libmsgpack-cxx-dev", machine.installed())
        self.assertNotIn("doctest-dev", machine.installed())

    def test_the_library_is_installed_where_debian_looks_for_libraries(self):
        machine = self.machine()
        self.run_well(machine, "install", str(machine.path / "prefix"))
        options = next(call for call in machine.calls("meson") if call[1] == "setup")
        self.assertIn("--libdir=lib/played-linux-gnu", options)
        self.assertIn(f"--prefix={machine.path / 'prefix'}", options)

    def test_simulations_and_soak_have_their_tests_whatever_ran_before(self):
        for command, program in (("sim", "small_campaign"), ("soak", "kill_soak")):
            machine = self.machine()
            self.check(machine, "demo")
            self.assertIn(f"ran {program}", self.run_well(machine, command))

    def test_one_example_needs_no_more_than_the_demo(self):
        machine = self.machine()
        (machine.tree / "examples" / "timers").mkdir()
        (machine.tree / "examples" / "timers" / "timers.cpp").touch()
        self.assertIn("ran timers once", self.run_well(machine, "example", "timers", "once"))
        self.assertLess(len(machine.installed()), 16)
        self.assertNotIn("libbenchmark-dev", machine.installed())
        process = machine.dev("example", "timer")
        self.assertNotEqual(0, process.returncode)
        self.assertIn("there is no timer; there are: rover timers", process.stdout)

    def test_a_second_call_does_not_configure_again(self):
        machine = self.machine()
        self.check(machine, "test")
        configured = len(machine.calls("meson"))
        self.check(machine, "test")
        self.assertEqual(configured + 1, len(machine.calls("meson")))  # the tests themselves

    def test_a_package_that_cannot_be_had_is_an_error_with_its_name(self):
        machine = self.machine()
        self.check(machine, "test")
        machine.remove("libmsgpack-cxx-dev")
        (machine.path / "no-network").touch()
        process = machine.dev("test")
        self.assertNotEqual(0, process.returncode)
        self.assertIn("could not install: libmsgpack-cxx-dev", process.stdout)

    def test_what_meson_lacks_without_apt_is_an_error_with_its_name(self):
        machine = self.machine("libcli11-dev", "libyaml-cpp-dev")
        (machine.path / "bin" / "dpkg-query").unlink()
        process = machine.dev("test", PATH=f"{machine.path / 'bin'}:{self.plain_path(machine)}")
        self.assertNotEqual(0, process.returncode)
        self.assertIn("msgpack.hpp", process.stdout)

    def test_after_a_first_configuring_that_failed_the_next_one_starts_afresh(self):
        machine = self.machine("libcli11-dev", "libyaml-cpp-dev")
        query = machine.path / "bin" / "dpkg-query"
        query.rename(query.with_name("hidden"))
        self.assertNotEqual(0, machine.dev("test", PATH=f"{machine.path / 'bin'}:{self.plain_path(machine)}").returncode)
        query.with_name("hidden").rename(query)
        self.check(machine, "test")

    def test_meson_asks_for_headers_of_packages_anew_each_time(self):
        """Meson keeps what cpp.has_header() has not found, also when it is told to clear its cache."""
        folders = ("horus", "tests", "examples", "benchmarks")
        files = [path for folder in folders for path in (ROOT / folder).rglob("meson.build")]
        for path in (ROOT / "meson.build", *files):
            for line in path.read_text(encoding="utf-8").splitlines():
                self.assertNotRegex(line.split("#")[0], r"\.(has_header|check_header|find_library)\(", str(path))

    def plain_path(self, machine):
        """A path without Debian's tools: links to the few programs that the script needs."""
        folder = machine.path / "plain"
        folder.mkdir()
        for name in ("bash", "sh", "env", "dirname", "basename", "find", "sort", "cksum", "tr", "cat", "sed", "mkdir",
                     "xargs", "grep", "awk", "stat", "sleep"):
            (folder / name).symlink_to(shutil.which(name))
        return folder

    def test_apt_is_told_to_wait_for_its_lock(self):
        machine = self.machine()
        self.check(machine, "demo")
        installs = [call for call in machine.calls("apt-get") if "install" in call]
        self.assertTrue(installs)
        for call in installs:
            self.assertTrue(any(word.startswith("DPkg::Lock::Timeout=") for word in call), call)

    def test_sanitizer_builds_are_not_asked_for_a_module_that_python_could_not_load(self):
        machine = self.machine()
        output = self.run_well(machine, "test", HORUS_SANITIZE="thread")
        self.assertIn("tests of", output)
        options = next(call for call in machine.calls("meson") if call[1] == "setup")
        self.assertNotIn("-Dpython_module=enabled", options)
        self.assertIn("-Dcli=enabled", options)

    def test_a_build_for_address_sanitizer_promises_the_module(self):
        machine = self.machine()
        self.run_well(machine, "test", HORUS_SANITIZE="address,undefined")
        options = next(call for call in machine.calls("meson") if call[1] == "setup")
        self.assertIn("-Dpython_module=enabled", options)

    def test_an_unknown_command_is_refused_with_the_list(self):
        process = self.machine().dev("sock")
        self.assertEqual(2, process.returncode)
        self.assertIn("unknown command: sock", process.stdout)
        self.assertIn("soak", process.stdout)


if __name__ == "__main__":
    unittest.main()
