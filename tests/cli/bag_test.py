#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bag_test.py HORUS SEEDS: `horus bag` on the small recordings of tests/fuzz/corpus/bag."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HORUS = ""
SEEDS = pathlib.Path()
MAGIC = b"\x89MCAP0\r\n"
TOPICS = ["/b", "/a", "/b", "/a", "/a", "/a"]  # of the seeds plain and zstd, by log time
TIMES = [7, 10, 17, 20, 22, 32]


class Bag(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_bag(self, *arguments, code=0):
        done = subprocess.run([HORUS, "bag", *map(str, arguments)], capture_output=True, text=True, check=False)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done

    def info(self, path, *arguments, code=0):
        return json.loads(self.run_bag("info", "--json", path, *arguments, code=code).stdout)

    def cat(self, path, *arguments, code=0):
        return [json.loads(line) for line in self.run_bag("cat", path, *arguments, code=code).stdout.splitlines()]

    def times(self, path, *arguments, code=0):
        return [message["log_ns"] for message in self.cat(path, *arguments, code=code)]

    def cut(self):
        """A file whose last chunk lacks its indexes and a piece of itself, as after a kill."""
        path = self.folder / "cut.mcap"
        path.write_bytes((SEEDS / "cut").read_bytes())
        return path

    def test_info_tells_what_is_in_a_recording(self):
        told = self.info(SEEDS / "plain")
        self.assertEqual((6, 7, 32, True), (told["messages"], told["first_ns"], told["last_ns"], told["indexed"]))
        self.assertEqual([("/a", "Reading", 4), ("/b", "Reading", 2)],
                         [(topic["topic"], topic["type"], topic["messages"]) for topic in told["topics"]])
        self.assertEqual(["n"], [attachment["name"] for attachment in told["attachments"]])
        self.assertEqual(["m"], told["metadata"])
        text = self.run_bag("info", SEEDS / "plain").stdout
        self.assertRegex(text, r"messages +6\n")
        self.assertRegex(text, r"\n +/b +Reading +json +2 ")

    def test_info_of_a_scan_is_that_of_the_index(self):
        indexed, scanned = self.info(SEEDS / "zstd"), self.info(SEEDS / "zstd", "--scan")
        self.assertFalse(scanned.pop("indexed"))
        self.assertTrue(indexed.pop("indexed"))
        self.assertEqual(indexed, scanned)

    def test_a_cut_file_is_told_with_the_place_and_the_exit_code_1(self):
        told = self.info(self.cut(), code=1)
        self.assertFalse(told["indexed"])
        self.assertEqual(6, told["messages"])
        self.assertEqual(1, len(told["damages"]))
        self.assertIn("the file ends within a record", told["damages"][0]["reason"])

    def test_cat_prints_json_messages_as_they_are_and_others_as_bytes(self):
        messages = self.cat(SEEDS / "plain")
        self.assertEqual(TIMES, [message["log_ns"] for message in messages])
        self.assertEqual(TOPICS, [message["topic"] for message in messages])
        self.assertEqual([0], messages[0]["data"])
        self.assertEqual({"x": 1}, messages[1]["data"])
        self.assertEqual((60, "7a" * 60), (messages[4]["size"], messages[4]["hex"]))

    def test_cat_selects_by_topic_expression_and_time(self):
        path = SEEDS / "zstd"
        self.assertEqual([7, 17], self.times(path, "-t", "/b"))
        self.assertEqual(TIMES, self.times(path, "-t", "/b", "-t", "/a"))
        self.assertEqual([7, 17], self.times(path, "--regex", "b$"))
        self.assertEqual([10, 20, 22, 32], self.times(path, "--exclude-regex", "b$"))
        self.assertEqual([17, 20], self.times(path, "--start", "0.000000010", "--end", "@0.00000002"))
        self.assertEqual([7, 10], self.times(path, "--limit", "2"))

    def test_recover_copies_all_that_is_whole_and_writes_an_index(self):
        out = self.folder / "whole.mcap"
        done = self.run_bag("recover", self.cut(), "-o", out)
        self.assertIn("6 messages in 2 chunks; 11 bytes at the end were dropped", done.stdout)
        self.assertIn("cut.mcap at byte 708: the file ends within a record", done.stderr)
        told = self.info(out)
        self.assertTrue(told["indexed"])
        self.assertEqual(TIMES, self.times(out))
        self.assertEqual(TIMES, self.times(out, "--start", "0"))

    def test_recover_in_place_drops_the_torn_end(self):
        for size in range(400, (SEEDS / "cut").stat().st_size + 1, 29):
            path = self.cut()
            path.write_bytes(path.read_bytes()[:size])
            before = subprocess.run([HORUS, "bag", "cat", path], capture_output=True, text=True).stdout
            self.run_bag("recover", "--inplace", path)
            self.assertTrue(self.info(path)["indexed"], size)
            self.assertEqual(before, self.run_bag("cat", path).stdout)
            self.assertEqual(self.info(path)["messages"], self.info(path, "--scan")["messages"])
        self.assertIn("nothing to do", self.run_bag("recover", "--inplace", path).stdout)

    def test_recover_of_messages_outside_of_chunks_needs_a_copy(self):
        path, out = self.folder / "bare.mcap", self.folder / "out.mcap"
        path.write_bytes((SEEDS / "bare").read_bytes())
        self.assertIn("recover it into another file", self.run_bag("recover", "--inplace", path, code=1).stderr)
        self.run_bag("recover", path, "-o", out)
        self.assertEqual([1, 2, 3], self.times(out))
        self.assertTrue(self.info(out)["indexed"])

    def test_recover_leaves_a_damaged_chunk_out_and_says_where(self):
        path, out = self.folder / "damaged.mcap", self.folder / "out.mcap"
        data = bytearray((SEEDS / "plain").read_bytes())
        data[data.index(b'{"x":1}')] ^= 1
        path.write_bytes(data)
        done = self.run_bag("recover", path, "-o", out)
        self.assertIn("the checksum of a chunk differs", done.stderr)
        # The index knows the channels that the damaged chunk describes: what follows it is kept.
        rest = self.times(out)
        self.assertTrue(rest)
        self.assertEqual([time for time in TIMES if time in rest], rest)
        self.assertIn("recover it into another file", self.run_bag("recover", "--inplace", path, code=1).stderr)

    def test_filter_writes_a_part(self):
        out = self.folder / "part.mcap"
        self.assertIn("2 messages of 1 channels", self.run_bag("filter", SEEDS / "plain", "-o", out, "-t", "/b").stdout)
        self.assertEqual([7, 17], self.times(out))
        told = self.info(out)
        self.assertEqual(["/b"], [topic["topic"] for topic in told["topics"]])
        self.assertEqual(["m"], told["metadata"])
        self.assertEqual("ros2", told["profile"])

    def test_merge_is_in_the_order_of_time_and_makes_equal_channels_one(self):
        out = self.folder / "all.mcap"
        self.run_bag("merge", SEEDS / "plain", SEEDS / "zstd", SEEDS / "lz4", "-o", out)
        self.assertEqual(sorted(TIMES + TIMES + [10]), self.times(out))
        self.assertEqual(["/a", "/b"], [topic["topic"] for topic in self.info(out)["topics"]])

    def test_convert_changes_the_compression_and_no_message(self):
        plain, packed = self.folder / "plain.mcap", self.folder / "packed.mcap"
        self.run_bag("convert", SEEDS / "lz4", "-o", plain, "--compression", "none")
        self.run_bag("convert", plain, "-o", packed, "--compression", "zstd", "--level", "3")
        self.assertEqual(self.cat(SEEDS / "lz4"), self.cat(plain))
        self.assertEqual(self.cat(SEEDS / "lz4"), self.cat(packed))
        self.assertRegex(self.run_bag("info", plain).stdout, "chunks +1 plain")
        self.assertRegex(self.run_bag("info", packed).stdout, "chunks +1 zstd")

    def test_an_existing_file_and_the_input_itself_are_not_overwritten(self):
        out = self.folder / "out.mcap"
        out.write_text("mine")
        self.assertIn("exists", self.run_bag("filter", SEEDS / "plain", "-o", out, code=1).stderr)
        self.assertEqual("mine", out.read_text())
        self.run_bag("filter", SEEDS / "plain", "-o", out, "--overwrite")
        before = out.read_bytes()
        for command in ("filter", "recover"):
            done = self.run_bag(command, out, "-o", f"{self.folder}/./out.mcap", "--overwrite", code=1)
            self.assertIn("it is the file that is read", done.stderr)
        self.assertEqual(before, out.read_bytes())

    def test_errors_name_the_file_the_place_and_the_reason(self):
        path = self.folder / "text.mcap"
        path.write_text("this is no recording, whatever its name is")
        self.assertEqual(f"horus: read {path} at byte 0: bad input (this is no recording in the MCAP format)\n",
                         self.run_bag("info", path, code=1).stderr)
        self.assertIn("no such file", self.run_bag("cat", self.folder / "none", code=1).stderr)
        out = self.folder / "out.mcap"
        self.run_bag("merge", SEEDS / "plain", path, "-o", out, code=1)
        self.assertFalse(out.exists())

    def test_wrong_arguments_are_exit_code_2(self):
        self.assertIn("no regular expression", self.run_bag("cat", SEEDS / "plain", "--regex", "(", code=2).stderr)
        self.assertIn("a time is seconds", self.run_bag("cat", SEEDS / "plain", "--start", "soon", code=2).stderr)
        self.run_bag("recover", SEEDS / "plain", code=2)
        self.run_bag("filter", SEEDS / "plain", code=2)
        self.run_bag("convert", SEEDS / "plain", "-o", self.folder / "x", "--compression", "lz4", code=2)
        self.run_bag("burn", code=2)

    def test_hostile_names_reach_neither_the_terminal_nor_break_the_json(self):
        path = self.folder / "hostile.mcap"
        data = (SEEDS / "bare").read_bytes()  # without checksums there
        path.write_bytes(data[:data.index(b"/a")] + b"\x1b\xff" + data[data.index(b"/a") + 2:])
        self.assertNotIn("\x1b", self.run_bag("info", path, code=1).stdout)
        self.assertEqual(3, self.info(path, code=1)["messages"])


if __name__ == "__main__":
    HORUS, SEEDS = sys.argv[1], pathlib.Path(sys.argv[2])
    unittest.main(argv=sys.argv[:1])
