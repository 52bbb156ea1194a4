# SPDX-License-Identifier: Apache-2.0
"""Nodes written in C++, from an extension module (cpp_nodes.cpp), in a Scheduler of Python."""

import asyncio
import gc
import unittest

import cpp_nodes
import horus
from horus.messages import Twist, Vector3

SECONDS = 20


def stop_when(scheduler, condition):
    return horus.Node("judge", tick=lambda node: condition() and scheduler.stop(), rate=1000)


class CppNodes(unittest.TestCase):
    def test_they_run_beside_python_nodes(self):
        scheduler = horus.Scheduler()
        planner = scheduler.add(cpp_nodes.Planner(0.5), priority=1, rate=200)
        base = cpp_nodes.Base()
        self.assertIs(scheduler.add(base), base)
        scheduler.connect("planner", "cmd_vel", "base", "velocity_in")
        scheduler.add(stop_when(scheduler, lambda: base.heard >= 3))
        self.assertEqual(scheduler.get_node_names(), ["planner", "base", "judge"])
        scheduler.run(duration=SECONDS)
        self.assertGreaterEqual(base.heard, 3)
        self.assertEqual(base.speed, 0.5)
        self.assertTrue(planner.ended)
        stats = scheduler.get_node_stats("planner")
        self.assertEqual((stats["priority"], stats["tick_rate"]), (1, 200.0))
        self.assertGreaterEqual(stats["messages_sent"], 3)

    def test_their_topics_meet_pythons_on_a_hub(self):
        hub = horus.Hub("robot")
        scheduler = horus.Scheduler()
        scheduler.use_hub(hub)
        scheduler.add(cpp_nodes.Planner(0.25), rate=200)
        base = scheduler.add(cpp_nodes.Base())
        heard = []

        class Relay(horus.Node):
            def init(self):
                self.commands = hub.subscribe("cmd_vel", Twist)
                self.out = hub.advertise("velocity_in", Twist)

            def tick(self):
                if (command := self.commands.try_recv()) is not None:
                    heard.append(command.linear.x)
                    self.out.send(Twist(linear=Vector3(x=2 * command.linear.x)))

        scheduler.add(Relay(rate=1000))
        scheduler.add(stop_when(scheduler, lambda: base.heard >= 2))
        scheduler.run(duration=SECONDS)
        self.assertEqual((heard[0], base.speed), (0.25, 0.5))

    def test_they_run_on_asyncio(self):
        async def main():
            scheduler = horus.AsyncScheduler()
            scheduler.add(cpp_nodes.Planner(1.0))
            base = scheduler.add(cpp_nodes.Base())
            scheduler.connect("planner", "cmd_vel", "base", "velocity_in")
            scheduler.add(stop_when(scheduler, lambda: base.heard >= 1))
            await scheduler.run_async(SECONDS)
            self.assertEqual(base.speed, 1.0)

        asyncio.run(main())

    def test_the_scheduler_keeps_them(self):
        scheduler = horus.Scheduler()
        scheduler.add(cpp_nodes.Planner(1.0))
        gc.collect()
        scheduler.tick_once()
        scheduler.close()
        del scheduler
        gc.collect()
        node = cpp_nodes.Base()
        node_without_scheduler = cpp_nodes.Planner(1.0)
        del node, node_without_scheduler

    def test_names_and_mistakes(self):
        scheduler = horus.Scheduler()
        node = scheduler.add(cpp_nodes.Broken())
        scheduler.add(cpp_nodes.Planner(1.0))
        scheduler.add(cpp_nodes.Planner(1.0))
        scheduler.add(horus.Node("python", tick=lambda node: None))
        self.assertEqual(
            scheduler.get_node_names(), ["named_in_cpp", "planner", "planner_2", "python"]
        )
        for other in (scheduler, horus.Scheduler()):
            with self.assertRaisesRegex(ValueError, "in a scheduler already"):
                other.add(node)
        with self.assertRaisesRegex(ValueError, "named 'named_in_cpp' already"):
            scheduler.add(cpp_nodes.Broken())
        with self.assertRaisesRegex(TypeError, "meet on a hub"):
            scheduler.connect("planner", "cmd_vel", "python", "in")
        scheduler.run(duration=0.05)
        stats = scheduler.get_node_stats("named_in_cpp")
        self.assertGreaterEqual(stats["failed_ticks"], 1)
        self.assertIn("no motor", stats["last_error"])


if __name__ == "__main__":
    unittest.main()
