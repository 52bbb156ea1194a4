# SPDX-License-Identifier: Apache-2.0
"""One scheduler and threads that do not know of each other. What could end the process runs in one of its own."""

import asyncio
import gc
import subprocess
import sys
import threading
import unittest

import horus


class Ticker(horus.Node):
    """Counts its calls, and says when it has ticked."""

    def __init__(self, name=None):
        super().__init__(name, rate=500)
        self.calls, self.ticked = [], threading.Event()

    def init(self):
        self.calls.append("init")

    def tick(self):
        self.calls.append("tick")
        self.ticked.set()

    def shutdown(self):
        self.calls.append("shutdown")

    def account(self):
        return [call for call in self.calls if call != "tick"]


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


class TwoRuns(unittest.TestCase):
    def run_beside(self, scheduler, node, beside):
        """Runs `beside` on another thread as soon as the node has ticked, then stops."""
        failed = []

        def work():
            try:
                self.assertTrue(node.ticked.wait(20))
                beside()
                node.ticked.clear()
                self.assertTrue(node.ticked.wait(20), "the first run does not go on")
            except BaseException as error:
                failed.append(error)
            finally:
                scheduler.stop()

        thread = threading.Thread(target=work)
        thread.start()
        scheduler.run(duration=20)
        thread.join()
        if failed:
            raise failed[0]

    def test_a_second_run_is_refused_and_the_first_goes_on(self):
        scheduler, node = horus.Scheduler(), Ticker()
        scheduler.add(node)

        def beside():
            for refused in (scheduler.run, scheduler.tick_once):
                with self.assertRaisesRegex(RuntimeError, "running already"):
                    refused()
            scheduler.close()  # nothing that tick_once() has started

        self.run_beside(scheduler, node, beside)
        self.assertEqual(node.account(), ["init", "shutdown"])

    def test_the_same_inside_asyncio(self):
        class Async(horus.AsyncNode):
            def __init__(self):
                super().__init__()
                self.ticked = threading.Event()

            async def tick_async(self):
                self.ticked.set()
                await asyncio.sleep(0.001)

        scheduler, node = horus.AsyncScheduler(), Async()
        scheduler.add_async(node)

        def beside():
            with self.assertRaisesRegex(RuntimeError, "running already"):
                scheduler.run(duration=1)

        self.run_beside(scheduler, node, beside)
        self.assertEqual(scheduler.get_node_stats("async")["failed_ticks"], 0)
        self.assertEqual(scheduler.get_node_stats("async")["cancelled_ticks"], 1)  # by the end

    def test_what_is_added_or_renamed_while_it_runs_is_refused_and_forgotten(self):
        scheduler, node = horus.Scheduler(), Ticker()
        scheduler.add(node)
        other = Ticker("ticker")  # would give the first one another name

        def beside():
            for _ in range(50):
                with self.assertRaisesRegex(RuntimeError, "while the scheduler is running"):
                    scheduler.add(other)
            scheduler.emergency_stop()
            scheduler.reset_emergency_stop()

        self.run_beside(scheduler, node, beside)
        self.assertEqual(scheduler.get_node_names(), ["ticker"])
        with self.assertRaisesRegex(RuntimeError, "in no scheduler yet"):
            other.send("topic", 1)
        horus.Scheduler().add(other)  # it belongs to nobody

    def test_a_node_that_was_refused_is_not_called_at_an_emergency_stop(self):
        called, hooked = [], threading.Event()

        class Hooked(Ticker):
            def enter_safe_state(self):
                called.append(self.name)
                hooked.set()

        scheduler, node = horus.Scheduler(), Hooked("good")
        scheduler.add(node)
        for _ in range(30):
            for options in ({"on_miss": "nonsense"}, {"watchdog_ms": 10, "rate": 10}, {"overrun": "maybe"}):
                with self.assertRaises(ValueError):
                    scheduler.add(Hooked("bad"), **options)
            with self.assertRaises(ValueError):
                scheduler.add(Hooked("good"))
        gc.collect()

        def beside():
            scheduler.emergency_stop()
            self.assertTrue(hooked.wait(20))
            scheduler.reset_emergency_stop()

        self.run_beside(scheduler, node, beside)
        self.assertEqual(set(called), {"good"})
        self.assertEqual(scheduler.get_node_names(), ["good"])


class Elsewhere(unittest.TestCase):
    def test_what_one_thread_started_and_closed_may_be_dropped_by_another(self):
        scheduler, node = horus.Scheduler(), Ticker()
        scheduler.add(node)

        def work():
            scheduler.tick_once()
            with self.assertRaisesRegex(RuntimeError, "after tick_once"):
                scheduler.add(Ticker())
            scheduler.close()

        in_thread(work)
        self.assertEqual(node.calls, ["init", "tick", "shutdown"])
        scheduler.tick_once()  # and used again
        scheduler.close()
        self.assertEqual(node.calls, ["init", "tick", "shutdown"] * 2)

    def test_nodes_that_another_thread_has_started_are_left_to_it(self):
        code = """if 1:
            import gc, horus, threading
            scheduler = horus.Scheduler()
            scheduler.add(horus.Node("n", tick=lambda node: None))
            thread = threading.Thread(target=scheduler.tick_once)
            thread.start(); thread.join()
            for refused in (scheduler.run, scheduler.tick_once, scheduler.close):
                try: refused()
                except RuntimeError as error: print(error)
            del scheduler; gc.collect(); print("alive")
        """
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(run.stdout.count("on another thread"), 3)
        self.assertIn("alive", run.stdout)
        self.assertIn("close() it on the thread of tick_once()", run.stderr)
        self.assertNotIn("Exception ignored", run.stderr)

    def test_a_restart_at_any_moment_of_a_run_on_a_worker_leaves_the_device_closed(self):
        scheduler, node = horus.Scheduler(), Ticker()
        scheduler.add(node)
        ended = threading.Event()

        def presses():
            while not ended.wait(0.0003):
                scheduler.restart("ticker")

        def runs():
            for _ in range(20):
                scheduler.run(duration=0.005)
                self.assertEqual(node.account()[-1], "shutdown")

        thread = threading.Thread(target=presses)
        thread.start()
        in_thread(runs)
        ended.set()
        thread.join()
        self.assertEqual(node.account(), ["init", "shutdown"] * (len(node.account()) // 2))

    def test_a_tick_that_waits_for_a_thread_that_asks_gets_its_answer(self):
        scheduler, answers = horus.Scheduler(), []

        def tick(node):
            if not answers:
                in_thread(lambda: answers.append((scheduler.get_node_stats("waiter"), scheduler.status())))
                scheduler.stop()

        scheduler.add(horus.Node("waiter", tick=tick), priority=3)
        scheduler.run(duration=20)
        self.assertEqual((answers[0][0]["name"], answers[0][0]["priority"]), ("waiter", 3))

    def test_an_event_loop_that_ends_before_its_scheduler_takes_nobody_with_it(self):
        code = """if 1:
            import asyncio, gc, horus
            class N(horus.AsyncNode):
                async def tick_async(self): await asyncio.sleep(0.01)
            async def main():
                task = asyncio.create_task(scheduler.run_async())
                await asyncio.sleep(0.05)
            scheduler = horus.AsyncScheduler()
            scheduler.add_async(N())
            asyncio.run(main())  # cancels the run
            with asyncio.Runner(loop_factory=horus.new_event_loop) as runner: runner.run(main())
            del scheduler; gc.collect(); print("alive")
        """
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        self.assertEqual((run.returncode, run.stdout), (0, "alive\n"), run.stderr)


if __name__ == "__main__":
    unittest.main()
