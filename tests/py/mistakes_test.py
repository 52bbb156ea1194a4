# SPDX-License-Identifier: Apache-2.0
"""Mistakes are errors where they are made, in the words of Python."""

import asyncio
import logging
import unittest

import horus
from horus.messages import Header, Image, LaserScan, Point, Twist, Vector3


class Idle(horus.Node):
    def tick(self):
        pass


def added(node, **options):
    return horus.Scheduler().add(node, **options)


class Ticks(unittest.TestCase):
    def test_a_tick_that_yields_is_refused(self):
        class Generates(horus.Node):
            def tick(self):
                yield 1

        with self.assertRaisesRegex(TypeError, "tick.. of node 'generates' contains a yield"):
            added(Generates())
        with self.assertRaisesRegex(TypeError, "contains a yield"):
            added(horus.Node("n", tick=Generates.tick))

    def test_a_tick_that_gives_what_nobody_awaits_ends_the_run_when_it_is_the_first(self):
        class Forgets(horus.Node):
            async def work(self):
                pass

            def tick(self):
                return self.work()

        calls = []
        node = Forgets()
        node.shutdown = lambda: calls.append("shutdown")
        scheduler = horus.Scheduler()
        scheduler.add(node)
        with self.assertLogs("horus.forgets"):
            with self.assertRaisesRegex(TypeError, "tick.. of node 'forgets' gave a coroutine"):
                scheduler.run(duration=20)
        self.assertEqual(calls, ["shutdown"])

    def test_later_it_is_a_failed_tick(self):
        class Late(horus.Node):
            ticks = 0

            def tick(self):
                self.ticks += 1
                if self.ticks == 3:
                    scheduler.stop()
                return asyncio.sleep(0) if self.ticks == 2 else "anything else is welcome"

        scheduler = horus.Scheduler()
        scheduler.add(Late())
        with self.assertLogs("horus.late") as log:
            scheduler.run(duration=20)
        self.assertIn("gave a coroutine", log.output[0])
        stats = scheduler.get_node_stats("late")
        self.assertEqual((stats["failed_ticks"], stats["successful_ticks"] >= 2), (1, True))

    def test_a_tick_that_is_missing_or_wants_arguments_is_refused(self):
        class Nothing(horus.Node):
            pass

        class Dt(horus.Node):
            def tick(self, dt):
                pass

        class Number(Idle):
            shutdown = 5

        with self.assertRaisesRegex(TypeError, "Nothing has no tick"):
            added(Nothing())
        with self.assertRaisesRegex(TypeError, r"tick\(dt\) of node 'dt' is called with nothing but self"):
            added(Dt())
        with self.assertRaisesRegex(TypeError, r"tick\(\) of node 'n' is called with the node"):
            added(horus.Node("n", tick=lambda: None))
        with self.assertRaisesRegex(TypeError, "on_error.* is called with the error"):
            node = Idle("n")
            node.on_error = lambda: None
            added(node)
        with self.assertRaisesRegex(TypeError, "shutdown of node 'number' is a int"):
            added(Number())
        added(horus.Node("n", tick=print))  # of C, and says enough
        node = Nothing()
        node.tick = lambda: None
        added(node)

    def test_an_async_node_ticks_by_tick_async(self):
        class Plain(horus.AsyncNode):
            async def tick(self):
                pass

        class Nothing(horus.AsyncNode):
            pass

        class Yields(horus.AsyncNode):
            async def tick_async(self):
                yield 1

        add = horus.AsyncScheduler().add_async
        with self.assertRaisesRegex(TypeError, "rename it to tick_async"):
            add(Plain())
        with self.assertRaisesRegex(TypeError, "Nothing has no tick_async"):
            add(Nothing())
        with self.assertRaisesRegex(TypeError, "contains a yield"):
            add(Yields())

    def test_a_rate_is_set_where_it_is_looked_at(self):
        class Slow(Idle):
            def __init__(self):
                super().__init__()
                self.rate = 5

        with self.assertRaisesRegex(AttributeError, r"super\(\).__init__\(rate=5\)"):
            Slow()
        with self.assertRaisesRegex(TypeError, "rate = 5 in class Fixed is not looked at"):

            class Fixed(Idle):
                rate = 5

        self.assertEqual(horus.Node("n", tick=print, rate=7).rate, 7)

    def test_a_watchdog_below_three_periods_is_refused_where_it_is_set(self):
        with self.assertRaisesRegex(ValueError, "watchdog_ms is 20, shorter than 3 periods of 10 Hz: set at least 300"):
            added(Idle(), rate=10, watchdog_ms=20)
        with self.assertRaisesRegex(ValueError, "3 periods of 100 Hz"):
            added(Idle(), watchdog_ms=20)  # the scheduler's rate
        scheduler = horus.Scheduler()
        scheduler.add(Idle(), rate=10)
        scheduler.tick_once()
        with self.assertRaisesRegex(ValueError, "shorter than 3 periods of 10 Hz"):
            scheduler.set_node_watchdog("idle", True, 100)
        scheduler.set_node_watchdog("idle", True, 300)
        scheduler.close()

    def test_what_keeps_a_run_from_starting_is_said_by_the_exception(self):
        scheduler = horus.Scheduler(horus.SchedulerConfig(watchdog_enabled=True, watchdog_timeout_ms=10))
        scheduler.add(Idle())
        for start in (scheduler.run, scheduler.tick_once):
            with self.assertRaisesRegex(RuntimeError, "could not start: .*\"idle\".*3 periods of"):
                start()

    def test_a_failed_tick_names_its_node_whatever_the_format_of_the_log(self):
        class Bad(horus.Node):
            def tick(self):
                scheduler.stop()
                raise ValueError("no reading")

        scheduler = horus.Scheduler()
        scheduler.add(Bad())
        with self.assertLogs("horus.bad", logging.ERROR) as log:
            scheduler.run(duration=20)
        self.assertEqual(log.records[0].getMessage(), "bad: tick failed: ValueError: no reading")

    def test_a_function_or_class_instead_of_what_it_gives_is_named(self):
        async def main():
            pass

        with self.assertRaisesRegex(TypeError, r"main is a function; call it: horus.run\(main\(\)\)"):
            horus.run(main)
        with self.assertRaisesRegex(TypeError, r"Idle is a class; call it: horus.run\(Idle\(\)\)"):
            horus.run(Idle)


