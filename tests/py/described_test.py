# SPDX-License-Identifier: Apache-2.0
"""Messages that are described in Python are those of C++: the numbers here are those of tests/msg/description_test.cpp."""

import ctypes
import enum
import unittest

import horus
from horus import _types


class Mode(enum.IntEnum):
    idle = 0
    drive = 1
    dock = 7


@horus.message("rover::Wheel")
class Wheel:
    speed: horus.f64
    torque: horus.f32


@horus.message("rover::Fault")
class Fault:
    what: horus.text[16]
    code: horus.u32


@horus.message(
    "rover::Drive",
    ros="rover_msgs/msg/DriveState",
    units={"wheels": "rad/s", "ranges": "m"},
    ros_names={"frame": "frame_id"},
)
class Drive:
    stamp: horus.stamp
    frame: horus.text[32]
    wheels: horus.array[Wheel, 4]
    ranges: horus.tail[horus.f32]
    faults: horus.sequence[Fault, 8]
    mode: horus.enumeration[Mode, horus.u8] = Mode.dock

    def is_docked(self):
        return self.mode == Mode.dock


class DescribedTest(unittest.TestCase):
    def test_the_description_is_that_of_the_struct_in_cpp(self):
        self.assertEqual(horus.identity(Drive), 15349606048545267954)

    def test_ready_messages_that_are_described_here_are_those_of_cpp(self):
        self.assertEqual(horus.identity(horus.messages.Imu), 2633937412427172057)
        self.assertEqual(horus.identity(horus.messages.Odometry), 10742410347237449056)

    def test_the_layout_is_what_cpp_compares(self):
        self.assertEqual(
            _types._describe(Drive),
            "i64 stamp @0, char[32] frame @8, {f64 speed @0, f32 torque @8}[4] wheels @40, "
            "{char[16] what @0, u32 code @16}[<=8] faults @104, u8 mode @268",
        )

    def test_fields_are_set_and_read_as_values(self):
        drive = Drive(frame="base", stamp=5)
        self.assertTrue(drive.is_docked())
        drive.wheels[1].speed = 2.5
        drive.faults = [Fault(what="hot", code=3)]
        drive.faults.append(Fault(code=4))
        drive.ranges = [1.0, 2.0]
        self.assertEqual(drive.frame, b"base")
        self.assertEqual([fault.code for fault in drive.faults], [3, 4])
        self.assertEqual(drive.faults[-1].code, 4)
        self.assertEqual(list(drive.tail), [1.0, 2.0])
        copy = Drive.from_buffer_copy(bytes(drive))
        self.assertEqual(copy.faults[0].what, b"hot")
        with self.assertRaises(IndexError):
            drive.faults = [Fault()] * 9
        with self.assertRaises(IndexError):
            copy.faults[2]
        with self.assertRaises(AttributeError):
            drive.sped = 1

    def test_a_count_from_elsewhere_is_not_believed(self):
        drive = Drive()
        drive.faults.count = 900
        self.assertEqual(len(drive.faults), 8)

    def test_what_cannot_be_is_told_when_the_class_is_made(self):
        with self.assertRaisesRegex(ValueError, "has no field 'sped'; there are: speed"):
            horus.message("x::Y", units={"sped": "m/s"})(type("Y", (), {"__annotations__": {"speed": horus.f64}}))
        with self.assertRaisesRegex(ValueError, "no name of a ROS message"):
            horus.message("x::Y", ros="x/Y")(type("Y", (), {"__annotations__": {"speed": horus.f64}}))
        with self.assertRaisesRegex(TypeError, "Y.speed: .* is no field of a message"):
            horus.message("x::Y")(type("Y", (), {"__annotations__": {"speed": float}}))
        with self.assertRaisesRegex(TypeError, "put the inner one into a message of its own"):
            horus.sequence[horus.array[horus.u8, 2], 3]
        with self.assertRaisesRegex(TypeError, "one tail"):
            annotations = {"a": horus.u8, "b": horus.tail[horus.u8], "c": horus.tail[horus.u8]}
            horus.message("x::Y")(type("Y", (), {"__annotations__": annotations}))

    def test_a_described_message_travels_with_its_tail(self):
        hub = horus.Hub("described")
        out = hub.advertise("drive", Drive)
        into = hub.subscribe("drive", Drive)
        drive = Drive(stamp=7)
        drive.faults = [Fault(code=9)]
        drive.ranges = [0.5]
        out.send(drive)
        got = into.recv(timeout=5.0)
        self.assertEqual((got.stamp, got.faults[0].code, list(got.ranges)), (7, 9, [0.5]))

    def test_sequences_have_the_layout_of_cpp(self):
        kind = horus.sequence[horus.f64, 3].kind
        self.assertEqual((ctypes.sizeof(kind), kind.items.offset), (32, 8))


if __name__ == "__main__":
    unittest.main()
