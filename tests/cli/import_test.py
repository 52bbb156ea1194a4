#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""import_test.py HORUS: what `horus msg import` says about definitions that no struct can hold, and about wrong arguments.

import_test.cpp compiles what it writes."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

HORUS = ""


class Import(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, text: str, type: str = "rover_msgs/Drive") -> Path:
        package, name = type.split("/")
        path = self.folder / package / "msg" / f"{name}.msg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run_import(self, *arguments: Any, code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run([HORUS, "msg", "import", *map(str, arguments)], capture_output=True, text=True, check=False)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done

    def says(self, text: str, definition: str, *arguments: Any, code: int = 1) -> None:
        self.assertIn(text, self.run_import(self.file(definition), *arguments, code=code).stderr)

    def test_constants_before_their_field_are_an_enumeration(self) -> None:
        text = self.run_import(self.file("int8 MODE_NO_FIX=-1\nint8 MODE_FIX=0\nint8 mode -1\nuint8 kind\n")).stdout
        self.assertIn("enum class Mode : std::int8_t { no_fix = -1, fix = 0 };\n  Mode mode = Mode::no_fix;\n", text)
        self.assertIn("HORUS_ENUM(Drive::Mode, no_fix, fix);\nHORUS_MESSAGE(Drive, mode, kind);\n", text)
        self.assertIn("namespace rover_msgs {", text)

    def test_the_only_list_without_a_bound_is_the_tail(self) -> None:
        path = self.file("int8 a\nfloat32[] ranges\nint8 b\n")
        text = self.run_import(path).stdout
        self.assertIn("using Tail = float;", text)
        self.assertIn('about.tail("ranges", "", "after a");', text)
        path = self.file("int8 a\nfloat32[] first\nfloat32[] second\n")
        done = self.run_import(path, "--max", "7")
        self.assertIn("horus::Sequence<float, 7> first;  // without a bound in ROS", done.stdout)
        self.assertIn("note: rover_msgs/msg/Drive: second has no bound in ROS, and at most 7 values here (--max)", done.stderr)
        text = self.run_import(path, "--tail", "second").stdout
        self.assertIn("horus::Sequence<float, 16> first;", text)
        self.assertIn('about.tail("second");', text)
        self.assertIn("no message has a list third", self.run_import(path, "--tail", "third", code=1).stderr)

    def test_nested_types_are_found_beside_and_in_given_folders(self) -> None:
        path = self.file("Wheel wheel\nother_msgs/Tool tool\nstd_msgs/Header header\nlib_msgs/Far far\n")
        self.file("float64 speed\n", "rover_msgs/Wheel")
        self.file("int8 x\n", "other_msgs/Tool")
        self.assertIn("there is no definition of lib_msgs/msg/Far (-I FOLDER names a folder with packages",
                      self.run_import(path, code=1).stderr)
        far = self.folder / "share" / "lib_msgs" / "msg"
        far.mkdir(parents=True)
        (far / "Far.msg").write_text("int8 y\n")
        done = self.run_import(path, "-I", self.folder / "share", "--namespace", "site")
        for line in ("  Wheel wheel;", "  Tool tool;", "  horus::messages::Header header;", "  Far far;"):
            self.assertIn(line + "\n", done.stdout)
        self.assertEqual("", done.stderr)

    def test_what_no_struct_can_hold_is_an_error_with_line_and_reason(self) -> None:
        self.says("rover_msgs/msg/Drive, line 2: name is a wstring, which no struct can hold: use string",
                  "int8 a\nwstring name\n")
        self.says("65 fields, and HORUS_MESSAGE takes at most 64", "".join(f"int8 x{i}\n" for i in range(65)))
        self.says("line 1: ROS 2 has no field frameId", "int8 frameId\n")
        self.says("line 1: 300 is no value of uint8 a", "uint8 a 300\n")
        self.says("line 4: 1.5 is no value of int8 A", "\nint8 a\nint8 A=1.5\nint8 b\n")
        self.says("the preset of name has 4 bytes, and there is room for 3 (--text)", 'string name "four"\n', "--text", "4")
        self.says("line 2: there are two fields a", "int8 a\nint8 a\n")
        self.says("contains itself", "Drive again\n")
        self.file("int8 x\n", "other_msgs/Drive")
        self.says("would be one struct in namespace site: leave out --namespace", "other_msgs/Drive other\n",
                  "--namespace", "site")

    def test_what_differs_for_ros_is_told(self) -> None:
        done = self.run_import(self.file("string<=5 name\nint8[<=3] few\nuint8 DRILL=1\nuint8 HAND=2\nuint8 kind\nint8 last\n"))
        self.assertIn("name has a bound in ROS, which the struct's own definition does not tell: the hashes", done.stderr)
        self.assertIn("DRILL and 1 more are constants of C++ alone", done.stderr)
        self.assertIn("horus::Text<5> name;", done.stdout)
        self.assertIn("static constexpr std::uint8_t HAND = 2;", done.stdout)

    def test_wrong_arguments(self) -> None:
        path = self.file("int8 a\n")
        out = self.folder / "drive.hpp"
        self.assertIn("no such file", self.run_import(self.folder / "none.msg", code=1).stderr)
        self.assertIn("is a directory", self.run_import(self.folder, code=1).stderr)
        self.assertIn("a file of one message is expected", self.run_import(__file__, code=2).stderr)
        lonely = self.folder / "Lonely.msg"
        lonely.write_text("int8 a\n")
        self.assertIn("which package is it of? --package NAME says so", self.run_import(lonely, code=2).stderr)
        self.assertIn("namespace rover_msgs", self.run_import(lonely, "--package", "rover_msgs").stdout)
        self.run_import(lonely, "--package", "Rover", code=2)
        self.run_import(path, "--namespace", "a::2b", code=2)
        self.run_import(path, "--max", "0", code=2)
        self.run_import(code=2)
        out.write_text("mine")
        self.assertIn("--overwrite replaces it", self.run_import(path, "-o", out, code=1).stderr)
        self.assertEqual("mine", out.read_text())
        self.run_import(path, "-o", out, "--overwrite")
        self.assertIn("struct Drive", out.read_text())
        self.run_import(path, "-o", self.folder / "no" / "x.hpp", code=1)
        binary = self.file("")
        binary.write_bytes(bytes(range(256)))
        self.run_import(binary, code=1)


if __name__ == "__main__":
    HORUS = sys.argv.pop(1)
    unittest.main()
