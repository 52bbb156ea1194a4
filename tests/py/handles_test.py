# SPDX-License-Identifier: Apache-2.0
"""Handles and loops as garbage: what refers to itself is collected, and a handle is one of asyncio's
to whoever asks."""

import asyncio
import gc
import os
import socket
import unittest
import warnings
import weakref

import horus


class Connection:
    """Holds the handle of its own callback."""

    def __init__(self, loop, method, *args):
        self.handle = getattr(loop, method)(*args, self.expire)

    def expire(self):
        pass


class Handles(unittest.TestCase):
    def setUp(self):
        self.loop = horus.new_event_loop()

    def tearDown(self):
        self.loop.close()

    def test_they_are_asyncios(self):
        handle = self.loop.call_soon(print, 1)
        timer = self.loop.call_later(60, print)
        self.assertIsInstance(handle, asyncio.Handle)
        self.assertNotIsInstance(handle, asyncio.TimerHandle)
        self.assertIsInstance(timer, asyncio.TimerHandle)
        self.assertEqual((handle._args, handle._callback), ((1,), print))
        self.assertEqual(timer._when, timer.when())
        self.assertTrue(timer._scheduled)
        timer.cancel()
        self.assertFalse(timer._scheduled)

    def test_timers_are_ordered_by_their_times(self):
        early, late = self.loop.call_later(1, int), self.loop.call_later(2, int)
        self.assertTrue(early < late and late > early and early <= early and early != late)
        self.assertEqual({early, late, early}, {late, early})
        self.assertEqual(sorted([late, early]), [early, late])

    def test_they_can_be_referred_to_weakly(self):
        for method, args in (("call_soon", ()), ("call_later", (60,))):
            gone = []
            handle = getattr(self.loop, method)(*args, int)
            reference = weakref.ref(handle, gone.append)
            self.assertIs(reference(), handle)
            handle.cancel()
            del handle
            self.loop.run_until_complete(asyncio.sleep(0))
            self.assertIsNone(reference())
            self.assertEqual(len(gone), 1)

    def test_an_object_with_its_own_handle_is_collected_with_the_loop(self):
        for method, args in (("call_soon", ()), ("call_later", (3600,)), ("call_at", (1e9,))):
            references = []
            for _ in range(20):
                loop = horus.new_event_loop()
                references.append(weakref.ref(Connection(loop, method, *args)))
                loop.close()
            del loop
            gc.collect()
            self.assertEqual([each() for each in references], [None] * 20, method)

    def test_many_handles_in_cycles_are_found_while_they_are_pending(self):
        handles = []
        for _ in range(1000):
            holder = []
            holder.append(self.loop.call_later(3600, holder.append))
            handles.append(weakref.ref(holder[0]))
        gc.collect()  # the loop keeps them
        self.assertTrue(all(each() is not None for each in handles))
        for each in handles:
            each().cancel()
        del holder
        gc.collect()
        self.assertTrue(all(each() is None for each in handles))


class UnclosedLoops(unittest.TestCase):
    def collected(self, fill):
        """How many of ten loops that `fill` was called with are left, with their descriptors, and how
        many warned."""
        gc.collect()  # what earlier tests left
        before = len(os.listdir("/proc/self/fd"))
        references = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(10):
                loop = horus.new_event_loop()
                loop.run_until_complete(asyncio.sleep(0))
                fill(loop)
                references.append(weakref.ref(loop))
                del loop
            for _ in range(3):
                gc.collect()
            warned = sum("unclosed event loop" in str(each.message) for each in caught)
        left = sum(each() is not None for each in references)
        return left, len(os.listdir("/proc/self/fd")) - before, warned

    def test_they_are_collected_and_warn(self):
        def nothing(loop):
            pass

        def timer(loop):
            loop.call_later(100, loop.stop)

        def reader(loop):
            loop.sockets = socket.socketpair()
            loop.add_reader(loop.sockets[0], loop.stop)

        def sleeper(loop):
            loop.create_task(asyncio.sleep(100))._log_destroy_pending = False
            loop.run_until_complete(asyncio.sleep(0))

        def receiver(loop):
            loop.sockets = socket.socketpair()
            loop.sockets[0].setblocking(False)
            task = loop.create_task(loop.sock_recv(loop.sockets[0], 10))
            task._log_destroy_pending = False
            loop.run_until_complete(asyncio.sleep(0))

        for fill in (nothing, timer, reader, sleeper, receiver):
            with self.subTest(fill.__name__):
                self.assertEqual(self.collected(fill), (0, 0, 10))


if __name__ == "__main__":
    unittest.main()
