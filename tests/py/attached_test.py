# SPDX-License-Identifier: Apache-2.0
"""horus.Reactor: Horus' operations in asyncio's own loop, and in uvloop where it is installed."""

import asyncio
import contextlib
import gc
import os
import socket
import tempfile
import threading
import unittest

import bridge
import horus

try:
    import uvloop
except ImportError:
    uvloop = None

LOOPS = [asyncio.new_event_loop, horus.new_event_loop] + ([uvloop.new_event_loop] if uvloop else [])


def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class Attached(unittest.TestCase):
    def everywhere(self, main):
        for factory in LOOPS:
            with self.subTest(factory.__module__), asyncio.Runner(loop_factory=factory) as runner:
                runner.run(asyncio.wait_for(main(), 60))

    def test_files_go_through_it(self):
        async def main():
            with tempfile.TemporaryDirectory() as directory:
                path = os.path.join(directory, "file")
                async with horus.Reactor.attach():
                    async with horus.open(path, "wb") as file:
                        await file.write(b"x" * 100_000)
                    async with horus.open(path, "rb") as file:
                        self.assertEqual(len(await file.read()), 100_000)
                    names = [thread.name for thread in threading.enumerate()]
                    self.assertFalse([name for name in names if name.startswith("asyncio_")])
                    with self.assertRaises(FileNotFoundError):
                        await horus.open(path + ".none")

        self.everywhere(main)

    def test_sockets_go_through_it(self):
        async def main():
            ours, theirs = pair()
            with ours, theirs:
                async with horus.Reactor.attach() as reactor:
                    receiving = asyncio.create_task(reactor.sock_recv(ours, 100))
                    await asyncio.sleep(0)
                    await reactor.sock_sendall(theirs, b"hello")
                    self.assertEqual(await receiving, b"hello")
                    buffer = bytearray(10)
                    receiving = asyncio.create_task(reactor.sock_recv_into(ours, buffer))
                    await asyncio.sleep(0)
                    await reactor.sock_sendall(theirs, b"abc")
                    self.assertEqual((await receiving, buffer[:3]), (3, b"abc"))

        self.everywhere(main)

    def test_many_operations_at_once(self):
        async def echo(reactor, sock, count):
            for i in range(count):
                data = await reactor.sock_recv(sock, 100)
                await reactor.sock_sendall(sock, data)

        async def ask(reactor, sock, count):
            for i in range(count):
                await reactor.sock_sendall(sock, b"%d" % i)
                self.assertEqual(await reactor.sock_recv(sock, 100), b"%d" % i)

        async def main():
            with contextlib.ExitStack() as sockets:
                async with horus.Reactor.attach() as reactor, asyncio.TaskGroup() as group:
                    for _ in range(50):
                        ours, theirs = map(sockets.enter_context, pair())
                        group.create_task(echo(reactor, theirs, 20))
                        group.create_task(ask(reactor, ours, 20))

        self.everywhere(main)

    def test_a_cancelled_receive_loses_nothing(self):
        async def main():
            ours, theirs = pair()
            with ours, theirs:
                async with horus.Reactor.attach() as reactor:
                    for number in range(20):
                        receiving = asyncio.create_task(reactor.sock_recv(ours, 100))
                        await asyncio.sleep(0)
                        theirs.send(b"%d" % number)
                        receiving.cancel()
                        try:
                            data = await receiving
                        except asyncio.CancelledError:
                            data = await reactor.sock_recv(ours, 100)
                        self.assertEqual(data, b"%d" % number)

        self.everywhere(main)

    def test_coroutines_cross_both_ways(self):
        async def answer():
            await asyncio.sleep(0.001)
            return 41

        async def main():
            async with horus.Reactor.attach():
                self.assertEqual(await bridge.join(["a", "b"]), "ab")
                self.assertEqual(await bridge.ask_python(answer()), 42)
                with self.assertRaises(FileNotFoundError):
                    await bridge.fail("error")
                before = bridge.ended()
                with self.assertRaises(TimeoutError):
                    await asyncio.wait_for(bridge.sleep_long(), 0.001)
                self.assertEqual(bridge.ended(), before + 1)

        self.everywhere(main)

    def test_a_scheduler_shares_it(self):
        ticks = []

        class Joins(horus.AsyncNode):
            async def tick_async(self):
                ticks.append(await bridge.join(["t", "ick"]))
                await asyncio.sleep(0)
                if len(ticks) == 5:
                    scheduler.stop()

        async def main():
            async with horus.Reactor.attach():
                running = asyncio.create_task(scheduler.run_async())
                self.assertEqual(await bridge.join(["be", "side"]), "beside")
                await running
                self.assertEqual(await bridge.at_once(3), 3)

        def run():
            nonlocal scheduler
            ticks.clear()
            scheduler = horus.AsyncScheduler()
            scheduler.add(Joins())
            return main()

        scheduler = None
        self.everywhere(run)
        self.assertEqual(ticks, ["tick"] * 5)

    def test_schedulers_share_one_by_themselves(self):
        async def main():
            schedulers = [horus.AsyncScheduler() for _ in range(3)]
            for index, scheduler in enumerate(schedulers):
                scheduler.add(horus.Node(f"n{index}", tick=lambda _: None, rate=200))
            await asyncio.gather(*[each.run_async(duration=0.03) for each in schedulers])
            for index, scheduler in enumerate(schedulers):
                self.assertGreater(scheduler.get_node_stats(f"n{index}")["total_ticks"], 0)

        self.everywhere(main)

    def test_it_lasts_as_long_as_somebody_uses_it(self):
        async def main():
            async with horus.Reactor.attach():
                async with horus.Reactor.attach():
                    pass
                self.assertEqual(await bridge.join(["a"]), "a")
            async with horus.Reactor.attach():
                self.assertEqual(await bridge.join(["b"]), "b")

        self.everywhere(main)

    def test_what_is_under_way_at_the_end_is_cancelled(self):
        async def main():
            ours, theirs = pair()
            before = bridge.ended()
            with ours, theirs:
                async with horus.Reactor.attach() as reactor:
                    receiving = asyncio.create_task(reactor.sock_recv(ours, 10))
                    sleeping = asyncio.create_task(bridge.sleep_long())
                    asking = asyncio.create_task(bridge.ask_python(asyncio.sleep(60)))
                    await asyncio.sleep(0.001)
                await asyncio.wait([receiving, sleeping, asking])
            self.assertTrue(receiving.cancelled() and sleeping.cancelled() and asking.cancelled())
            self.assertEqual(bridge.ended(), before + 2)

        for factory in LOOPS:
            if factory is not horus.new_event_loop:  # its reactor lasts as long as itself
                with asyncio.Runner(loop_factory=factory) as runner:
                    runner.run(main())

    def test_the_end_of_a_block_ends_what_its_reactor_was_asked_for(self):
        async def main():
            (ours, theirs), (full, unread) = pair(), pair()
            more = bytes(10_000_000)
            with ours, theirs, full, unread:
                async with horus.Reactor.attach() as outer:
                    kept = asyncio.create_task(outer.sock_recv(ours, 10))
                    async with horus.Reactor.attach() as inner:
                        left = [
                            asyncio.create_task(inner.sock_recv(ours, 10)),
                            asyncio.create_task(inner.sock_recv_into(theirs, bytearray(10))),
                            asyncio.create_task(inner.sock_sendall(full, more)),
                        ]
                        await asyncio.sleep(0)
                    await asyncio.wait(left)
                    self.assertTrue(all(task.cancelled() for task in left))
                    self.assertFalse(kept.done())
                    await outer.sock_sendall(theirs, b"x")
                    self.assertEqual(await kept, b"x")

        self.everywhere(main)

    def test_a_loop_that_is_given_up_takes_it_along(self):
        async def enter():
            await horus.Reactor.attach().__aenter__()
            return await bridge.join(["a"])

        for _ in range(2):  # the second would find the first's reactor on this thread
            loop = asyncio.new_event_loop()
            self.assertEqual(loop.run_until_complete(enter()), "a")
            loop.close()
            del loop
            gc.collect()

    def test_wrong_uses_say_what_to_do(self):
        async def outside():
            await bridge.at_once(1)

        coroutine = outside()
        with self.assertRaisesRegex(RuntimeError, "async with horus.Reactor.attach"):
            asyncio.run(coroutine)
        with self.assertRaisesRegex(RuntimeError, "inside `async with"):
            horus.Reactor.attach().sock_recv(None, 1)

        with self.assertRaisesRegex(TypeError, "with `async with`"):
            with horus.Reactor.attach():
                pass

        async def twice():
            reactor = horus.Reactor.attach()
            async with reactor, reactor:
                pass

        with self.assertRaisesRegex(RuntimeError, "attached already"):
            asyncio.run(twice())

        async def wrong_socket():
            async with horus.Reactor.attach() as reactor:
                await reactor.sock_recv("socket", 10)

        with self.assertRaises(TypeError):
            asyncio.run(wrong_socket())


if __name__ == "__main__":
    unittest.main()
