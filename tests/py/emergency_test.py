# SPDX-License-Identifier: Apache-2.0
"""What an emergency stop means for messages between Python nodes, and the rules by which they restart."""

import asyncio
import gc
import tempfile
import threading
import unittest
import weakref

import horus


class Recorder(horus.Node):
    """Keeps what it is sent."""

    def __init__(self, name, topic, **subscribe):
        super().__init__(name, rate=500)
        self.topic, self.got = topic, []
        self.subscribe(topic, **subscribe)

    def tick(self):
        self.got += self.recv_all(self.topic)


class Commander(horus.Node):
    """Sends a number in each tick; in its hook a word."""

    def __init__(self):
        super().__init__("commander", rate=500)
        self.count, self.queued = 0, []

    def tick(self):
        self.count += 1
        self.queued.append(self.send("command", self.count))

    def enter_safe_state(self):
        self.send("command", "halt")


def run_with(scheduler, script, seconds=20):
    """Runs `script` on another thread beside the run, then stops; raises what it raised."""
    failed = []

    def work():
        try:
            script()
        except BaseException as error:
            failed.append(error)
        finally:
            scheduler.stop()

    thread = threading.Thread(target=work)
    thread.start()
    scheduler.run(duration=seconds)
    thread.join(20)
    if failed:
        raise failed[0]


def comes_true(what):
    pause = threading.Event()
    for _ in range(4000):
        if what():
            return True
        pause.wait(0.005)
    return False


class Failing(horus.Node):
    """Sends a number in each tick, which then fails until it has entered its safe state and been refused."""

    def __init__(self):
        super().__init__("failing", rate=100)
        self.count, self.queued, self.safe, self.well = 0, [], False, False

    def tick(self):
        self.count += 1
        self.queued.append(self.send("command", self.count))
        self.well = self.well or (self.safe and not self.queued[-1])
        if not self.well:
            raise RuntimeError("no device")

    def enter_safe_state(self):
        self.send("command", "halt")
        self.safe = True


class Isolated(unittest.TestCase):
    def test_what_a_node_sends_that_its_watchdog_isolated_goes_nowhere_until_a_tick_succeeds(self):
        scheduler = horus.Scheduler()
        failing, motor = Failing(), Recorder("motor", "command")
        scheduler.add(failing, logging_enabled=False, watchdog_ms=50, circuit_breaker=False)
        scheduler.add(motor)

        def all_said():
            return failing.well and failing.queued[-2:] == [True, True] and "halt" in motor.got

        run_with(scheduler, lambda: self.assertTrue(comes_true(all_said)))
        first, refused = failing.queued.index(False), failing.queued.count(False)
        self.assertGreater(first, 5)
        self.assertEqual(failing.queued[first : first + refused], [False] * refused)
        heard = [command for command in motor.got if command != "halt"]
        sent = [n for n, queued in enumerate(failing.queued, 1) if queued]
        self.assertEqual(heard, sent[: len(heard)])
        self.assertGreater(heard[-1], first + refused)