class Messages(unittest.TestCase):
    def test_a_field_that_does_not_exist_is_an_error_with_the_nearest_one(self):
        twist = Twist()
        with self.assertRaisesRegex(AttributeError, "Twist has no field 'liner'; did you mean 'linear'"):
            twist.liner = 5
        with self.assertRaisesRegex(AttributeError, "did you mean 'linear'"):
            twist.liner
        with self.assertRaisesRegex(AttributeError, "Point has no field 'q'; there are: x, y, z"):
            Point(q=1)
        twist.linear.x = 1
        self.assertEqual(twist, Twist(linear=Vector3(x=1)))
        self.assertFalse(hasattr(twist, "tale"))

    def test_a_number_that_does_not_fit_is_an_error_with_the_range(self):
        with self.assertRaisesRegex(ValueError, "Image.width is 0 to 4294967295, not 1099511627776"):
            Image(width=2**40)
        image = Image()
        with self.assertRaisesRegex(ValueError, "Image.height is 0 to 4294967295, not -1"):
            image.height = -1
        with self.assertRaisesRegex(ValueError, "stamp_ns is -9223372036854775808 to"):
            Header(stamp_ns=2**63)
        image.width = 2**32 - 1
        self.assertEqual(image.width, 2**32 - 1)

    def test_a_class_of_ones_own_has_the_same_guards(self):
        import ctypes

        class Wheel(horus.messages.Message):
            _fields_ = [("turns", ctypes.c_int16), ("name", ctypes.c_char * 4)]

        class Driven(Wheel):
            _fields_ = [("motor", ctypes.c_uint8)]
            gear = 3  # no field, but one's own

        driven = Driven(turns=-5, motor=255)
        driven.gear = 4
        self.assertEqual((driven.turns, driven.motor, driven.gear), (-5, 255, 4))
        with self.assertRaisesRegex(ValueError, "Driven.turns is -32768 to 32767"):
            driven.turns = 40_000
        with self.assertRaisesRegex(AttributeError, "did you mean 'motor'"):
            driven.moter = 1
        self.assertEqual(LaserScan(tail=[1.0]).tail, [1.0])


class Hubs(unittest.TestCase):
    def test_a_depth_that_the_publisher_cannot_serve_is_refused_where_it_is_asked_for(self):
        with horus.Hub("here") as hub:
            out = hub.advertise("deep")
            with self.assertRaisesRegex(ValueError, "raise max_queued, or give subscribers a smaller depth"):
                hub.subscribe("deep", depth=4096)
            into = hub.subscribe("deep", depth=64)
            out.send(1)
            self.assertEqual(into.recv(timeout=20), 1)
            wide = hub.subscribe("wide", depth=4096)
            with self.assertRaisesRegex(ValueError, "max_queued"):
                hub.advertise("wide")
            hub.advertise("wide", max_queued=8192).send(2)
            self.assertEqual(wide.recv(timeout=20), 2)

    def test_messages_speak_python(self):
        with self.assertRaises(Exception) as raised:
            horus.Hub.tcp("0.0.0.0:0", "open", role="listen")
        self.assertNotIn("::", str(raised.exception))
        self.assertIn("insecure", str(raised.exception))


if __name__ == "__main__":
    unittest.main()
