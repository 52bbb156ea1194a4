# SPDX-License-Identifier: Apache-2.0
"""horus.Recording and scheduler.record(): which files they make, and what is in them."""

import ctypes
import errno
import os
import struct
import tempfile
import unittest

import horus

MAGIC = b"\x89MCAP0\r\n"
MESSAGE, SCHEMA, CHANNEL = 5, 3, 4


def records(data, position=len(MAGIC)):
    """(opcode, content) of each record of a file without compression, those in chunks too."""
    while position < len(data) - len(MAGIC):
        opcode, length = struct.unpack_from("<BQ", data, position)
        content = data[position + 9:position + 9 + length]
        position += 9 + length
        if opcode == 6:  # a chunk: its records follow a head of 28 bytes, the compression and a length
            skip = 28 + 4 + struct.unpack_from("<I", content, 28)[0] + 8
            yield from records(content[skip:] + MAGIC, 0)
        else:
            yield opcode, content


def text_at(content, position):
    size = struct.unpack_from("<I", content, position)[0]
    return content[position + 4:position + 4 + size].decode(), position + 4 + size


class Own(ctypes.Structure):
    _fields_ = [("number", ctypes.c_int32)]


class Recordings(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "run.mcap")

    def read(self):
        """Messages by topic, and the encoding of each topic."""
        with open(self.path, "rb") as file:
            self.data = data = file.read()
        self.assertTrue(data.startswith(MAGIC) and data.endswith(MAGIC))
        topics, encodings, messages = {}, {}, {}
        for opcode, content in records(data):
            if opcode == CHANNEL:
                number = struct.unpack_from("<H", content)[0]
                topics[number], after = text_at(content, 4)
                encodings[topics[number]] = text_at(content, after)[0]
            elif opcode == MESSAGE:
                topic = topics[struct.unpack_from("<H", content)[0]]
                messages.setdefault(topic, []).append(content[22:])
        return messages, encodings

    def test_dicts_are_json_and_bytes_are_bytes(self):
        with horus.Recording(self.path, compressed=False) as recording:
            with horus.Hub() as hub:
                data, raw = hub.advertise("status"), hub.advertise("raw", bytes)
                hub.advertise("chat", str).send("hello")
                hub.advertise("cmd_vel", horus.messages.Twist).send(horus.messages.Twist())
                hub.advertise("own", Own).send(Own(7))
                data.send({"speed": 1.5, "mode": "drive", "parts": [1, 2], "blob": b"\x01\xff"})
                data.send([1, 2])
                raw.send(b"abc")
                data.send({"speed": None})
        messages, encodings = self.read()
        self.assertEqual(
            {
                "status": "json",
                "raw": "application/octet-stream",
                "chat": "cdr",
                "cmd_vel": "cdr",
                "own": "cdr",
            },
            encodings,
        )
        self.assertEqual([b"\0\1\0\0" + struct.pack("<I", 6) + b"hello\0"], messages["chat"])
        self.assertEqual(4 + 6 * 8, len(messages["cmd_vel"][0]))
        self.assertEqual([b"\0\1\0\0" + struct.pack("<i", 7)], messages["own"])
        for schema in ("std_msgs/msg/String", "geometry_msgs/msg/Twist", "int32 number"):
            self.assertIn(schema.encode(), self.data)
        self.assertEqual(
            [
                b'{"speed":1.5,"mode":"drive","parts":[1,2],"blob":"01ff"}',
                b'{"value":[1,2]}',
                b'{"speed":null}',
            ],
            messages["status"],
        )
        self.assertEqual(1, len(messages["raw"]))
        self.assertTrue(recording.status["ended"])
        self.assertEqual(7, recording.status["messages"])
        self.assertEqual(0, recording.status["lost"])
        recording.stop()  # it has ended

    def test_only_what_is_wanted(self):
        with horus.Recording(self.path, topics=["a/*"], left_out=["a/raw"], compressed=False):
            with horus.Hub() as hub:
                for topic in ("a/b", "a/raw", "b"):
                    hub.advertise(topic).send({"topic": topic})
        self.assertEqual(["a/b"], list(self.read()[0]))

    def test_a_scheduler_records_its_runs(self):
        class Speaks(horus.Node):
            def init(self):
                self.hub = horus.Hub()
                self.out = self.hub.advertise("count")

            def tick(self):
                self.out.send({"n": 1})

            def shutdown(self):
                self.hub.close()

        scheduler = horus.Scheduler()
        scheduler.add(Speaks(), rate=1000)
        scheduler.record(self.path, compressed=False)
        scheduler.run(0.05)
        self.assertGreater(len(self.read()[0]["count"]), 0)

    def test_mistakes_are_told(self):
        open(self.path, "w").close()
        with self.assertRaises(FileExistsError) as raised:
            horus.Recording(self.path)
        self.assertIn(self.path, str(raised.exception))
        with self.assertRaises(FileNotFoundError) as raised:
            horus.Recording(os.path.join(self.folder.name, "missing", "run.mcap"))
        self.assertEqual(errno.ENOENT, raised.exception.errno)
        with self.assertRaisesRegex(TypeError, "a list of patterns"):
            horus.Recording(self.path, topics="imu")
        scheduler = horus.Scheduler()
        scheduler.record(self.path)
        with self.assertRaisesRegex(RuntimeError, "run.mcap"):
            scheduler.run(0.01)


if __name__ == "__main__":
    unittest.main()
