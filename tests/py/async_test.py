# SPDX-License-Identifier: Apache-2.0
"""Nodes whose ticks are coroutines, inside asyncio's own loop."""

import asyncio
import contextvars
import unittest

import horus


class Asyncio(unittest.TestCase):
    def test_a_tick_that_awaits_holds_nobody_up(self):
        order = []

        class Camera(horus.AsyncNode):
            async def init(self):
                await asyncio.sleep(0)
                order.append("init")

            async def tick_async(self):
                await asyncio.sleep(0.03)
                await self.send_async("frame", len(order))

            async def shutdown(self):
                await asyncio.sleep(0)
                order.append("shutdown")

        class Control(horus.Node):
            def tick(self):
                frame = self.recv("frame")
                if frame is not None:
                    self.frame = frame
                    scheduler.stop()

        scheduler = horus.AsyncScheduler()
        scheduler.add_async(Camera())
        control = scheduler.add(Control(), priority=0)
        asyncio.run(scheduler.run_async())
        self.assertEqual(order, ["init", "shutdown"])
        self.assertEqual(control.frame, 1)
        stats = scheduler.get_node_stats("control")
        self.assertGreaterEqual(stats["total_ticks"], 3)
        self.assertGreater(scheduler.get_node_stats("camera")["suspended"]["max_ns"], 10_000_000)

    def test_a_node_waits_for_messages(self):
        heard = []

        class Listener(horus.AsyncNode):
            async def tick_async(self):
                heard.append(await self.recv_async("topic"))
                if len(heard) == 3:
                    scheduler.stop()

        class Impatient(horus.AsyncNode):
            async def tick_async(self):
                try:
                    await self.recv_async("silence", timeout=0.01)
                except TimeoutError:
                    self.timed_out = True

        scheduler = horus.AsyncScheduler()
        scheduler.add_async(Listener())
        impatient = scheduler.add_async(Impatient())
        scheduler.add(horus.Node("talker", tick=lambda node: node.send("topic", "word"), rate=50))
        scheduler.run()
        self.assertEqual(heard, ["word"] * 3)
        self.assertTrue(impatient.timed_out)

    def test_a_failed_tick_is_counted_and_logged(self):
        class Failing(horus.AsyncNode):
            async def tick_async(self):
                await asyncio.sleep(0)
                scheduler.stop()
                raise ValueError("bad")

        scheduler = horus.AsyncScheduler()
        scheduler.add_async(Failing())
        with self.assertLogs("horus.failing", "ERROR") as log:
            scheduler.run()
        self.assertIn("Traceback", log.output[0])
        self.assertEqual(scheduler.get_node_stats("failing")["last_error"], "ValueError: bad")

    def test_a_deadline_cancels_the_task(self):
        cancelled = []

        class Slow(horus.AsyncNode):
            async def tick_async(self):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled.append(1)
                    scheduler.stop()
                    raise

        scheduler = horus.AsyncScheduler()
        scheduler.add_async(Slow(), rate=20, deadline_ms=20, on_miss="cancel")
        scheduler.run()
        self.assertEqual(cancelled, [1])
        self.assertEqual(scheduler.get_node_stats("slow")["outcomes"]["cancelled (deadline)"], 1)

    def test_the_end_cancels_what_still_waits(self):
        ends = []

        class Forever(horus.AsyncNode):
            async def tick_async(self):
                try:
                    await asyncio.Event().wait()
                finally:
                    ends.append("cancelled")

            def shutdown(self):
                ends.append("shutdown")

        scheduler = horus.AsyncScheduler()
        scheduler.add_async(Forever())
        scheduler.run(duration=0.05)
        self.assertEqual(ends, ["cancelled", "shutdown"])

    def test_cancelling_the_run_shuts_down_first(self):
        ends = []

        class Node(horus.AsyncNode):
            async def tick_async(self):
                running.set()
                await asyncio.sleep(0.01)

            async def shutdown(self):
                await asyncio.sleep(0.01)
                ends.append("shutdown")

        async def main():
            task = asyncio.create_task(scheduler.run_async())
            await running.wait()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        running = asyncio.Event()
        scheduler = horus.AsyncScheduler()
        scheduler.add_async(Node())
        asyncio.run(main())
        self.assertEqual(ends, ["shutdown"])

    def test_an_init_that_raises_ends_the_run_with_it(self):
        class Node(horus.AsyncNode):
            async def init(self):
                await asyncio.sleep(0)
                raise ConnectionError("no peer")

            async def tick_async(self):
                pass

        scheduler = horus.AsyncScheduler()
        scheduler.add_async(Node())
        with self.assertLogs("horus.node", "ERROR"), self.assertRaisesRegex(
            ConnectionError, "no peer"
        ):
            scheduler.run()

    def test_a_run_can_be_repeated(self):
        ticks = []
        scheduler = horus.AsyncScheduler()
        scheduler.add(horus.Node("n", tick=lambda node: (ticks.append(1), scheduler.stop())))
        scheduler.run()
        scheduler.run()
        self.assertEqual(len(ticks), 2)

    def test_wrong_uses_say_what_to_do(self):
        class Node(horus.AsyncNode):
            async def tick_async(self):
                pass

        class NotAsync(horus.AsyncNode):
            def tick_async(self):
                pass

        with self.assertRaisesRegex(TypeError, "add it to a horus.AsyncScheduler"):
            horus.Scheduler().add(Node())
        with self.assertRaisesRegex(TypeError, "is not async"):
            horus.AsyncScheduler().add_async(NotAsync())
        with self.assertRaisesRegex(TypeError, "run_async"):
            horus.AsyncScheduler().tick_once()