class Messages(unittest.TestCase):
    def test_between_stop_and_reset_a_held_node_sends_nothing_but_from_its_hook(self):
        scheduler = horus.Scheduler()
        commander = scheduler.add(Commander())
        view = scheduler.add(Recorder("view", "command"), keep_in_emergency=True)

        def script():
            self.assertTrue(comes_true(lambda: len(view.got) > 5))
            scheduler.emergency_stop()
            self.assertTrue(comes_true(lambda: "halt" in view.got))
            del view.got[:]
            # Whoever sends for a held node: its own thread, too.
            self.assertFalse(commander.send("command", "drive"))
            ticks = scheduler.get_node_stats("view")["total_ticks"]
            self.assertTrue(
                comes_true(lambda: scheduler.get_node_stats("view")["total_ticks"] > ticks + 20)
            )
            self.assertNotIn("drive", view.got)
            self.assertFalse([got for got in view.got if got != "halt"])
            scheduler.reset_emergency_stop()
            self.assertTrue(comes_true(lambda: any(isinstance(got, int) for got in view.got)))

        run_with(scheduler, script)

    def test_the_queues_of_a_held_node_are_held_and_empty_at_the_reset(self):
        scheduler = horus.Scheduler()
        motor = scheduler.add(Recorder("motor", "command"))
        latest = scheduler.add(Recorder("latest", "command", overflow="latest"))
        map_of = scheduler.add(Recorder("planner", "map", keep_in_emergency=True))
        pilot = scheduler.add(horus.Node("pilot", tick=lambda node: None), keep_in_emergency=True)

        def script():
            self.assertTrue(comes_true(lambda: pilot.send("command", 0) and 0 in motor.got))
            self.assertTrue(comes_true(lambda: 0 in latest.got))
            scheduler.emergency_stop()
            for number in range(1, 10):
                pilot.send("command", number)
            pilot.send("map", "kept")
            # Not even to a thread of the node's own.
            self.assertFalse(motor.has_msg("command"))
            self.assertIsNone(motor.recv("command"))
            self.assertEqual(motor.recv_all("command"), [])
            self.assertIsNone(latest.recv("command"))
            del motor.got[:], latest.got[:]
            scheduler.reset_emergency_stop()
            self.assertTrue(comes_true(lambda: map_of.got == ["kept"]))
            pilot.send("command", "after")
            self.assertTrue(comes_true(lambda: "after" in motor.got and "after" in latest.got))
            self.assertEqual(motor.got, ["after"])
            self.assertEqual(latest.got, ["after"])

        run_with(scheduler, script)
        stats = scheduler.get_node_stats("motor")
        self.assertGreaterEqual(stats["messages_dropped"], 9)

    def test_a_configuration_file_says_who_acts_on(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write("[node.commander]\nkeep_in_emergency = true\n")
            file.flush()
            scheduler = horus.Scheduler(file.name)
        commander = scheduler.add(Commander())
        view = scheduler.add(Recorder("view", "command"))
        scheduler.emergency_stop()
        self.assertTrue(commander.send("command", 1))
        self.assertFalse(view.send("back", 1))

    def test_a_coroutine_that_waits_is_not_given_what_came_during_the_stop(self):
        got = []

        class Motor(horus.AsyncNode):
            async def tick_async(self):
                got.append(await self.recv_async("command"))

        scheduler = horus.AsyncScheduler()
        scheduler.add(Motor("motor"))
        pilot = scheduler.add(horus.Node("pilot", tick=lambda node: None), keep_in_emergency=True)

        async def script():
            run = asyncio.ensure_future(scheduler.run_async(duration=20))
            while not got:
                pilot.send("command", 0)
                await asyncio.sleep(0.01)
            scheduler.emergency_stop()
            pilot.send("command", 1)
            await asyncio.sleep(0.05)
            del got[:]
            scheduler.reset_emergency_stop()
            pilot.send("command", 2)
            while not got:
                await asyncio.sleep(0.01)
            scheduler.stop()
            await run

        asyncio.run(asyncio.wait_for(script(), 20))
        self.assertEqual(got[0], 2)

    def test_a_paused_node_keeps_its_queue_but_for_what_is_only_worth_while_it_is_new(self):
        scheduler = horus.Scheduler()
        queue = scheduler.add(Recorder("queue", "command"))
        latest = scheduler.add(Recorder("latest", "command", overflow="latest"))
        pilot = scheduler.add(horus.Node("pilot", tick=lambda node: None))

        def script():
            for name in ("queue", "latest"):
                scheduler.pause(name)
            self.assertTrue(
                comes_true(lambda: scheduler.get_node_stats("latest")["state"] == "paused")
            )
            self.assertTrue(
                comes_true(lambda: scheduler.get_node_stats("queue")["state"] == "paused")
            )
            pilot.send("command", 1)
            for name in ("queue", "latest"):
                scheduler.resume(name)
            self.assertTrue(comes_true(lambda: queue.got == [1]))
            ticks = scheduler.get_node_stats("latest")["total_ticks"]
            self.assertTrue(
                comes_true(lambda: scheduler.get_node_stats("latest")["total_ticks"] > ticks + 5)
            )
            self.assertEqual(latest.got, [])

        run_with(scheduler, script)

    def test_nodes_do_not_keep_their_scheduler(self):
        scheduler = horus.Scheduler()
        node = scheduler.add(Commander())
        gone = weakref.ref(scheduler)
        gc.disable()
        try:
            del scheduler
            self.assertIsNone(gone())
        finally:
            gc.enable()
        self.assertTrue(node.send("command", 1))


class Device(horus.Node):
    """Fails in every init() and tick() while it is unplugged."""

    def __init__(self):
        super().__init__("device", rate=100)
        self.plugged, self.tries, self.good = False, 0, 0

    def init(self):
        self.tries += 1
        if not self.plugged:
            raise OSError("unplugged")

    def tick(self):
        self.good += 1


class Restarts(unittest.TestCase):
    def test_a_node_has_restart_rules_of_its_own(self):
        scheduler = horus.Scheduler()
        stops = scheduler.add(
            Device(), restart_delay_ms=1, restart_longest_delay_ms=2, restart_within_ms=0, max_restarts=3
        )
        goes_on = Device()
        goes_on.name = "goes_on"
        scheduler.add(goes_on, restart_delay_ms=1, restart_longest_delay_ms=2, max_restarts=0, restart_for_ever=True)

        def script():
            self.assertTrue(
                comes_true(lambda: scheduler.get_node_stats("device")["state"] == "stopped")
            )
            self.assertTrue(comes_true(lambda: goes_on.tries > 20))
            goes_on.plugged = True
            self.assertTrue(comes_true(lambda: goes_on.good > 3))

        run_with(scheduler, script)
        self.assertEqual(stops.tries, 4)  # the first one and three more

    def test_a_critical_node_that_does_not_come_back_trips_the_emergency_stop(self):
        scheduler = horus.Scheduler()
        device = scheduler.add(
            Device(), watchdog_ms=50, critical=True, restart_delay_ms=5, restart_longest_delay_ms=5, restart_for_ever=True
        )

        def script():
            self.assertTrue(comes_true(lambda: scheduler.emergency_stopped))
            device.plugged = True
            scheduler.reset_emergency_stop()
            self.assertTrue(comes_true(lambda: device.good > 3))

        run_with(scheduler, script)
        self.assertFalse(scheduler.emergency_stopped)

    def test_what_cannot_be_is_refused(self):
        scheduler = horus.Scheduler()
        for mistake, kind in (
            ({"restart_delay_ms": -1}, ValueError),
            ({"restart_longest_delay_ms": float("nan")}, ValueError),
            ({"restart_within_ms": "1"}, TypeError),
            ({"max_restarts": -1}, ValueError),
            ({"max_restarts": 1.5}, TypeError),
            ({"restart_for_ever": 1}, TypeError),
        ):
            with self.subTest(mistake), self.assertRaises(kind):
                scheduler.add(Device(), **mistake)
        self.assertEqual(scheduler.get_node_names(), [])


if __name__ == "__main__":
    unittest.main()
