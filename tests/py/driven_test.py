# SPDX-License-Identifier: Apache-2.0
"""Programs that do asyncio's work by hand on a horus.EventLoop: one iteration at a time, from inside
of a task, through the private attributes that asyncio's own loops have."""

import asyncio
import heapq
import selectors
import socket
import unittest
from asyncio import tasks

import horus


def run_one_iteration_by_hand(loop):
    """As nest_asyncio replaces _run_once."""
    ready, scheduled = loop._ready, loop._scheduled
    if ready or loop._stopping:
        timeout = 0
    elif scheduled:
        timeout = max(scheduled[0]._when - loop.time(), 0)
    else:
        timeout = None
    loop._process_events(loop._selector.select(timeout))
    while scheduled and scheduled[0]._when < loop.time():
        ready.append(heapq.heappop(scheduled))
    for _ in range(len(ready)):
        if not ready:
            break
        handle = ready.popleft()
        if not handle._cancelled:
            current = loop._suspend_task()
            try:
                handle._run()
            finally:
                loop._restore_task(current)


class Driven(unittest.TestCase):
    def setUp(self):
        self.loop = horus.new_event_loop()

    def tearDown(self):
        self.loop.close()

    async def work(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            self.loop.call_later(0.002, theirs.send, b"x")
            received = await self.loop.sock_recv(ours, 1)
            await asyncio.sleep(0.001)
            return received, await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0.001, 2))

    def drive(self, iteration):
        """As run_until_complete() of nest_asyncio."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self.loop)
        try:
            task = asyncio.ensure_future(self.work(), loop=self.loop)
            for _ in range(10_000):
                if task.done():
                    return task.result()
                iteration(self.loop)
        finally:
            asyncio._set_running_loop(before)
        self.fail("it does not end")

    def test_run_once_is_one_iteration(self):
        calls = []
        self.loop.call_soon(calls.append, 1)
        self.loop.call_soon(lambda: self.loop.call_soon(calls.append, 2))
        self.loop._run_once()
        self.assertEqual(calls, [1])
        self.loop._run_once()
        self.assertEqual(calls, [1, 2])

    def test_a_program_is_driven_by_single_iterations(self):
        self.assertEqual(self.drive(lambda loop: loop._run_once()), (b"x", [1, 2]))

    def test_a_program_is_driven_by_hand(self):
        self.assertEqual(self.drive(run_one_iteration_by_hand), (b"x", [1, 2]))

    def test_a_program_is_driven_by_asyncios_own_iteration(self):
        self.assertEqual(self.drive(asyncio.BaseEventLoop._run_once), (b"x", [1, 2]))

    def test_a_task_runs_the_loop_by_hand(self):
        for iteration in (lambda loop: loop._run_once(), run_one_iteration_by_hand):

            async def main():
                current = asyncio.current_task()
                result = self.drive(iteration)
                self.assertIs(asyncio.current_task(), current)
                return result

            self.assertEqual(self.loop.run_until_complete(main()), (b"x", [1, 2]))

    def test_what_fails_by_hand_goes_to_the_exception_handler(self):
        contexts = []
        self.loop.set_exception_handler(lambda loop, context: contexts.append(context))
        handle = self.loop.call_soon(int, "no number")
        asyncio._set_running_loop(self.loop)
        try:
            handle._run()
        finally:
            asyncio._set_running_loop(None)
        self.assertIsInstance(contexts[0]["exception"], ValueError)

    def test_the_selector_tells_what_is_watched(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with self.assertRaises(KeyError):
                self.loop._selector.get_key(ours)
            self.loop.add_reader(ours, int)
            self.assertEqual(self.loop._selector.get_key(ours).events, selectors.EVENT_READ)
            self.loop.add_writer(ours, int)
            key = self.loop._selector.get_key(ours.fileno())
            self.assertEqual(key.events, selectors.EVENT_READ | selectors.EVENT_WRITE)
            self.assertTrue(all(isinstance(each, asyncio.Handle) for each in key.data))
            self.loop.remove_reader(ours)
            self.loop.remove_writer(ours)
            with self.assertRaises(KeyError):
                self.loop._selector.get_key(ours)

    def test_no_task_is_current_outside(self):
        self.assertIsNone(tasks.current_task(self.loop))
        self.loop._restore_task(self.loop._suspend_task())
        self.assertIsNone(tasks.current_task(self.loop))


if __name__ == "__main__":
    unittest.main()
