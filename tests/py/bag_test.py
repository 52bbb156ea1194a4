# SPDX-License-Identifier: Apache-2.0
"""horus.read and horus.Bag: messages of recordings as objects, and as arrays."""

import os
import signal
import subprocess
import sys
import tempfile
import unittest

import horus
from horus import messages

try:
    import numpy
except ImportError:
    numpy = None


@horus.message("rover::Wheel")
class Wheel:
    speed: horus.f64
    errors: horus.u16


def drive_class(name="rover::Drive"):
    @horus.message(name)
    class Drive:
        stamp: horus.stamp
        frame: horus.text[8]
        wheels: horus.array[Wheel, 2]
        faults: horus.sequence[horus.u8, 4]
        ranges: horus.tail[horus.f32]

    return Drive


class Robot:
    """Opens publishers, sends, and closes them before the recording ends."""

    def __init__(self):
        self.hub = horus.Hub("robot")
        self.ports = []

    def send(self, topic, type_, *values):
        port = self.hub.advertise(topic, type=type_)
        self.ports.append(port)
        for value in values:
            port.send(value)

    def close(self):
        for port in self.ports:
            port.close()
        self.hub.close()


class Bags(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = os.path.join(folder.name, "run.mcap")

    def record(self, *topics):
        """topics: (name, type, values…)"""
        robot = Robot()
        with horus.Recording(self.path):
            for topic in topics:
                robot.send(*topic)
            robot.close()

    def values(self, *arguments, **named):
        return [one.message for one in horus.read(self.path, *arguments, **named)]

    def test_what_was_sent_comes_back(self):
        imu = messages.Imu()
        imu.angular_velocity.z = 2.5
        scan = messages.LaserScan(beams=2, tail=[1.0, 2.0])
        self.record(("imu", messages.Imu, imu), ("scan", messages.LaserScan, scan), ("raw", bytes, b"\1\2"),
                    ("text", str, "grüße"), ("data", None, {"a": [1, None]}, 1.5, {"value": 1}, "x"))
        self.assertEqual([imu], self.values("imu"))
        self.assertEqual(bytes(scan), bytes(self.values(["scan"])[0]))
        self.assertEqual([1.0, 2.0], list(self.values("scan")[0].ranges))
        self.assertEqual([b"\1\2"], self.values("raw"))
        self.assertEqual(["grüße"], self.values("text"))
        self.assertEqual([{"a": [1, None]}, 1.5, {"value": 1}, "x"], self.values("data"))
        everything = list(horus.read(self.path))
        self.assertEqual(8, len(everything))
        self.assertEqual(sorted(one.log_ns for one in everything), [one.log_ns for one in everything])
        self.assertEqual({"raw", "text"}, {one.topic for one in horus.read(self.path, ["r*", "te*"])})
        with horus.Bag(self.path) as bag:
            self.assertEqual(("horus::messages::Imu", 1), (bag.topics["imu"].type, bag.topics["imu"].messages))
            self.assertEqual((8, True, []), (bag.count, bag.indexed, bag.damages))
            self.assertIn("offset_ns", bag.metadata["horus.clock"])
            self.assertGreaterEqual(bag.duration, 0)
            self.assertEqual(8, len(list(bag.messages(start=0.0, end=1000.0))))
            self.assertEqual([], list(bag.messages(start=1000.0)))

    def test_a_class_that_the_program_does_not_have_is_made_from_the_recording(self):
        program = f"""
import horus, sys
sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})
import bag_test
Drive = bag_test.drive_class("rover::Drive")
wheels = (bag_test.Wheel * 2)(bag_test.Wheel(1.5, 3), bag_test.Wheel(2.5, 4))
drive = Drive(stamp=7, frame="base", wheels=wheels, tail=[0.5, 1.5])
drive.faults = [9, 8]
case = bag_test.Bags("record")
case.path = {self.path!r}
case.record(("drive", Drive, drive))
"""
        subprocess.run([sys.executable, "-c", program], check=True)
        (drive,) = self.values("drive")
        self.assertEqual((7, b"base"), (drive.stamp, drive.frame))
        self.assertEqual([(1.5, 3), (2.5, 4)], [(wheel.speed, wheel.errors) for wheel in drive.wheels])
        self.assertEqual([9, 8], list(drive.faults))
        self.assertEqual([0.5, 1.5], list(drive.ranges))
        self.assertTrue(repr(drive).startswith("Drive(stamp=7, frame=b'base'"), repr(drive))

    def test_a_class_that_has_changed_is_read_by_the_names_of_its_fields(self):
        Old = drive_class("rover::Changed")
        drive = Old(stamp=5, frame="base", tail=[0.25])
        drive.faults = [1, 2, 3]
        self.record(("drive", Old, drive))

        @horus.message("rover::Changed")
        class New:
            faults: horus.sequence[horus.u32, 8]
            gear: horus.i32 = 4
            frame: horus.text[32]
            ranges: horus.tail[horus.f64]

        (read,) = self.values("drive")
        self.assertIsInstance(read, New)
        self.assertEqual(([1, 2, 3], 4, b"base", [0.25]), (list(read.faults), read.gear, read.frame, list(read.ranges)))
        self.assertIsInstance(self.values("drive", types={"drive": Old})[0], Old)

        @horus.message("other::Changed")
        class Wrong:
            frame: horus.f64

        with self.assertRaisesRegex(TypeError, "drive.*rover::Changed.*other::Changed.*field frame"):
            self.values("drive", types={"drive": Wrong})

    def test_mistakes_are_told(self):
        self.record(("imu", messages.Imu, messages.Imu()))
        for text, arguments in [("did you mean 'imu'", ["imuu"]), ("there are: imu", ["nothing"])]:
            with self.assertRaisesRegex(ValueError, text):
                horus.read(self.path, arguments)
        with self.assertRaisesRegex(ValueError, "start"):
            horus.read(self.path, start=-1.0)
        with self.assertRaisesRegex(FileNotFoundError, "none.mcap"):
            horus.read(os.path.join(self.folder, "none.mcap"))
        empty = os.path.join(self.folder, "empty.mcap")
        open(empty, "wb").close()
        with self.assertRaisesRegex(OSError, "empty.mcap at byte 0.*too short"):
            horus.Bag(empty)
        with self.assertRaises(IsADirectoryError):
            horus.Bag(self.folder)

    def test_a_damaged_file_is_read_as_far_as_it_is_whole(self):
        self.record(("imu", messages.Imu, *[messages.Imu()] * 10))
        with open(self.path, "rb") as file:
            whole = file.read()
        with open(self.path, "wb") as file:
            file.write(whole[:-300])
        bag = horus.Bag(self.path)
        self.assertFalse(bag.indexed)
        self.assertEqual(10, len(list(bag.messages())))

    def test_control_c_ends_a_loop(self):
        self.record(("imu", messages.Imu, *[messages.Imu()] * 100))
        program = f"""
import horus, os, signal
try:
    while True:
        for one in horus.read({self.path!r}):
            os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("ended")
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
        self.assertEqual("ended\n", done.stdout, done.stderr)
        self.assertNotEqual(-signal.SIGINT, done.returncode)

    @unittest.skipIf(numpy is not None, "NumPy is there")
    def test_without_numpy_the_error_says_what_is_missing(self):
        self.record(("imu", messages.Imu, messages.Imu()))
        with self.assertRaisesRegex(ImportError, "pip install numpy"):
            horus.Bag(self.path).to_numpy("imu")

    @unittest.skipIf(numpy is None, "NumPy is missing")
    def test_arrays(self):
        Drive = drive_class("rover::Array")
        drives = [Drive(stamp=number, frame="base", tail=[0.5] * number) for number in range(3)]
        self.record(("drive", Drive, *drives), ("data", None, {"x": 1, "y": "a"}, {"x": 2}), ("number", None, 1, 2.5))
        bag = horus.Bag(self.path)
        table = bag.to_numpy("drive")
        self.assertEqual(("log_ns", "publish_ns", "stamp", "frame", "wheels", "faults", "tail"), table.dtype.names)
        self.assertEqual([0, 1, 2], table["stamp"].tolist())
        self.assertEqual((3, 2), table["wheels"].shape)
        self.assertEqual([0, 1, 2], [len(tail) for tail in table["tail"]])
        data = bag.to_numpy("data")
        self.assertEqual([1, 2], data["x"].tolist())
        self.assertEqual(["a", None], data["y"].tolist())
        self.assertEqual([1, 2.5], bag.to_numpy("number")["value"].tolist())


if __name__ == "__main__":
    unittest.main()
