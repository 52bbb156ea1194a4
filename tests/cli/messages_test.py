#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""messages_test.py HORUS: messages of recordings as JSON and tables, and what differs between two recordings."""

import csv
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

from mcap_file import Cdr, Channel, Message, write

HORUS = ""
HEADER = "builtin_interfaces/Time stamp\nstring frame_id\n"
SCAN = Channel("/scan", type="rover_msgs/msg/Scan",
               definition="std_msgs/Header header\nfloat32[] ranges\nuint8[] intensities\nPoint[2] corners\n"
               f"===\nMSG: std_msgs/Header\n{HEADER}===\nMSG: rover_msgs/Point\nfloat64 x\nbool good\n")
SPEED = Channel("/speed", type="std_msgs/msg/Float64", definition="float64 data # m/s\n")
STATUS = Channel("/status", encoding="json", type="Status", definition="{}", schema_encoding="jsonschema")


def scan(ranges: "list[float]", sec: int = 1, frame: str = "laser", x: float = 0.5, big: bool = False) -> bytes:
    cdr = Cdr(big).pack("i", sec).pack("I", 7).text(frame).list("f", ranges).list("B", [3, 255])
    return cdr.pack("d", x).pack("?", True).pack("d", -x).pack("?", False).bytes()


def speed(value: float) -> bytes:
    return Cdr().pack("d", value).bytes()


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def bag(self, *arguments: Any, code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run([HORUS, "bag", *map(str, arguments)], capture_output=True, text=True, check=False)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done

    def cat(self, *arguments: Any, code: int = 0) -> "list[Any]":
        return [json.loads(line) for line in self.bag("cat", *arguments, code=code).stdout.splitlines()]

    def table(self, text: str) -> "list[dict[str, str]]":
        return list(csv.DictReader(text.splitlines()))

    def file(self, *messages: Message, name: str = "run.mcap", channels: "list[Channel]" = []) -> Path:
        return write(self.folder / name, messages, channels)

    def drive(self, name: str = "run.mcap", values: "tuple[float, ...]" = (1.5, 2.5, 3.5), shift: int = 0) -> Path:
        messages = [Message(SPEED, 1000 + 10 * i + shift, speed(value)) for i, value in enumerate(values)]
        return self.file(*messages, Message(SCAN, 1100 + shift, scan([1, 2.5])), name=name)


class Cat(Case):
    def test_cdr_messages_are_json_whichever_end_comes_first(self) -> None:
        path = self.file(Message(SCAN, 10, scan([1, 2.5])), Message(SCAN, 20, scan([], big=True)))
        first, second = self.cat(path)
        self.assertEqual({"header": {"stamp": {"sec": 1, "nanosec": 7}, "frame_id": "laser"}, "ranges": [1, 2.5],
                          "intensities": [3, 255], "corners": [{"x": 0.5, "good": True}, {"x": -0.5, "good": False}]},
                         first["data"])
        self.assertEqual([], second["data"]["ranges"])
        self.assertEqual(("/scan", 10, 10), (first["topic"], first["log_ns"], first["publish_ns"]))

    def test_a_schema_that_is_not_understood_is_told_once_and_the_messages_are_bytes(self) -> None:
        broken = Channel("/broken", type="rover_msgs/msg/Broken", definition="float64 x\nfloat64 x\n")
        idl = Channel("/idl", type="rover_msgs/msg/Idl", definition="module {}", schema_encoding="ros2idl")
        bare = Channel("/bare")
        path = self.file(*(Message(channel, time, speed(1)) for time in (1, 2) for channel in (broken, idl, bare)))
        done = self.bag("cat", path)
        self.assertEqual(6, done.stdout.count('"hex": "00010000000000000000f03f"'))
        self.assertEqual([
            f"horus: {path}: /broken: the messages are shown as bytes: its schema rover_msgs/msg/Broken: line 2: there are "
            "two fields x",
            f"horus: {path}: /idl: the messages are shown as bytes: its schema rover_msgs/msg/Idl is in ros2idl, and only "
            "ros2msg is read",
            f"horus: {path}: /bare: the messages are shown as bytes: it has no schema"], done.stderr.splitlines())

    def test_messages_that_are_not_what_their_schema_says_are_told_with_the_place(self) -> None:
        path = self.file(*(Message(SPEED, time, speed(1)[:8]) for time in range(12)), Message(SPEED, 20, speed(2)))
        done = self.bag("cat", path, code=1)
        self.assertEqual(13, len(done.stdout.splitlines()))
        self.assertEqual(11, len(done.stderr.splitlines()))
        self.assertIn(f"{path}: /speed, the message of 0 ns: std_msgs/msg/Float64, byte 4, data: it ends here\n", done.stderr)
        self.assertIn("2 more messages are damaged", done.stderr)

    def test_a_topic_that_is_not_there_is_told_with_those_that_are(self) -> None:
        done = self.bag("cat", self.drive(), "-t", "/sped", code=2)
        self.assertIn("has no topic /sped (it has /scan, /speed)", done.stderr)


class Table(Case):
    def test_values_have_columns_of_their_paths(self) -> None:
        path = self.file(Message(SCAN, 5_000_000_000, scan([1, 2.5]), 4_999_999_999),
                         Message(SCAN, 6_500_000_001, scan([float("nan"), 3, 4], frame='a "b", c\n')))
        text = self.bag("cat", "--format", "csv", path).stdout
        names = text.split("\n")[0].split(",")
        self.assertEqual(["log_ns", "publish_ns", "seconds", "header.stamp.sec", "header.stamp.nanosec", "header.frame_id",
                          "ranges[0]", "ranges[1]", "ranges[2]", "intensities[0]", "intensities[1]", "corners[0].x",
                          "corners[0].good", "corners[1].x", "corners[1].good"], names)
        first, second = csv.DictReader(text.splitlines(keepends=True))
        self.assertEqual(["5000000000", "4999999999", "0.000000000", "1", "7", "laser", "1", "2.5", "", "3", "255", "0.5",
                          "true", "-0.5", "false"], list(first.values()))
        self.assertEqual(("1.500000001", "nan", "4", 'a "b", c\n'),
                         (second["seconds"], second["ranges[0]"], second["ranges[2]"], second["header.frame_id"]))

    def test_long_lists_are_one_column(self) -> None:
        path = self.file(Message(SCAN, 1, scan([1, 2])), Message(SCAN, 2, scan([1, 2, 3])))
        first, second = self.table(self.bag("cat", "--format", "csv", "--list-columns", "2", path).stdout)
        self.assertEqual(("[1,2]", "[1,2,3]", "255"), (first["ranges"], second["ranges"], second["intensities[1]"]))
        first, second = self.table(self.bag("cat", "--format", "csv", "--list-columns", "0", path).stdout)
        self.assertEqual('[{"x":0.5,"good":true},{"x":-0.5,"good":false}]', first["corners"])

    def test_json_whose_fields_come_and_go_has_columns_for_all(self) -> None:
        texts = ['{"a":1,"b":"x"}', '{"b":"=1","c":{"d":null}}', '{"c":{"d":true},"a":[5]}', "7", "1e999"]
        path = self.file(*(Message(STATUS, time, text.encode()) for time, text in enumerate(texts)))
        text = self.bag("cat", "--format", "csv", path).stdout
        self.assertEqual("log_ns,publish_ns,seconds,value,a,a[0],b,c.d\n"
                         "0,0,0.000000000,,1,,x,\n"
                         "1,1,0.000000001,,,,=1,\n"
                         "2,2,0.000000002,,,5,,true\n"
                         "3,3,0.000000003,7,,,,\n"
                         "4,4,0.000000004,,,,,\n", text)

    def test_a_table_is_of_one_topic(self) -> None:
        path = self.drive()
        done = self.bag("cat", "--format", "csv", path, code=2)
        self.assertIn("a table is of one topic, and 2 are chosen: choose one with -t\n  /scan\n  /speed\n", done.stderr)
        rows = self.table(self.bag("cat", "--format", "csv", path, "-t", "/speed", "--limit", "2").stdout)
        self.assertEqual(["1.5", "2.5"], [row["data"] for row in rows])

    def test_too_many_columns_are_an_error_that_says_what_to_do(self) -> None:
        text = json.dumps({"a": [[0] * 2048] * 33}).encode()
        done = self.bag("cat", "--format", "csv", self.file(Message(STATUS, 1, text)), code=1)
        self.assertIn("more than 65536 columns: --list-columns 0 puts each list into one", done.stderr)

    def test_messages_that_nobody_can_read_are_left_out_and_told(self) -> None:
        path = self.file(Message(SPEED, 1, speed(1)), Message(SPEED, 2, speed(1)[:9]), Message(SPEED, 3, speed(3)))
        done = self.bag("cat", "--format", "csv", path, code=1)
        self.assertEqual(["1", "3"], [row["data"] for row in self.table(done.stdout)])
        self.assertEqual(1, done.stderr.count("it ends here"))


class Convert(Case):
    def test_the_name_of_the_new_file_says_the_format(self) -> None:
        path = self.drive()
        for name in ("a.ndjson", "a.jsonl"):
            self.assertIn("4 messages of 2 topics", self.bag("convert", path, "-o", self.folder / name).stdout)
            self.assertEqual(self.bag("cat", path).stdout, (self.folder / name).read_text())
        self.bag("convert", path, "-o", self.folder / "a.csv", "-t", "/speed")
        self.assertEqual(["1.5", "2.5", "3.5"], [row["data"] for row in self.table((self.folder / "a.csv").read_text())])
        self.bag("convert", path, "-o", self.folder / "a.txt", "--format", "ndjson", "--regex", "sp")
        self.assertEqual(3, len((self.folder / "a.txt").read_text().splitlines()))
        self.bag("convert", path, "-o", self.folder / "a", "-t", "/speed")
        self.assertEqual(3, len(self.cat(self.folder / "a")))

    def test_nothing_is_written_over_without_leave_and_a_failure_leaves_no_file(self) -> None:
        path, out = self.drive(), self.folder / "out.csv"
        self.bag("convert", path, "-o", out, code=2)
        self.assertFalse(out.exists())
        out.write_text("mine")
        self.assertIn("--overwrite replaces it", self.bag("convert", path, "-o", out, "-t", "/speed", code=1).stderr)
        self.assertEqual("mine", out.read_text())
        self.bag("convert", path, "-o", out, "-t", "/speed", "--overwrite")
        self.assertEqual(3, len(self.table(out.read_text())))
        done = self.bag("convert", path, "-o", f"{self.folder}/./run.mcap", "--format", "ndjson", "--overwrite", code=1)
        self.assertIn("it is the file that is read", done.stderr)
        self.bag("convert", path, "-o", self.folder, "--format", "ndjson", code=1)
        self.bag("convert", path, "-o", self.folder / "none" / "x.csv", "-t", "/speed", code=1)
        self.bag("convert", path, "-o", self.folder / "x", "--format", "xlsx", code=2)
        done = self.bag("convert", path, "-o", self.folder / "x.csv", "-t", "/speed", "--level", "3", code=2)
        self.assertIn("--level: that is for --format mcap", done.stderr)
        deep = self.file(Message(STATUS, 1, json.dumps({"a": [[0] * 2048] * 33}).encode()), name="deep.mcap")
        self.bag("convert", deep, "-o", self.folder / "deep.csv", code=1)
        self.assertFalse((self.folder / "deep.csv").exists())


class Diff(Case):
    def test_equal_recordings(self) -> None:
        a, b = self.drive("a.mcap"), self.drive("b.mcap")
        self.assertEqual("equal: 4 messages of 2 topics\n", self.bag("diff", a, b).stdout)
        packed = self.folder / "c.mcap"
        self.bag("convert", a, "-o", packed, "--compression", "zstd")
        self.bag("diff", a, packed)

    def test_a_difference_names_topic_index_time_field_and_both_values(self) -> None:
        a, b = self.drive("a.mcap"), self.drive("b.mcap", (1.5, 2.25, 3.5))
        self.assertEqual(f"/speed #1 at 0.000000 s: data is 2.5, and 2.25 in {b}\n", self.bag("diff", a, b, code=1).stdout)
        found = json.loads(self.bag("diff", "--json", a, b, code=1).stdout)
        self.assertEqual([{"topic": "/speed", "index": 1, "log_ns": 1010, "publish_ns": 1010, "path": "data", "a": 2.5,
                           "b": 2.25, "values": 1}], found["differences"])
        self.assertEqual((False, 2, 4, False), (found["equal"], found["topics"], found["messages"], found["stopped"]))

    def test_lists_and_fields_of_structs(self) -> None:
        a = self.file(Message(SCAN, 1, scan([1, 2])), Message(SCAN, 2, scan([1])), name="a.mcap")
        b = self.file(Message(SCAN, 1, scan([1, 3], x=9)), Message(SCAN, 2, scan([1, 4])), name="b.mcap")
        self.assertEqual(f"/scan #0 at 0.000000 s: ranges[1] is 2, and 3 in {b} (2 more values)\n"
                         f"/scan #1 at 0.000000 s: ranges[1] is missing, and 4 in {b}\n",
                         self.bag("diff", a, b, code=1).stdout)

    def test_topics_and_counts(self) -> None:
        a = self.drive("a.mcap")
        b = self.file(Message(SPEED, 1000, speed(1.5)), Message(STATUS, 1, b"{}"), name="b.mcap")
        self.assertEqual(f"only in {a}: /scan (1 messages)\nonly in {b}: /status (1 messages)\n"
                         f"/speed: 3 messages, and 1 in {b}\n", self.bag("diff", a, b, code=1).stdout)
        self.bag("diff", a, self.drive("c.mcap", (1.5, 2.5, 9)), "-t", "/scan")
        self.bag("diff", a, b, "--regex", "nothing")
        found = json.loads(self.bag("diff", "--json", a, b, code=1).stdout)
        self.assertEqual([{"topic": "/speed", "a": 3, "b": 1}], found["counts"])
        self.assertEqual([{"topic": "/status", "messages": 1}], found["only_in_b"])

    def test_times_and_fields_may_be_ignored_and_numbers_may_be_near(self) -> None:
        a, late = self.drive("a.mcap"), self.drive("late.mcap", shift=5)
        self.assertIn("publish_ns is 1000, and 1005", self.bag("diff", a, late, code=1).stdout)
        self.bag("diff", a, late, "--ignore-times")
        near = self.drive("near.mcap", (1.5, 2.5001, 3.5))
        self.bag("diff", a, near, code=1)
        self.bag("diff", a, near, "--tolerance", "0.001")
        self.bag("diff", a, near, "--ignore-field", "^data$")
        one = self.file(Message(SCAN, 1, scan([1], sec=3)), name="one.mcap")
        two = self.file(Message(SCAN, 1, scan([1], sec=4)), name="two.mcap")
        self.bag("diff", one, two, code=1)
        self.bag("diff", one, two, "--ignore-field", r"header\.stamp")

    def test_the_number_of_differences_has_a_limit(self) -> None:
        a, b = self.drive("a.mcap", tuple(range(30))), self.drive("b.mcap", tuple(range(50, 80)))
        self.assertEqual(10, self.bag("diff", a, b, code=1).stdout.count("#"))
        done = self.bag("diff", a, b, "--limit", "2", code=1)
        self.assertIn("further messages were not compared, only counted: 2 differences are the limit (--limit)", done.stdout)
        self.bag("diff", a, b, "--limit", "0", code=2)

    def test_bytes_that_nobody_can_read_and_types_that_differ(self) -> None:
        raw = Channel("/raw", encoding="x")
        a = self.file(Message(raw, 1, b"abc"), name="a.mcap")
        b = self.file(Message(raw, 1, b"abd"), name="b.mcap")
        self.assertIn("byte 2 is 99, and 100", self.bag("diff", a, b, code=1).stdout)
        a = self.file(Message(SPEED, 1, speed(1)), name="a.mcap")
        b = self.file(Message(SPEED._replace(type="rover_msgs/msg/Speed", definition="float32 pad\nfloat32 data"), 1, speed(1)),
                      name="b.mcap")
        text = self.bag("diff", a, b, code=1).stdout
        self.assertIn("/speed: std_msgs/msg/Float64 (cdr, ros2msg), and rover_msgs/msg/Speed (cdr, ros2msg)", text)

    def test_what_cannot_be_read_is_exit_code_2(self) -> None:
        a = self.drive("a.mcap")
        empty, text = self.folder / "empty.mcap", self.folder / "text.mcap"
        empty.write_bytes(b"")
        text.write_text("no recording")
        for other in (self.folder / "none", self.folder, empty, text):
            self.assertTrue(self.bag("diff", a, other, code=2).stderr)
        self.bag("diff", a, code=2)
        self.bag("diff", a, a, a, code=2)
        self.bag("diff", a, a, "--tolerance", "-1", code=2)
        self.bag("diff", a, a, "--ignore-field", "(", code=2)
        self.assertIn("nor has", self.bag("diff", a, a, "-t", "/none", code=2).stderr)


if __name__ == "__main__":
    HORUS = sys.argv.pop(1)
    unittest.main()
