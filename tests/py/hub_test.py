# SPDX-License-Identifier: Apache-2.0
"""Hubs, links, publishers and subscribers: within a process, between threads and loops, and between
processes over TCP and shared memory. Other processes are this file with arguments."""

import asyncio
import contextlib
import ctypes
import dataclasses
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import horus
from horus import _core, messages

QUICK = {"retry_first_ms": 5, "retry_most_ms": 20}
SECONDS = 20  # the longest that anything may take


def until(condition):
    """Polls; True as soon as the condition holds."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.001)
    return False


def listening(name, **options):
    return horus.Hub.tcp("127.0.0.1:0", name, role="listen", **QUICK, **options)


def connecting(address, name):
    return horus.Hub.tcp(address, name, role="connect", **QUICK)


def raw_publisher(hub, topic):
    """Publishes any bytes on a topic of data."""
    format = _core.Format("data (MessagePack)", "", 0, 1, 1, 1)
    return hub._core.advertise(topic, format, 0, 1024)


class Data(unittest.TestCase):
    def check(self, value):
        self.assertEqual(_core.unpack(_core.pack(value, 1 << 20)), value)

    def test_floats_stay_floats_bit_by_bit(self):
        values = [3.0, -0.0, 0.0, 1e18, 2.0**63, -5.0, 1.5, math.inf, -math.inf, math.nan, 1e300, 5e-324]
        for value in (*values, values, {"x": 2.0, 1.0: -0.0}, [[{"deep": 4.0}]], 7, True, 2**63 - 1):
            self.assertEqual(repr(_core.unpack(_core.pack(value, 1 << 20))), repr(value))

    def test_numpys_scalars_travel_as_what_they_are(self):
        try:
            import numpy
        except ImportError:
            raise unittest.SkipTest("no NumPy") from None
        floats = [getattr(numpy, name)(3) for name in ("float16", "float32", "float64", "longdouble")]
        integers = [getattr(numpy, f"{kind}int{bits}")(3) for kind in ("", "u") for bits in (8, 16, 32, 64)]
        for value, plain in [(v, "3.0") for v in floats] + [(v, "3") for v in integers]:
            self.assertEqual(repr(_core.unpack(_core.pack({"x": value}, 100))), "{'x': %s}" % plain)
        self.assertIs(_core.unpack(_core.pack(numpy.bool_(True), 100)), True)
        self.assertEqual(repr(_core.unpack(_core.pack([numpy.float32(-0.0), numpy.float64("nan")], 100))), "[-0.0, nan]")
        for value in (numpy.complex64(1), numpy.zeros(3), numpy.zeros(1), numpy.datetime64("2026-01-01")):
            with self.assertRaisesRegex(TypeError, "cannot travel"):
                _core.pack(value, 100)

    def test_plain_values_come_back_as_they_were(self):
        for value in (None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**64 - 1, 0.1, math.inf):
            self.check(value)
        for value in ("", "ü \0 \U0001f600", b"", b"\xff" * 300, "x" * 70_000, [], {}, [[], {}]):
            self.check(value)
        self.check({"pose": [1.5, -2], "name": "rover", 3: {"raw": b"\0"}, None: [True], 1.5: 2})
        self.assertEqual(_core.unpack(_core.pack((1, (2,)), 100)), [1, [2]])
        self.assertIs(_core.unpack(_core.pack(True, 100)), True)

    def test_what_cannot_travel_is_named_with_its_place(self):
        with self.assertRaisesRegex(TypeError, r"message\['a'\]\[1\] is a object, which cannot travel"):
            _core.pack({"a": [1, object()]}, 1000)
        for value in ({1, 2}, 1j, print, {(1, 2): 3}, {1: {2: range(3)}}):
            with self.assertRaises(TypeError):
                _core.pack(value, 1000)
        with self.assertRaisesRegex(ValueError, "64 bits"):
            _core.pack([2**64], 1000)
        with self.assertRaisesRegex(ValueError, "surrogate"):
            _core.pack("\ud800", 1000)

    def test_depth_and_size_are_bounded(self):
        inside = []
        inside.append(inside)
        with self.assertRaisesRegex(ValueError, "64 levels"):
            _core.pack(inside, 1 << 20)
        deep = []
        for _ in range(63):
            deep = [deep]
        self.check(deep)
        with self.assertRaisesRegex(ValueError, "levels"):
            _core.pack([deep], 1 << 20)
        with self.assertRaisesRegex(ValueError, "max_bytes"):
            _core.pack("x" * 1000, 100)
        with self.assertRaisesRegex(ValueError, "max_bytes"):
            _core.pack([1] * 1000, 100)
        with self.assertRaisesRegex(ValueError, "more than 1048576 values"):
            _core.pack([None] * (1 << 20), 1 << 24)

    def test_hostile_bytes_are_an_error_and_cost_nothing(self):
        hostile = [b"", b"\xc1", b"\x91", b"\x01\x01", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
                   b"\xdb\xff\xff\xff\xffabc", b"\x81\x90\x01", b"\x81\x80\x01", b"\xc7\x01\x05a",
                   b"\xa1\xff", b"\x91" * 65 + b"\x01", b"\x91" * 1_000_000,
                   b"\xdd\x00\x20\x00\x00" + b"\x80" * (1 << 21)]
        for data in hostile:
            with self.assertRaises(ValueError, msg=data[:20]):
                _core.unpack(data)

    def test_any_bytes_give_a_value_or_an_error(self):
        chance = random.Random(1)
        good = _core.pack({"a": [1, 2.5, "x", b"y", None, {"b": [True] * 20}]}, 1000)
        for _ in range(20_000):
            data = bytearray(good)
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            with contextlib.suppress(ValueError):
                _core.unpack(bytes(data[: chance.randrange(len(data) + 1)]))


class InOneProcess(unittest.TestCase):
    def setUp(self):
        self.hub = horus.Hub("here")
        self.addCleanup(self.hub.close)

    def test_a_topic_joins_its_publishers_and_subscribers(self):
        out, also = self.hub.advertise("speed"), self.hub.advertise("speed")
        first, second = self.hub.subscribe("speed"), self.hub.subscribe("speed")
        other = self.hub.subscribe("place")
        self.assertTrue(out.connected and first.connected)
        self.assertFalse(other.connected)
        self.assertTrue(out.send(1))
        self.assertEqual((first.recv(SECONDS), second.recv(SECONDS)), (1, 1))
        also.send({"x": [2]})
        self.assertEqual(first.recv(SECONDS), {"x": [2]})
        self.assertIsNone(other.try_recv())
        self.assertEqual(other.try_recv("nothing"), "nothing")
        self.assertFalse(first.has_msg())
        self.assertTrue(until(second.has_msg))

    def test_a_link_joins_two_hubs_both_ways_apart_from_topics(self):
        there = horus.Hub("there")
        a = self.hub.create_link("data", "there")
        self.assertFalse(a.connected)
        b = there.create_link("data", "here")
        self.assertTrue(a.connected and b.connected)
        topic = there.subscribe("data")
        a.send("ping")
        self.assertEqual(b.recv(SECONDS), "ping")
        b.send("pong")
        self.assertEqual(a.recv(SECONDS), "pong")
        self.assertFalse(topic.has_msg())
        b.close()
        self.assertFalse(a.connected)
        self.assertTrue(a.send("into the void"))
        there.close()

    def test_overflow_and_missed(self):
        out = self.hub.advertise("n")
        oldest = self.hub.subscribe("n", depth=2)
        latest = self.hub.subscribe("n", overflow="latest")
        newest = self.hub.subscribe("n", depth=2, overflow="drop_newest")
        for i in range(5):
            out.send(i)
        self.assertTrue(until(lambda: latest.missed() == 4))
        self.assertEqual([oldest.recv(SECONDS), oldest.recv(SECONDS), oldest.missed()], [3, 4, 3])
        self.assertEqual([latest.recv(SECONDS), latest.missed()], [4, 4])
        self.assertEqual([newest.recv(SECONDS), newest.recv(SECONDS), newest.missed()], [0, 1, 3])

    def test_latest_stays_until_a_newer_one_comes(self):
        out, in_ = self.hub.advertise("n"), self.hub.subscribe("n")
        self.assertEqual(in_.latest("none"), "none")
        out.send(1)
        out.send(2)
        self.assertTrue(until(lambda: in_.latest() == 2))
        self.assertEqual(in_.latest(), 2)
        self.assertFalse(in_.has_msg())

    def test_latest_gives_the_default_while_its_message_is_stale(self):
        out = self.hub.advertise("n")
        in_, ever = self.hub.subscribe("n", stale_after=0.3), self.hub.subscribe("n")
        for i in range(2):
            self.assertTrue(until(lambda: out.send(i) and in_.latest() == i))
            self.assertTrue(until(lambda: in_.latest("stale") == "stale"))
            self.assertEqual(ever.latest(), i)
        # Whoever takes messages one by one gets them, however old they are.
        queue = self.hub.subscribe("n", stale_after=0.3)
        out.send(2)
        self.assertTrue(until(lambda: in_.latest() == 2))
        self.assertTrue(until(lambda: in_.latest() is None))
        self.assertEqual(queue.recv(SECONDS), 2)

    def test_latest_is_empty_when_its_publisher_has_gone_unless_the_subscriber_keeps_it(self):
        out = self.hub.advertise("n")
        in_, keeps = self.hub.subscribe("n"), self.hub.subscribe("n", keep_in_emergency=True)
        out.send(1)
        self.assertTrue(until(lambda: in_.latest() == 1 and keeps.latest() == 1))
        out.close()
        self.assertTrue(until(lambda: in_.latest("gone") == "gone"))
        self.assertEqual(keeps.latest(), 1)
        again = self.hub.advertise("n")
        self.assertTrue(until(lambda: again.send(2) and in_.latest() == 2))
        with self.assertRaisesRegex(TypeError, "keep_in_emergency"):
            self.hub.subscribe("n", keep_in_emergency=1)

    def test_latest_is_the_newest_of_the_publishers_that_live(self):
        first, second = self.hub.advertise("n"), self.hub.advertise("n")
        in_ = self.hub.subscribe("n")
        first.send(1)
        self.assertTrue(until(lambda: in_.latest() == 1))
        second.send(2)
        self.assertTrue(until(lambda: in_.latest() == 2))
        second.close()
        self.assertTrue(until(lambda: in_.latest() == 1))
        first.close()
        self.assertTrue(until(lambda: in_.latest() is None))

    def test_latest_decodes_a_message_once(self):
        out = self.hub.advertise("speed", messages.Twist)
        in_ = self.hub.subscribe("speed", messages.Twist)
        out.send(messages.Twist())
        self.assertTrue(until(lambda: in_.latest() is not None))
        self.assertIs(in_.latest(), in_.latest())

    def test_stale_after_is_above_zero(self):
        for wrong in (0, -1.0, math.nan, math.inf):
            with self.assertRaisesRegex(ValueError, "stale_after is"):
                self.hub.subscribe("n", stale_after=wrong)
        for wrong in ("1", True):
            with self.assertRaisesRegex(TypeError, "stale_after is a number of seconds"):
                self.hub.subscribe("n", stale_after=wrong)
        with self.assertRaisesRegex(ValueError, "stale_after is"):
            self.hub.create_link("n", "peer", stale_after=0)

    def test_a_full_hand_over_queue_refuses_and_counts(self):
        out = self.hub.advertise("big", bytes, max_queued=24, max_bytes=1 << 20)
        in_ = self.hub.subscribe("big", bytes, depth=8)
        block = bytes(1 << 20)
        accepted = refused = 0
        while refused < 3 and accepted < 100_000:
            if out.send(block):
                accepted += 1
            else:
                refused += 1
        self.assertEqual(refused, 3)
        metrics = self.hub.get_metrics()
        self.assertEqual((metrics["messages_sent"], metrics["bytes_sent"]),
                         (accepted, accepted << 20))
        self.assertEqual(metrics["send_failures"], 3)
        taken = 0
        while until(lambda: in_.has_msg() or taken + in_.missed() == accepted) and in_.has_msg():
            in_.recv(SECONDS)
            taken += 1
        self.assertEqual(taken + in_.missed(), accepted)

    def test_send_wait_loses_nothing(self):
        out = self.hub.advertise("n")
        in_ = self.hub.subscribe("n", depth=1, overflow="drop_newest")
        heard = []

        def listen():
            while len(heard) < 100:
                heard.append(in_.recv(SECONDS))

        thread = threading.Thread(target=listen)
        thread.start()
        for i in range(100):
            out.send_wait(i, SECONDS)
        thread.join()
        self.assertEqual(heard, list(range(100)))
        self.assertEqual(in_.missed(), 0)

    def test_send_wait_gives_up_and_then_sent_nothing(self):
        out = self.hub.advertise("n")
        in_ = self.hub.subscribe("n", depth=1, overflow="drop_newest")
        out.send_wait(1, SECONDS)
        with self.assertRaisesRegex(TimeoutError, "nothing was sent"):
            out.send_wait(2, 0.02)
        self.assertEqual(in_.recv(SECONDS), 1)
        out.send_wait(3, SECONDS)
        self.assertEqual(in_.recv(SECONDS), 3)
        self.assertEqual(self.hub.get_metrics()["messages_sent"], 2)

    def test_eight_threads_send_and_each_keeps_its_order(self):
        out = self.hub.advertise("n", max_queued=4096)
        in_ = self.hub.subscribe("n", depth=2048, overflow="drop_newest")
        threads = [
            threading.Thread(target=lambda who=who: [out.send_wait([who, i]) for i in range(200)])
            for who in range(8)
        ]
        for thread in threads:
            thread.start()
        heard = [in_.recv(SECONDS) for _ in range(1600)]
        for thread in threads:
            thread.join()
        for who in range(8):
            self.assertEqual([i for other, i in heard if other == who], list(range(200)))
        self.assertEqual(in_.missed(), 0)

    def test_several_threads_receive_and_each_message_goes_to_one(self):
        out = self.hub.advertise("n", max_queued=4096)
        in_ = self.hub.subscribe("n", depth=2048)
        heard = [[] for _ in range(4)]

        def listen(mine):
            while (message := in_.recv(SECONDS)) is not None:
                mine.append(message)

        threads = [threading.Thread(target=listen, args=(mine,)) for mine in heard]
        for thread in threads:
            thread.start()
        for i in range(1000):
            out.send_wait(i)
        for _ in threads:
            out.send_wait(None)
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(sum(heard, [])), list(range(1000)))

    def test_recv_times_out_and_ctrl_c_interrupts(self):
        in_ = self.hub.subscribe("n")
        out = self.hub.advertise("n")
        block = self.hub.subscribe("n", depth=1, overflow="drop_newest")
        with self.assertRaisesRegex(TimeoutError, "no message on topic n within 0.01 seconds"):
            in_.recv(0.01)
        out.send_wait(1)
        in_.recv(SECONDS)
        for wait in (in_.recv, lambda: out.send_wait(2)):
            with self.assertRaises(KeyboardInterrupt):
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
                wait()
        self.assertEqual(block.recv(SECONDS), 1)
        self.assertFalse(in_.has_msg())

    def test_closing_ends_a_wait_on_another_thread(self):
        in_ = self.hub.subscribe("n")
        ended = []

        def wait():
            try:
                in_.recv()
            except RuntimeError as error:
                ended.append(str(error))

        thread = threading.Thread(target=wait)
        thread.start()
        in_.close()
        thread.join(SECONDS)
        self.assertEqual(ended, ["topic n is closed"])
        with self.assertRaisesRegex(RuntimeError, "topic n is closed"):
            in_.try_recv()
        in_.close()

    def test_closing_ends_a_wait_for_room(self):
        out = self.hub.advertise("n")
        in_ = self.hub.subscribe("n", depth=1, overflow="drop_newest")
        out.send_wait(1, SECONDS)
        threading.Timer(0.02, out.close).start()
        with self.assertRaisesRegex(RuntimeError, "topic n is closed"):
            out.send_wait(2)
        self.assertEqual(in_.recv(SECONDS), 1)

    def test_a_hub_closes_what_was_made_through_it(self):
        with horus.Hub("short") as hub:
            out, in_ = hub.advertise("n"), hub.subscribe("n")
            out.send(1)
            in_.recv(SECONDS)
            out.send(2)
        self.assertTrue(hub.closed)
        for use in (lambda: out.send(3), in_.recv, lambda: hub.subscribe("n")):
            with self.assertRaisesRegex(RuntimeError, "is closed"):
                use()
        self.assertEqual(hub.get_metrics()["messages_sent"], 2)
        self.assertEqual(hub.get_metrics()["messages_received"], 1)

    def test_what_nobody_has_any_more_is_gone(self):
        in_ = self.hub.subscribe("n")
        out = self.hub.advertise("n")
        self.assertTrue(in_.connected)
        del out
        self.assertTrue(until(lambda: not in_.connected))
        self.assertEqual(self.hub.get_metrics()["publishers"], 0)

    def test_one_topic_has_one_type(self):
        self.hub.subscribe_keeper = self.hub.subscribe("n", str)
        for other in (None, bytes, messages.Twist):
            with self.assertRaisesRegex(TypeError, "it carries text"):
                self.hub.advertise("n", other)
        out = self.hub.advertise("n", str)
        with self.assertRaisesRegex(TypeError, "topic n takes str, not int"):
            out.send(1)

    def test_wrong_arguments_say_what_is_right(self):
        for type_ in (int, list, 7, object):
            with self.assertRaisesRegex(TypeError, "type is None"):
                self.hub.subscribe("n", type_)
        with self.assertRaisesRegex(ValueError, "depth is 1 to 65536"):
            self.hub.subscribe("n", depth=0)
        with self.assertRaisesRegex(ValueError, "overflow is one of"):
            self.hub.subscribe("n", overflow="some")
        with self.assertRaisesRegex(ValueError, "max_queued"):
            self.hub.advertise("n", max_queued=1)
        with self.assertRaisesRegex(ValueError, "without spaces"):
            self.hub.advertise("two words")
        with self.assertRaises(TypeError):
            horus.Hub(7)
        with self.assertRaisesRegex(ValueError, "timeout"):
            self.hub.subscribe("n").recv(-1)
        with self.assertRaisesRegex(ValueError, "at most 1048576.*max_bytes"):
            self.hub.advertise("n2", bytes).send(bytes((1 << 20) + 1))

    def test_malformed_messages_are_skipped_and_counted(self):
        in_ = self.hub.subscribe("n")
        bad, good = raw_publisher(self.hub, "n"), self.hub.advertise("n")
        with self.assertLogs("horus.hub", "WARNING") as log:
            bad.send_raw(b"", b"\xc1")
            bad.send_raw(b"", b"\x91" * 100)
            self.assertTrue(until(lambda: in_.try_recv() is None and in_.missed() == 2))
        self.assertEqual(len(log.output), 1)  # at most one a second
        good.send("fine")
        self.assertEqual(in_.recv(SECONDS), "fine")
        self.assertEqual(self.hub.get_metrics()["recv_failures"], 2)
        text = self.hub.subscribe("text", str)
        raw = self.hub._core.advertise("text", _core.Format("text", "", 0, 1, 1, 1), 0, 1024)
        with self.assertLogs("horus.hub", "WARNING"):
            raw.send_raw(b"", b"\xff\xfe")
            self.assertTrue(until(lambda: text.try_recv() is None and text.missed() == 1))

    def test_nodes_make_and_use_links_in_their_ticks(self):
        heard = []

        class Sensor(horus.Node):
            def tick(self):
                if not hasattr(self, "out"):
                    self.out = horus.Hub.global_hub("of_nodes", directory=folder).advertise("imu")
                self.out.send(7)

        class Listener(horus.Node):
            def init(self):
                hub = horus.Hub.global_hub("of_nodes", directory=folder)
                self.imu = hub.subscribe("imu")

            def tick(self):
                if (reading := self.imu.try_recv()) is not None:
                    heard.append(reading)
                    scheduler.stop()

        with tempfile.TemporaryDirectory() as folder:
            scheduler = horus.Scheduler()
            scheduler.add(Sensor())
            scheduler.add(Listener())
            scheduler.run(duration=SECONDS)
            horus.Hub.global_hub("of_nodes", directory=folder).close()
        self.assertEqual(heard, [7])


@dataclasses.dataclass
class Wheel:
    speed: float
    slips: bool = False


@dataclasses.dataclass
class Base:
    _horus_name_ = "robot::Base"
    stamp_ns: int
    left: Wheel
    right: Wheel
    name: ctypes.c_char * 8
    gains: ctypes.c_float * 3
    code: ctypes.c_int8 = 0


class Types(unittest.TestCase):
    def setUp(self):
        self.hub = horus.Hub("types")
        self.addCleanup(self.hub.close)

    def there_and_back(self, type_, message, **options):
        topic = f"t{random.random()}"
        in_ = self.hub.subscribe(topic, type_)
        out = self.hub.advertise(topic, type_, **options)
        self.assertTrue(out.send(message))
        return in_.recv(SECONDS)

    def test_bytes_and_str(self):
        self.assertEqual(self.there_and_back(bytes, b"\0\xff"), b"\0\xff")
        self.assertEqual(self.there_and_back(bytes, bytearray(b"ab")), b"ab")
        self.assertEqual(self.there_and_back(bytes, memoryview(b"ab")), b"ab")
        self.assertEqual(self.there_and_back(str, "grün"), "grün")
        self.assertEqual(self.there_and_back(str, ""), "")

    def test_a_ctypes_structure(self):
        class Speeds(ctypes.Structure):
            _fields_ = [("stamp_ns", ctypes.c_int64), ("left", ctypes.c_double)]

        got = self.there_and_back(Speeds, Speeds(5, 2.5))
        self.assertEqual((type(got), got.stamp_ns, got.left), (Speeds, 5, 2.5))
        with self.assertRaisesRegex(TypeError, "a Speeds travels here, not dict"):
            self.there_and_back(Speeds, {"stamp_ns": 5})

    def test_layouts_are_those_of_cpp(self):
        from horus._types import codec_of

        self.assertEqual(
            codec_of(messages.Twist).format.describe(),
            "horus::messages::Twist {{f64 x @0, f64 y @8, f64 z @16} linear @0, "
            "{f64 x @0, f64 y @8, f64 z @16} angular @24}, 48 bytes",
        )
        self.assertIn(", then f32s}", codec_of(messages.LaserScan).format.describe())
        self.assertEqual(
            codec_of(Base).format.describe(),
            "robot::Base {i64 stamp_ns @0, {f64 speed @0, bool slips @8} left @8, "
            "{f64 speed @0, bool slips @8} right @24, char[8] name @40, f32[3] gains @48, "
            "i8 code @60}, 64 bytes",
        )
        sizes = {"Header": 40, "Pose": 56, "Odometry": 752, "Imu": 336, "Joint": 56, "LaserScan": 72,
                 "BatteryState": 400, "NavSatFix": 144, "Image": 72, "CloudPoint": 16}
        for name, size in sizes.items():
            self.assertEqual(ctypes.sizeof(getattr(messages, name)), size, name)

    def test_a_dataclass(self):
        base = Base(1, Wheel(0.5), Wheel(-1.0, True), b"rover", [1, 2, 3], -4)
        self.assertEqual(self.there_and_back(Base, base), base)
        with self.assertRaisesRegex(ValueError, "Base.code: 300 is out of range"):
            self.there_and_back(Base, dataclasses.replace(base, code=300))
        with self.assertRaisesRegex(TypeError, "Base.left.speed: "):
            self.there_and_back(Base, dataclasses.replace(base, left=Wheel("fast")))

    def test_types_without_a_fixed_layout_are_refused(self):
        @dataclasses.dataclass
        class Loose:
            names: list

        class Pointing(ctypes.Structure):
            _fields_ = [("to", ctypes.c_void_p)]

        class Bits(ctypes.Structure):
            _fields_ = [("low", ctypes.c_uint8, 4)]

        class Swapped(ctypes.BigEndianStructure):
            _fields_ = [("x", ctypes.c_int)]

        for type_, word in ((Loose, "no fixed size"), (Pointing, "cannot travel"), (Bits, "bit field"),
                            (Swapped, "")):
            with self.assertRaisesRegex(TypeError, word):
                self.hub.subscribe("n", type_)

    def test_ready_messages(self):
        imu = messages.Imu(header=messages.Header(7, b"imu_link"))
        imu.angular_velocity.z = 0.25
        imu.orientation_covariance[8] = 3.5
        got = self.there_and_back(messages.Imu, imu)
        self.assertEqual(got, imu)
        self.assertEqual((got.header.frame_id, got.orientation.w), (b"imu_link", 1.0))
        self.assertEqual(messages.NavSatFix().status.status, -1)
        self.assertEqual(messages.PointCloud().point_step, 16)
        self.assertIn("Quaternion(x=0.0, y=0.0, z=0.0, w=1.0)", repr(messages.Pose()))

    def test_tails(self):
        scan = messages.LaserScan(beams=2, range_max=30.0, tail=[1.5, 2.5, 10, 20])
        got = self.there_and_back(messages.LaserScan, scan)
        self.assertEqual((list(got.ranges), list(got.intensities)), ([1.5, 2.5], [10, 20]))
        image = messages.Image(height=2, width=3, step=3, encoding=b"mono8", tail=b"abcdef")
        self.assertEqual(self.there_and_back(messages.Image, image), image)
        joints = messages.JointState(tail=[messages.Joint(b"hip", 0.5), messages.Joint(b"knee")])
        got = self.there_and_back(messages.JointState, joints)
        self.assertEqual([(j.name, j.position) for j in got.tail], [(b"hip", 0.5), (b"knee", 0.0)])
        cloud = messages.PointCloud(width=1, tail=[messages.CloudPoint(1, 2, 3, 4)])
        self.assertEqual(self.there_and_back(messages.PointCloud, cloud).tail[0].z, 3.0)
        self.assertEqual(len(self.there_and_back(messages.Image, messages.Image()).tail), 0)
        with self.assertRaisesRegex(TypeError, "elements of 4 bytes"):
            self.there_and_back(messages.LaserScan, messages.LaserScan(tail=memoryview(bytes(16)).cast("d")))
        with self.assertRaisesRegex(ValueError, "no number of elements"):
            self.there_and_back(messages.LaserScan, messages.LaserScan(tail=b"abc"))

    def test_a_numpy_dtype(self):
        try:
            import numpy
        except ImportError:
            raise unittest.SkipTest("no NumPy")
        from horus._types import codec_of

        twist = numpy.dtype([(part, [(axis, "f8") for axis in "xyz"]) for part in ("linear", "angular")],
                            align=True, metadata={"name": "horus::messages::Twist"})
        self.assertEqual(codec_of(twist).format.hash, codec_of(messages.Twist).format.hash)
        got = self.there_and_back(twist, ((1, 2, 3), (4, 5, 6)))
        self.assertEqual((got["angular"]["y"], got.dtype), (5.0, twist))
        got["angular"]["y"] = 7  # it is the receiver's own
        fields = [("a", "u1"), ("b", "i4", (2, 3)), ("c", "S5"), ("d", "?"), ("e", "f4")]
        mixed = numpy.dtype(fields, align=True)
        value = numpy.zeros(1, mixed)[0]
        value["b"][1, 2] = -9
        value["c"] = b"abc"
        self.assertEqual(self.there_and_back(mixed, value), value)
        self.assertIn("i32[3][2] b @4, char[5] c", codec_of(mixed).format.describe())
        for wrong in ("f2", "O", ">f8", "c16"):
            with self.assertRaisesRegex(TypeError, "cannot travel"):
                codec_of(numpy.dtype([("x", wrong)]))
        scan = messages.LaserScan(tail=numpy.array([1, 2], "f4"), beams=2)
        self.assertEqual(list(self.there_and_back(messages.LaserScan, scan).ranges), [1, 2])

    def test_numpy_is_not_imported_unless_asked_for(self):
        code = "import sys, horus; horus.Hub('a').advertise('b'); print('numpy' in sys.modules)"
        self.assertEqual(subprocess.check_output([sys.executable, "-c", code], timeout=60), b"False\n")


class InPlace(unittest.TestCase):
    def setUp(self):
        self.hub = horus.Hub("here")
        self.addCleanup(self.hub.close)

    def pair(self, type_, **options):
        return self.hub.advertise("n", type_), self.hub.subscribe("n", type_, **options)

    def test_a_loan_is_written_and_a_view_is_read(self):
        out, in_ = self.pair(messages.Image)
        loan = out.loan(6)
        loan.head.width = 2
        loan.tail[:] = b"abcdef"
        out.shrink(loan, 5)
        self.assertTrue(out.publish(loan))
        with in_.recv_view(SECONDS) as view:
            self.assertEqual((view.head.width, bytes(view.tail)), (2, b"abcde"))
            with self.assertRaises(TypeError):
                view.tail[0] = 1
        self.assertTrue(view.released and loan.released)
        self.assertIsNone(in_.try_recv_view())
        out.send(messages.Image(width=3, tail=b"xyz"))
        self.assertEqual(bytes(in_.recv_view(SECONDS).tail), b"xyz")

    def test_every_type_that_has_a_place_in_memory(self):
        for type_, data in ((bytes, b"12345"), (str, "größe".encode())):
            out, in_ = self.hub.advertise(type_.__name__, type_), self.hub.subscribe(
                type_.__name__, type_
            )
            loan = out.loan(len(data))
            loan.tail[:] = data
            out.publish(loan)
            self.assertEqual(bytes(in_.recv_view(SECONDS)), data)
            with self.assertRaisesRegex(TypeError, "no head"):
                out.loan(1).head
        scan_out, scan_in = self.hub.advertise("s", messages.LaserScan), self.hub.subscribe(
            "s", messages.LaserScan
        )
        loan = scan_out.loan(3)
        loan.tail[0], loan.tail[1], loan.tail[2] = 1.0, 2.0, 3.5
        scan_out.publish(loan)
        self.assertEqual(scan_in.recv_view(SECONDS).tail.tolist(), [1.0, 2.0, 3.5])
        out, in_ = self.pair(messages.Twist)
        loan = out.loan()
        loan.head.linear.x = 2.5
        out.publish(loan)
        pose = self.hub.advertise("p", messages.Pose).loan()
        self.assertEqual(pose.head.orientation.w, 1)  # the type's default
        view = in_.recv_view(SECONDS)
        self.assertEqual(view.head, messages.Twist(messages.Vector3(x=2.5)))
        with self.assertRaisesRegex(TypeError, "no tail"):
            view.tail

    def test_nothing_is_copied_of_a_large_message(self):
        try:
            import numpy
        except ImportError:
            raise unittest.SkipTest("without NumPy") from None
        point = numpy.dtype([("x", "f8"), ("y", "f8", 40)], metadata={"name": "Curve"})
        out, in_ = self.pair(point)
        loan = out.loan()
        written = numpy.frombuffer(loan, numpy.uint8).ctypes.data
        loan.head["y"][39] = 1.5
        out.publish(loan)
        view = in_.recv_view(SECONDS)
        self.assertEqual(numpy.frombuffer(view, numpy.uint8).ctypes.data, written)
        self.assertEqual(view.head["y"][39], 1.5)

    def test_memory_that_is_in_use_is_not_given_away(self):
        out, in_ = self.pair(bytes)
        loan = out.loan(4)
        memory = loan.tail
        for use in (loan.release, lambda: out.publish(loan), lambda: out.shrink(loan, 1)):
            with self.assertRaisesRegex(BufferError, "delete it before"):
                use()
        del memory
        out.publish(loan)
        for use in (lambda: loan.tail, lambda: out.publish(loan), lambda: out.shrink(loan, 1)):
            with self.assertRaisesRegex(ValueError, "already"):
                use()
        loan.release()
        view = in_.recv_view(SECONDS)
        memory = view.tail
        with self.assertRaises(BufferError):
            view.release()
        del view
        self.assertEqual(len(memory), 4)  # it holds the message

    def test_views_and_loans_are_bounded_and_come_back(self):
        out, in_ = self.pair(bytes, depth=32)
        for i in range(20):
            self.assertTrue(out.send(b"%d" % i))
        self.assertTrue(until(in_.has_msg))
        views = [in_.recv_view(SECONDS) for _ in range(8)]
        for receive in (in_.recv, in_.try_recv, in_.recv_view, in_.try_recv_view):
            with self.assertRaisesRegex(RuntimeError, "held as views; release"):
                receive()
        self.assertEqual([bytes(view) for view in views], [b"%d" % i for i in range(8)])
        views.pop(3).release()
        self.assertEqual(in_.recv(SECONDS), b"8")
        del views
        self.assertEqual([in_.recv(SECONDS) for _ in range(11)], [b"%d" % i for i in range(9, 20)])
        loans = [out.loan(1) for _ in range(8)]
        with self.assertRaisesRegex(RuntimeError, "8 loans are out"):
            out.loan(1)
        del loans
        out.loan(1).release()

    def test_copies_and_loans_keep_their_order(self):
        out, in_ = self.pair(bytes, depth=1000)
        for i in range(300):
            if i % 3 == 0:
                loan = out.loan(4)
                loan.tail[:] = b"%04d" % i
                out.publish(loan)
            else:
                out.send(b"%04d" % i)
        self.assertEqual([int(in_.recv(SECONDS)) for _ in range(300)], list(range(300)))

    def test_they_outlive_their_ports(self):
        out, in_ = self.pair(bytes)
        out.send(b"kept")
        view, loan = in_.recv_view(SECONDS), out.loan(3)
        in_.close()
        out.close()
        self.hub.close()
        loan.tail[:] = b"abc"
        with self.assertRaisesRegex(RuntimeError, "closed"):
            out.publish(loan)
        del loan, out, in_
        self.assertEqual(bytes(view), b"kept")
        view.release()

    def test_views_on_an_asyncio_loop(self):
        async def main():
            receiving = asyncio.create_task(in_.recv_view_async(SECONDS))
            await asyncio.sleep(0.001)
            out.send(b"word")
            with await receiving as view:
                self.assertEqual(bytes(view), b"word")

        out, in_ = self.pair(bytes)
        for run in (asyncio.run, horus.run):
            run(main())

    def test_wrong_uses_say_what_is_right(self):
        out, in_ = self.pair(None)
        for use in (out.loan, in_.recv_view, in_.try_recv_view):
            with self.assertRaisesRegex(TypeError, "can be used in place"):
                use()
        images = self.hub.advertise("i", messages.Image, max_bytes=1000)
        with self.assertRaisesRegex(ValueError, "at most 1000"):
            images.loan(2000)
        with self.assertRaisesRegex(TypeError, "no tail"):
            self.hub.advertise("t", messages.Twist).loan(1)
        with self.assertRaisesRegex(TypeError, "takes a loan, not bytes"):
            images.publish(b"image")
        loan = images.loan(10)
        with self.assertRaisesRegex(ValueError, "of this publisher"):
            self.hub.advertise("i", messages.Image).publish(loan)
        with self.assertRaisesRegex(ValueError, "only become shorter"):
            images.shrink(loan, 11)
        with self.assertRaises(ValueError):
            images.loan(-1)
        with self.assertRaises(TypeError):
            horus.Loan()


class OnLoops(unittest.TestCase):
    """The same on whichever loops there are."""

    def loops(self):
        factories = {"asyncio": asyncio.new_event_loop}
        with contextlib.suppress(ImportError):
            import uvloop

            factories["uvloop"] = uvloop.new_event_loop
        if hasattr(horus, "new_event_loop"):
            factories["horus"] = horus.new_event_loop
        return factories

    def on_each(self, main):
        for name, factory in self.loops().items():
            with self.subTest(name), horus.Hub("loops") as hub:
                with asyncio.Runner(loop_factory=factory) as runner:
                    runner.run(asyncio.wait_for(main(hub), SECONDS))

    def test_async_for_until_it_is_closed(self):
        async def main(hub):
            out, in_ = hub.advertise("n"), hub.subscribe("n", depth=200)

            def send():
                for i in range(100):
                    out.send_wait(i)
                out.send_wait(None)

            thread = threading.Thread(target=send)
            thread.start()
            heard = []
            async for message in in_:
                heard.append(message)
                if message is None:
                    in_.close()
            thread.join()
            self.assertEqual(heard, [*range(100), None])

        self.on_each(main)

    def test_one_message_at_a_time_wakes_each_time(self):
        async def main(hub):
            there, back = hub.advertise("there"), hub.advertise("back")
            ping, pong = hub.subscribe("there"), hub.subscribe("back")

            def echo():
                for _ in range(500):
                    back.send(ping.recv(SECONDS))

            thread = threading.Thread(target=echo)
            thread.start()
            for i in range(500):
                there.send(i)
                self.assertEqual(await pong.recv_async(), i)
            thread.join()

        self.on_each(main)

    def test_many_tasks_wait_and_each_message_goes_to_one(self):
        async def main(hub):
            out, in_ = hub.advertise("n"), hub.subscribe("n", depth=100)
            tasks = [asyncio.create_task(in_.recv_async()) for _ in range(20)]
            await asyncio.sleep(0)
            for i in range(20):
                out.send(i)
            self.assertEqual(sorted(await asyncio.gather(*tasks)), list(range(20)))

        self.on_each(main)

    def test_a_cancelled_wait_takes_nothing(self):
        async def main(hub):
            out, in_ = hub.advertise("n"), hub.subscribe("n", depth=1000)
            taken = []

            async def take():
                taken.append(await in_.recv_async())

            for i in range(200):
                task = asyncio.create_task(take())
                await asyncio.sleep(0)
                out.send(i)
                if i % 2:
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            while len(taken) < 200:
                taken.append(await in_.recv_async())
            self.assertEqual(taken, list(range(200)))

        self.on_each(main)

    def test_sending_waits_for_room(self):
        async def main():
            hub = horus.Hub("room")
            out = hub.advertise("n", bytes)
            in_ = hub.subscribe("n", bytes, depth=1, overflow="drop_newest")

            async def send():
                for i in range(100):
                    await out.send_wait_async(b"%d" % i, SECONDS)

            sending = asyncio.create_task(send())
            heard = [await in_.recv_async(SECONDS) for _ in range(100)]
            await sending
            self.assertEqual(heard, [b"%d" % i for i in range(100)])
            await out.send_wait_async(b"fills it")
            with self.assertRaisesRegex(TimeoutError, "nothing was sent"):
                await out.send_wait_async(b"too late", 0.02)
            waiting = asyncio.create_task(out.send_wait_async(b"cancelled"))
            await asyncio.sleep(0.01)
            waiting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await waiting
            waiting = asyncio.create_task(out.send_wait_async(b"next"))
            await asyncio.sleep(0.01)
            self.assertEqual(await in_.recv_async(SECONDS), b"fills it")
            await waiting
            self.assertEqual(await in_.recv_async(SECONDS), b"next")
            await out.send_wait_async(b"fills it")
            waiting = asyncio.create_task(out.send_wait_async(b"closed"))
            await asyncio.sleep(0.01)
            out.close()
            with self.assertRaisesRegex(RuntimeError, "closed"):
                await waiting

        for run in (asyncio.run, horus.run):
            run(main())

    def test_timeouts(self):
        async def main(hub):
            in_ = hub.subscribe("n")
            with self.assertRaises(TimeoutError):
                await in_.recv_async(0.01)
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await in_.recv_async()

        self.on_each(main)

    def test_a_flood_leaves_others_their_turn(self):
        async def main(hub):
            out, in_ = hub.advertise("n", max_queued=60_000), hub.subscribe("n", depth=20_000)
            for i in range(20_000):
                out.send_wait(0)
            turns = 0

            async def other():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.create_task(other())
            for _ in range(20_000):
                await in_.recv_async()
            task.cancel()
            self.assertGreater(turns, 100)

        self.on_each(main)

    def test_loops_on_two_threads_share_a_subscriber(self):
        with horus.Hub("loops") as hub:
            out, in_ = hub.advertise("n"), hub.subscribe("n", depth=1000)
            heard = [[], []]

            async def listen(mine):
                while (message := await in_.recv_async(SECONDS)) is not None:
                    mine.append(message)

            threads = [
                threading.Thread(target=lambda mine=mine: asyncio.run(listen(mine))) for mine in heard
            ]
            for thread in threads:
                thread.start()
            for i in range(300):
                out.send_wait(i)
            for _ in threads:
                out.send_wait(None)
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(sum(heard, [])), list(range(300)))


# --- Other processes -----------------------------------------------------------------------------


def echo(link):
    """Says that it is there, and then back what it hears, until it hears None."""
    if not until(lambda: link.connected):
        sys.exit("nobody came")
    print("there", flush=True)
    while (message := link.recv(SECONDS)) is not None:
        link.send(message)


def child_tcp(address):
    echo(connecting(address, "child").create_link("data", "parent"))


def child_shm(directory):
    echo(horus.Hub.shm("child", directory=directory).create_link("data", "parent"))


def child_other_type(address):
    hub = connecting(address, "child")
    link = hub.create_link("data", "parent", str)
    print("there", flush=True)
    until(lambda: link.connected)


def child_beats(directory):
    hub = horus.Hub.shm("beats", directory=directory)
    number, speed = hub.advertise("number"), hub.advertise("speed", messages.Twist)
    while True:
        number.send(1)
        speed.send(messages.Twist())
        time.sleep(0.001)


def child_says_goodbye(address):
    hub = connecting(address, "child")
    link = hub.create_link("data", "parent")
    silent = hub.subscribe("silence")
    threading.Thread(target=silent.recv, daemon=True).start()  # ends without a word
    until(lambda: link.connected)
    for i in range(10):
        link.send(i)  # and the program ends


class Child:
    def __init__(self, what, *arguments, stderr=None):
        self.process = subprocess.Popen(
            [sys.executable, __file__, what, *arguments], stdout=subprocess.PIPE, stderr=stderr
        )

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def said(self):
        return self.process.stdout.readline().decode().strip()


class BetweenProcesses(unittest.TestCase):
    def talk(self, link):
        self.assertTrue(until(lambda: link.connected))
        for i in range(100):
            link.send_wait({"i": i, "raw": bytes(1000)}, SECONDS)
            self.assertEqual(link.recv(SECONDS)["i"], i)

    def hub_and_child(self, kind):
        if kind == "tcp":
            hub = listening("parent")
            return hub, ("child_tcp", hub.address)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return horus.Hub.shm("parent", directory=folder.name), ("child_shm", folder.name)

    def test_two_processes_talk_over_tcp_and_shared_memory(self):
        for kind in ("tcp", "shm"):
            hub, arguments = self.hub_and_child(kind)
            with self.subTest(kind), hub, Child(*arguments) as child:
                link = hub.create_link("data", "child")
                self.assertEqual(child.said(), "there")
                self.talk(link)
                state = hub.get_connection_state()
                self.assertTrue(state["connected"])
                self.assertIn("child", [peer["name"] for peer in state["peers"]])
                metrics = hub.get_metrics()
                self.assertEqual(
                    (metrics["messages_sent"], metrics["messages_received"]), (100, 100)
                )
                self.assertEqual(metrics["recv_failures"] + metrics["send_failures"], 0)
                link.send_wait(None)
                self.assertEqual(child.process.wait(SECONDS), 0)
                self.assertTrue(until(lambda: not link.connected))

    def test_latest_is_empty_while_a_publisher_is_frozen_and_when_it_was_killed(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        with horus.Hub.shm("beats", directory=folder.name) as hub:
            number = hub.subscribe("number", stale_after=0.3)
            speed = hub.subscribe("speed", messages.Twist, stale_after=0.3)
            all_there = lambda: number.latest() == 1 and speed.latest() is not None  # noqa: E731
            none_there = lambda: number.latest() is None and speed.latest() is None  # noqa: E731
            with Child("child_beats", folder.name) as child:
                self.assertTrue(until(all_there))
                child.process.send_signal(signal.SIGSTOP)
                self.assertTrue(until(none_there))
                self.assertTrue(number.connected)
                child.process.send_signal(signal.SIGCONT)
                self.assertTrue(until(all_there))
                child.process.kill()
                self.assertTrue(until(none_there))

    def test_a_killed_peer_is_seen_and_its_successor_met(self):
        for kind in ("tcp", "shm"):
            hub, arguments = self.hub_and_child(kind)
            with self.subTest(kind), hub:
                link = hub.create_link("data", "child")
                for _ in range(3):
                    with Child(*arguments) as child:
                        self.assertEqual(child.said(), "there")
                        self.talk(link)
                        child.process.kill()
                        self.assertTrue(until(lambda: not link.connected))
                        with self.assertRaises(TimeoutError):
                            link.recv(0.01)
                        self.assertTrue(link.send("nobody hears it"))

    def test_a_peer_wakes_who_waits_when_it_comes(self):
        hub, arguments = self.hub_and_child("shm")
        with hub:
            link = hub.create_link("data", "child")

            async def main():
                wait = asyncio.create_task(link.recv_async(SECONDS))
                await asyncio.sleep(0)
                with Child(*arguments):
                    while not link.connected:
                        await asyncio.sleep(0.001)
                    link.send("hello")
                    self.assertEqual(await wait, "hello")

            asyncio.run(main())

    def test_links_of_different_types_are_not_connected_and_say_so(self):
        with listening("parent") as hub:
            link = hub.create_link("data", "child")
            with Child("child_other_type", hub.address):
                def problem():
                    return "".join(p["problem"] for p in hub.get_connection_state()["peers"])

                self.assertTrue(until(lambda: "text" in problem()), problem())
                self.assertIn("MessagePack", problem())
                self.assertFalse(link.connected)

    def test_what_was_sent_arrives_though_the_program_ends(self):
        with listening("parent") as hub:
            link = hub.create_link("data", "child")
            with Child("child_says_goodbye", hub.address, stderr=subprocess.PIPE) as child:
                self.assertEqual([link.recv(SECONDS) for _ in range(10)], list(range(10)))
                self.assertEqual(child.process.wait(SECONDS), 0)
                self.assertNotIn("Traceback", child.process.stderr.read().decode())

    def test_hostile_bytes_on_the_socket_cost_only_their_connection(self):
        with listening("parent") as hub, connecting(hub.address, "child") as peer:
            link, other = hub.create_link("data", "child"), peer.create_link("data", "parent")
            self.assertTrue(until(lambda: link.connected and other.connected))
            chance = random.Random(2)
            host, port = hub.address.rsplit(":", 1)
            for size in (1, 10, 100, 5000):
                with socket.create_connection((host, int(port)), SECONDS) as raw:
                    with contextlib.suppress(ConnectionError):
                        raw.sendall(chance.randbytes(size))
                        if size >= 100:
                            self.assertEqual(raw.recv(1 << 16)[:0], b"")
            other.send("still here")
            self.assertEqual(link.recv(SECONDS), "still here")
            raw_data = raw_publisher(peer, "topic")
            in_ = hub.subscribe("topic")
            # The subscriber knows its publisher first: what is sent before the publisher knows it too is for nobody.
            self.assertTrue(until(lambda: in_.connected and raw_data.subscribers() == 1))
            with self.assertLogs("horus.hub", "WARNING"):
                raw_data.send_raw(b"", b"\xdd\xff\xff\xff\xff")
                self.assertTrue(until(lambda: in_.try_recv() is None and in_.missed() == 1))

    def test_a_forked_child_is_told_that_it_has_no_hubs(self):
        with horus.Hub("forked") as hub:
            out, in_ = hub.advertise("n"), hub.subscribe("n")
            child = os.fork()
            if child == 0:
                wrong = 0
                uses = (lambda: out.send(1), in_.recv, in_.try_recv, hub.get_metrics, hub.close,
                        lambda: hub.subscribe("n"), lambda: horus.Hub("new"), in_.close)
                for use in uses:
                    try:
                        use()
                        wrong += 1
                    except RuntimeError as error:
                        wrong += "fork" not in str(error)
                del out, in_, hub
                os._exit(wrong)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            out.send(1)
            self.assertEqual(in_.recv(SECONDS), 1)

    def test_the_same_types_as_cpp(self):
        program = os.environ.get("HORUS_EXCHANGE")
        if program is None:
            raise unittest.SkipTest("HORUS_EXCHANGE names no program")
        with tempfile.TemporaryDirectory() as folder, horus.Hub.shm("exchange", directory=folder) as hub:
            cpp = subprocess.Popen([program, folder])
            try:
                for type_, message, check in exchanged():
                    topic = "text" if type_ is str else type_.__name__
                    out, in_ = hub.advertise("to/" + topic, type_), hub.subscribe("from/" + topic, type_)
                    self.assertTrue(until(lambda: out.connected and in_.connected), topic)
                    out.send(message)
                    self.assertTrue(check(in_.recv(SECONDS)), topic)
                out = hub.advertise("to/Image", messages.Image)
                in_ = hub.subscribe("from/Image", messages.Image)
                self.assertTrue(until(lambda: out.connected and in_.connected))
                loan = out.loan(100_000)
                loan.head.width, loan.tail[0] = 9, 7
                out.publish(loan)
                with in_.recv_view(SECONDS) as view:
                    self.assertEqual((view.head.width, view.tail[99_999]), (9, 7))
                wrong = hub.subscribe("from/Imu2", messages.Twist)
                self.assertTrue(until(lambda: [
                    peer for peer in hub.get_connection_state()["peers"]
                    if "it publishes horus::messages::Imu" in peer["problem"]
                ]))
                self.assertFalse(wrong.connected)
            finally:
                cpp.kill()
                cpp.wait()


def exchanged():
    """What is sent to tests/py/exchange.cpp, and what must come back."""
    m = messages
    yield bytes, b"\0abc", lambda got: got == b"cba\0"
    yield str, "horus", lambda got: got == "suroh"
    twist = m.Twist(m.Vector3(1, 2, 3), m.Vector3(4, 5, 6))
    yield m.Twist, twist, lambda got: got == m.Twist(twist.angular, twist.linear)
    imu = m.Imu(m.Header(5, b"imu"), linear_acceleration=m.Vector3(z=9.75))
    yield m.Imu, imu, lambda got: (got.header.stamp_ns, got.linear_acceleration.z) == (6, 9.75)
    for type_ in (m.Pose, m.Odometry, m.BatteryState, m.NavSatFix):
        yield type_, type_(), lambda got, type_=type_: got == type_()
    scan = m.LaserScan(m.Header(1), beams=3, tail=[1, 2, 3])
    yield m.LaserScan, scan, lambda got: list(got.ranges) == [2, 4, 6]
    image = m.Image(m.Header(1), height=1, width=3, step=3, encoding=b"mono8", tail=b"\1\2\3")
    yield m.Image, image, lambda got: got.tail == b"\3\2\1" and got.encoding == b"mono8"
    joints = m.JointState(m.Header(1), tail=[m.Joint(b"hip", 0.5)])
    yield m.JointState, joints, lambda got: (got.tail[0].name, got.tail[0].position) == (b"hip", -0.5)
    cloud = m.PointCloud(m.Header(1), width=1, tail=[m.CloudPoint(1, 2, 3, 4)])
    yield m.PointCloud, cloud, lambda got: got.tail[0].x == -1 and got.point_step == 16

    @dataclasses.dataclass
    class Base:
        stamp_ns: int
        speed: ctypes.c_float
        gains: ctypes.c_double * 2
        on: bool

    yield Base, Base(1, 0.5, [1, 2], True), lambda got: got == Base(2, 1.0, [2.0, 1.0], False)


class Making(unittest.TestCase):
    def test_tcp_options_and_their_errors(self):
        with horus.Hub.tcp("127.0.0.1:0", "a", role="listen", max_connections=3, idle_limit_ms=500,
                           peers=["127.0.0.1:1"]) as hub:
            self.assertEqual(hub.name, "a")
            self.assertRegex(hub.address, r"^127\.0\.0\.1:\d+$")
            self.assertFalse(hub.get_connection_state()["connected"])
            with self.assertRaisesRegex(OSError, "in use"):
                horus.Hub.tcp(hub.address, "b", role="listen")
        for wrong, options in (
            ("no option 'rol'; there are: role", {"rol": "listen"}),
            ("peers is a list", {"peers": "127.0.0.1:1"}),
            ("max_connections is a whole number", {"max_connections": 1.5}),
            ("insecure is True or False", {"insecure": 1}),
        ):
            with self.assertRaisesRegex(TypeError, wrong):
                horus.Hub.tcp("127.0.0.1:0", "a", **options)
        for wrong, options in (("role is one of", {"role": "both"}), ("max_ports is", {"max_ports": 0}),
                               ("idle_limit", {"idle_limit_ms": 1})):
            with self.assertRaisesRegex(ValueError, wrong):
                horus.Hub.tcp("127.0.0.1:0", "a", **options)
        with self.assertRaises(ValueError):
            horus.Hub.tcp("nonsense", "a")
        with self.assertRaisesRegex(PermissionError, "insecure"):
            horus.Hub.tcp("0.0.0.0:0", "a")

    def test_a_global_hub_is_the_same_each_time(self):
        with tempfile.TemporaryDirectory() as folder:
            hub = horus.Hub.global_hub("everywhere", directory=folder)
            self.assertIs(horus.Hub.global_hub("everywhere"), hub)
            hub.close()
            other = horus.Hub.global_hub("everywhere", directory=folder)
            self.assertIsNot(other, hub)
            other.close()

    def test_from_config(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "hubs.toml")
            with open(path, "w") as file:
                file.write('[hub.a]\nmode = "tcp"\naddress = "127.0.0.1:0"\n[hub.b]\nmode = "inproc"\n'
                           '[hub.c]\nmode = "tcp"\nadress = "x"\n')
            with horus.Hub.from_config(path, "a") as hub:
                self.assertRegex(hub.address, r":\d+$")
            with horus.Hub.from_config(path, "b") as hub:
                self.assertEqual((hub.name, hub.address), ("b", ""))
            with self.assertRaisesRegex(ValueError, r"hubs.toml:.*address"):
                horus.Hub.from_config(path, "c")
            with self.assertRaises(FileNotFoundError):
                horus.Hub.from_config(os.path.join(folder, "none.toml"), "a")


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1].startswith("child_"):
        globals()[sys.argv[1]](*sys.argv[2:])
    else:
        unittest.main()
