# SPDX-License-Identifier: Apache-2.0
"""A run from beginning to end, its faults, and what may be asked and told from elsewhere."""

import threading
import time
import unittest

import horus

# SEMANTICS' introspection names.
NAMES = """name priority tick_rate logging_enabled state total_ticks successful_ticks failed_ticks
total_failures consecutive_failures circuit_state circuit_open deadline_ms deadline_misses
watchdog_enabled watchdog_timeout_ms watchdog_expired watchdog_time_since_feed_ms ticks_skipped
avg_tick_duration_ms min_tick_duration_ms max_tick_duration_ms last_tick_duration_ms messages_sent
messages_received uptime_seconds release_lateness execution suspended response failure_count
rate_hz""".split()


class Recorder(horus.Node):
    """Notes its calls; stops the scheduler with tick number `last`."""

    def __init__(self, name, calls, scheduler=None, last=3):
        super().__init__(name)
        self.calls, self.scheduler, self.last, self.ticks = calls, scheduler, last, 0

    def init(self):
        self.calls.append(f"init {self.name}")

    def tick(self):
        self.ticks += 1
        self.calls.append(f"tick {self.name}")
        if self.scheduler is not None and self.ticks == self.last:
            self.scheduler.stop()

    def shutdown(self):
        self.calls.append(f"shutdown {self.name}")


def failing_until(scheduler, ticks, config_calls):
    """A node that always fails and stops the scheduler after so many ticks."""

    class Failing(horus.Node):
        def tick(self):
            config_calls.append(1)
            if len(config_calls) == ticks:
                scheduler.stop()
            raise ValueError(f"bad reading {len(config_calls)}")

    return Failing()


class Runs(unittest.TestCase):
    def test_nodes_start_by_priority_and_end_in_reverse_order(self):
        scheduler, calls = horus.Scheduler(), []
        scheduler.add(Recorder("second", calls), priority=2)
        scheduler.add(Recorder("first", calls, scheduler, last=2), priority=1)
        scheduler.run()
        self.assertEqual(calls[:4], ["init second", "init first", "tick first", "tick second"])
        self.assertEqual(calls[-2:], ["shutdown first", "shutdown second"])

    def test_a_duration_ends_the_run(self):
        scheduler, calls = horus.Scheduler(), []
        scheduler.add(Recorder("n", calls))
        scheduler.run(duration=0.1)
        stats = scheduler.get_node_stats("n")
        self.assertGreaterEqual(stats["total_ticks"], 1)
        self.assertEqual(stats["grid_points"], sum(stats["outcomes"].values()))
        self.assertEqual(stats["state"], "stopped")

    def test_tick_once_ticks_every_node_once(self):
        scheduler, calls = horus.Scheduler(), []
        scheduler.add(Recorder("n", calls))
        scheduler.tick_once()
        scheduler.tick_once()
        scheduler.run(duration=0)
        self.assertEqual(calls[:3], ["init n", "tick n", "tick n"])
        self.assertEqual(calls[-1], "shutdown n")

    def test_stop_works_from_another_thread(self):
        scheduler, calls = horus.Scheduler(), []
        ticked = threading.Event()
        scheduler.add(horus.Node("n", tick=lambda node: ticked.set(), rate=1000))
        other = threading.Thread(target=lambda: (ticked.wait(), scheduler.stop()))
        other.start()
        scheduler.run()
        other.join()
        self.assertEqual(calls, [])

    def test_a_run_in_a_thread_lets_others_run_python(self):
        scheduler = horus.Scheduler()
        scheduler.add(horus.Node("n", tick=lambda node: None))
        runner = threading.Thread(target=scheduler.run)
        runner.start()
        while scheduler.get_node_stats("n")["total_ticks"] < 3:  # each question waits for the loop
            pass
        scheduler.pause("n")
        self.assertEqual(scheduler.get_node_stats("n")["state"], "paused")
        scheduler.resume("n")
        self.assertEqual(scheduler.get_node_stats("n")["state"], "running")
        scheduler.stop()
        runner.join()

    def test_a_run_inside_a_tick_is_refused(self):
        inner, errors = horus.Scheduler(), []
        inner.add(horus.Node("inner", tick=lambda node: None))

        def tick(node):
            try:
                inner.run()
            except RuntimeError as error:
                errors.append(str(error))
            outer.stop()

        outer = horus.Scheduler()
        outer.add(horus.Node("outer", tick=tick))
        outer.run()
        self.assertIn("runs on this thread already", errors[0])

    def test_horus_run_is_the_short_way(self):
        ticks = []
        horus.run(horus.Node("n", tick=ticks.append, rate=500), duration=0.05)
        self.assertGreater(len(ticks), 0)

    def test_wrong_arguments_say_what_was_expected(self):
        scheduler = horus.Scheduler()
        node = scheduler.add(horus.Node("n", tick=lambda node: None))
        with self.assertRaisesRegex(TypeError, "node is a horus.Node, not int"):
            scheduler.add(5)
        with self.assertRaisesRegex(ValueError, "in a scheduler already"):
            scheduler.add(node)
        with self.assertRaisesRegex(ValueError, "no node is named 'x'; there are: n"):
            scheduler.get_node_stats("x")
        with self.assertRaisesRegex(ValueError, "there are: n"):
            scheduler.pause("x")
        with self.assertRaisesRegex(ValueError, "deadline_ms is 0 to 10000 ms, not -1"):
            scheduler.set_node_deadline("n", -1)
        with self.assertRaisesRegex(TypeError, "enabled is True or False"):
            scheduler.set_node_watchdog("n", 500)
        with self.assertRaisesRegex(ValueError, "timeout_ms is 10 to 60000 ms"):
            scheduler.set_node_watchdog("n", True, 5)
        with self.assertRaisesRegex(TypeError, "duration is a number of seconds, not str"):
            scheduler.run("5")
        with self.assertRaisesRegex(ValueError, "on_miss is one of warn, skip"):
            scheduler.add(horus.Node("m", tick=lambda node: None), on_miss="explode")
        self.assertEqual(scheduler.get_node_names(), ["n"])

        async def tick(node):
            pass

        with self.assertRaisesRegex(TypeError, "AsyncNode"):
            scheduler.add(horus.Node("async", tick=tick))