class Workers(unittest.TestCase):
    def run_both(self, make, **options):
        """On Horus' own loop and on asyncio's."""
        for run in (horus.run, asyncio.run):
            scheduler = horus.AsyncScheduler()
            node = scheduler.add(make(scheduler), **options)
            run(scheduler.run_async())
            yield node

    def test_contextvars_last_from_tick_to_tick(self):
        count = contextvars.ContextVar("count", default=0)

        class Counts(horus.AsyncNode):
            def __init__(self, scheduler):
                super().__init__()
                self.scheduler, self.tasks = scheduler, set()

            async def init(self):
                count.set(10)

            async def tick_async(self):
                await asyncio.sleep(0)
                count.set(count.get() + 1)
                self.tasks.add(asyncio.current_task())
                if count.get() == 20:
                    self.scheduler.stop()

        for node in self.run_both(Counts):
            self.assertEqual(len(node.tasks), 1)
            self.assertEqual(count.get(), 0)

    def test_a_cancel_that_races_with_the_end_of_a_tick_leaves_the_task_alive(self):
        class Races(horus.AsyncNode):
            def __init__(self, scheduler):
                super().__init__()
                self.scheduler, self.ends, self.tasks = scheduler, 0, set()

            async def tick_async(self):
                self.tasks.add(asyncio.current_task())
                try:
                    await asyncio.sleep(0.0095 + 0.0002 * (self.ends % 6))
                finally:
                    self.ends += 1
                    if self.ends == 30:
                        self.scheduler.stop()

        for node in self.run_both(Races, rate=50, deadline_ms=10, on_miss="cancel"):
            self.assertEqual(len(node.tasks), 1)
            self.assertEqual(next(iter(node.tasks)).cancelling(), 1)  # that of its end

    def test_a_tick_that_is_cancelled_before_it_runs_is_over(self):
        async def main():
            told, ran = [], []

            async def work(name):
                ran.append((name, asyncio.current_task()))

            def done(*outcome):
                told.append(outcome)

            worker = horus._async._Worker(asyncio.get_running_loop(), lambda: None)
            for name in ("first", "in the gate"):
                worker.begin(work(name), done)()  # cancelled at once
                await asyncio.sleep(0.001)
            worker.begin(work("runs"), done)
            await asyncio.sleep(0.001)
            worker._task.cancel()  # by somebody else
            worker.begin(work("runs all the same"), done)
            await asyncio.sleep(0.001)
            await worker.end()
            self.assertEqual(told, [(True, None), (True, None), (False, None), (False, None)])
            self.assertEqual([name for name, _ in ran], ["runs", "runs all the same"])

        asyncio.run(main())

    def test_a_run_ends_whatever_its_nodes_are_about_to_do(self):
        class Busy(horus.AsyncNode):
            def __init__(self, _):
                super().__init__()
                self.ticks = 0

            async def tick_async(self):
                self.ticks += 1
                if self.ticks % 2 == 0:
                    await asyncio.sleep(0)

        async def main():
            ticks = 0  # a busy machine leaves some of these runs none
            for _ in range(30):
                scheduler = horus.AsyncScheduler()
                node = scheduler.add(Busy(scheduler))
                await asyncio.wait_for(scheduler.run_async(duration=0.002), 30)
                ticks += node.ticks
            self.assertGreater(ticks, 0)

        for run in (horus.run, asyncio.run):
            run(main())

    def test_a_loop_that_cancels_its_tasks_ends_the_run(self):
        ends = []

        class Node(horus.AsyncNode):
            async def tick_async(self):
                await asyncio.sleep(0.001 * (len(ends) % 2))

            async def shutdown(self):
                ends.append(1)

        async def main():
            scheduler = horus.AsyncScheduler()
            scheduler.add(Node())
            background.append(asyncio.create_task(scheduler.run_async()))
            await asyncio.sleep(0.0005 * (len(ends) % 5))

        background = []
        for run in (horus.run, asyncio.run):
            for _ in range(10):
                run(main())
        self.assertEqual(len(background), 20)
        self.assertTrue(all(run.cancelled() for run in background))

    def test_a_node_that_never_waits_leaves_their_turns_to_others(self):
        class Busy(horus.AsyncNode):
            async def tick_async(self):
                pass

        async def main():
            scheduler = horus.AsyncScheduler()
            scheduler.add(Busy())
            running = asyncio.create_task(scheduler.run_async())
            for _ in range(1000):
                await asyncio.sleep(0)
            scheduler.stop()
            await running
            self.assertLess(scheduler.get_node_stats("busy")["total_ticks"], 10_000)

        for run in (horus.run, asyncio.run):
            run(main())


if __name__ == "__main__":
    unittest.main()