class Faults(unittest.TestCase):
    def test_a_failed_tick_is_counted_logged_with_its_traceback_and_told_to_on_error(self):
        scheduler, calls, errors = horus.Scheduler(), [], []
        node = failing_until(scheduler, 3, calls)
        node.on_error = errors.append
        scheduler.add(node)
        with self.assertLogs("horus.failing", "ERROR") as log:
            scheduler.run()
        stats = scheduler.get_node_stats("failing")
        self.assertEqual(
            (stats["failed_ticks"], stats["failure_count"], stats["consecutive_failures"]),
            (3, 3, 3),
        )
        self.assertEqual(stats["last_error"], "ValueError: bad reading 3")
        self.assertEqual(
            [str(error) for error in errors], ["bad reading 1", "bad reading 2", "bad reading 3"]
        )
        self.assertIn("Traceback", log.output[0])
        self.assertIn("in tick", log.output[0])
        self.assertEqual(len(log.output), 1)  # at most one per second

    def test_the_circuit_breaker_leaves_a_failing_node_alone(self):
        config = horus.SchedulerConfig(max_failures=2, tick_rate=500)
        scheduler, calls, healthy = horus.Scheduler(config), [], []
        scheduler.add(failing_until(None, 1000, calls))

        def tick(node):
            healthy.append(1)
            if len(healthy) == 20:
                scheduler.stop()

        scheduler.add(horus.Node("healthy", tick=tick))
        with self.assertLogs("horus.failing", "ERROR"):
            scheduler.run()
        self.assertEqual(len(calls), 2)
        stats = scheduler.get_node_stats("failing")
        self.assertTrue(stats["circuit_open"])
        self.assertEqual((stats["circuit_state"], stats["circuit_opens"]), ("open", 1))

    def test_a_node_restarts_by_itself(self):
        config = horus.SchedulerConfig(max_failures=1, auto_restart=True, restart_delay_ms=1)
        scheduler, calls = horus.Scheduler(config), []

        class Once(Recorder):
            def tick(self):
                if calls.count("init once") == 1:
                    raise OSError("unplugged")
                scheduler.stop()

        scheduler.add(Once("once", calls))
        with self.assertLogs("horus.once", "ERROR"):
            scheduler.run()
        self.assertEqual(calls, ["init once", "shutdown once", "init once", "shutdown once"])
        self.assertEqual(scheduler.get_node_stats("once")["restarts"], 1)

    def test_an_init_that_raises_ends_the_run_with_it(self):
        scheduler, calls = horus.Scheduler(), []
        scheduler.add(Recorder("good", calls))

        def init(node):
            raise FileNotFoundError("no camera")

        scheduler.add(horus.Node("camera", tick=lambda node: None, init=init))
        with self.assertLogs("horus.camera", "ERROR"), self.assertRaisesRegex(
            FileNotFoundError, "no camera"
        ):
            scheduler.run()
        self.assertEqual(calls, ["init good", "shutdown good"])

    def test_a_missed_deadline_is_counted_and_a_reaction_is_taken(self):
        scheduler = horus.Scheduler(horus.SchedulerConfig(deadline_monitoring=True))
        busy = threading.Event()
        scheduler.add(
            horus.Node("late", tick=lambda node: busy.wait(0.03)), deadline_ms=5, on_miss="stop"
        )
        scheduler.run()
        self.assertGreaterEqual(scheduler.get_node_stats("late")["deadline_misses"], 1)

    def test_deadlines_and_watchdogs_can_be_set_while_it_runs(self):
        scheduler = horus.Scheduler()

        def tick(node):
            scheduler.set_node_deadline("n", 20)
            scheduler.set_node_watchdog("n", True, 500)
            seen.append(scheduler.get_node_stats("n"))
            scheduler.stop()

        seen = []
        scheduler.add(horus.Node("n", tick=tick))
        scheduler.run()
        self.assertEqual(seen[0]["deadline_ms"], 20)
        self.assertTrue(seen[0]["watchdog_enabled"])
        self.assertEqual(seen[0]["watchdog_timeout_ms"], 500)

    def test_an_emergency_stop_calls_every_hook_by_priority_until_it_is_reset(self):
        scheduler, calls = horus.Scheduler(), []

        class Motor(horus.Node):
            def tick(self):
                calls.append("tick " + self.name)
                scheduler.emergency_stop()

            def enter_safe_state(self):
                calls.append("safe " + self.name)
                if calls.count("safe right") == 1:
                    scheduler.stop()

        scheduler.add(Motor("right"), priority=2)
        scheduler.add(Motor("left"), priority=1)
        scheduler.run()
        safe = [call for call in calls if call.startswith("safe")]
        self.assertEqual(safe[:2], ["safe left", "safe right"])  # at once
        self.assertEqual(set(safe[2:]) | {"safe left"}, {"safe left", "safe right"})  # and settled
        self.assertLessEqual(len(safe), 4)
        self.assertTrue(scheduler.emergency_stopped)
        scheduler.reset_emergency_stop()
        self.assertFalse(scheduler.emergency_stopped)

    def test_a_hook_is_called_while_a_tick_hangs(self):
        scheduler, safe = horus.Scheduler(), threading.Event()

        class Hanging(horus.Node):
            def tick(self):
                scheduler.emergency_stop()
                self.saved = safe.wait(10)  # waits for its own hook, on another thread
                scheduler.stop()

            def enter_safe_state(self):
                safe.set()

        node = scheduler.add(Hanging())
        scheduler.run()
        self.assertTrue(node.saved)


class Introspection(unittest.TestCase):
    def test_every_name_is_there_before_during_and_after_a_run(self):
        scheduler = horus.Scheduler()
        seen = []
        scheduler.add(
            horus.Node(
                "n", tick=lambda node: (seen.append(scheduler.get_all_nodes()), scheduler.stop())
            )
        )
        seen.append(scheduler.get_all_nodes())
        scheduler.run()
        seen.append(scheduler.get_all_nodes())
        for nodes in seen:
            self.assertEqual([name for name in NAMES if name not in nodes[0]], [])
        self.assertEqual(seen[-1][0]["rate_hz"], 100)
        self.assertEqual(
            set(seen[-1][0]["execution"]),
            {"count", "min_ns", "mean_ns", "max_ns", "p50_ns", "p99_ns", "p99_9_ns"},
        )
        self.assertIn("n ", scheduler.status())


class Questions(unittest.TestCase):
    """Asked from another thread while a node hangs."""

    def test_the_watchdog_is_seen_to_expire_while_the_node_hangs(self):
        free, seen, took = threading.Event(), [], []

        class Slow(horus.Node):
            """Hangs in its third tick, without the interpreter, until it has been seen."""

            ticks = 0

            def tick(self):
                self.ticks += 1
                if self.ticks == 3:
                    free.wait(20)

        scheduler = horus.Scheduler()
        scheduler.add(Slow())
        scheduler.set_node_watchdog("slow", True, 100)

        def ask():
            end = time.monotonic() + 15
            while time.monotonic() < end and not seen:
                began = time.monotonic()
                stats = scheduler.get_node_stats("slow")
                took.append(time.monotonic() - began)
                if stats["watchdog_expired"]:
                    seen.append(stats)
                time.sleep(0.01)
            free.set()
            scheduler.stop()

        asking = threading.Thread(target=ask)
        asking.start()
        scheduler.run()
        asking.join()
        self.assertTrue(seen)
        self.assertGreaterEqual(seen[0]["watchdog_time_since_feed_ms"], 100)
        self.assertEqual(seen[0]["state"], "running")
        self.assertLess(max(took), 1.0)  # 50 ms on a machine with nothing else to do


if __name__ == "__main__":
    unittest.main()
