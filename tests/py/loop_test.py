# SPDX-License-Identifier: Apache-2.0
"""horus.EventLoop: what asyncio promises, and what is awaited without threads."""

import asyncio
import contextvars
import ctypes
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import unittest
import warnings
import weakref

import horus


def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class LoopCase(unittest.TestCase):
    def setUp(self):
        self.loop = horus.new_event_loop()

    def tearDown(self):
        self.loop.close()

    def run_once(self):
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()


class Callbacks(LoopCase):
    def test_they_run_in_order_also_from_other_threads(self):
        calls = []
        self.loop.call_soon(calls.append, 1)
        self.loop.call_soon_threadsafe(calls.append, 2)
        self.loop.call_soon(calls.append, 3)
        self.run_once()
        self.assertEqual(calls, [1, 2, 3])

    def test_arguments_of_any_number_arrive(self):
        for count in range(7):
            calls = []
            self.loop.call_soon(lambda *got: calls.append(got), *range(count))
            self.run_once()
            self.assertEqual(calls, [tuple(range(count))])

    def test_a_cancelled_one_does_not_run_and_keeps_nothing(self):
        class Thing:
            pass

        thing = Thing()
        seen = []
        handle = self.loop.call_soon(seen.append, thing)
        references = sys.getrefcount(thing)
        handle.cancel()
        self.assertTrue(handle.cancelled())
        self.assertLess(sys.getrefcount(thing), references)
        self.run_once()
        self.assertEqual(seen, [])

    def test_contexts_are_kept(self):
        variable = contextvars.ContextVar("variable", default="outside")
        context = contextvars.copy_context()
        context.run(variable.set, "inside")
        seen = []
        self.loop.call_soon(lambda: seen.append(variable.get()), context=context)
        self.loop.call_soon(lambda: seen.append(variable.get()))
        self.run_once()
        self.assertEqual(seen, ["inside", "outside"])

    def test_timers_are_never_early_and_in_order(self):
        seen, times = [], []

        def due(number, when):
            seen.append(number)
            times.append(self.loop.time() - when)

        now = self.loop.time()
        for number, delay in ((3, 0.003), (1, 0.001), (2, 0.002)):
            self.loop.call_at(now + delay, due, number, now + delay)
        cancelled = self.loop.call_later(0.0005, due, 9, 0)
        cancelled.cancel()
        self.loop.call_later(0.004, self.loop.stop)
        self.loop.run_forever()
        self.assertEqual(seen, [1, 2, 3])
        self.assertGreaterEqual(min(times), 0.0)

    def test_what_raises_goes_to_the_exception_handler_and_the_rest_runs(self):
        contexts, calls = [], []
        self.loop.set_exception_handler(lambda loop, context: contexts.append(context))

        def fails():
            raise ValueError("bad")

        self.loop.call_soon(fails)
        self.loop.call_later(0, fails)
        ours, theirs = pair()
        with ours, theirs:
            theirs.send(b"x")
            self.loop.add_reader(ours, fails)
            self.loop.call_later(0.002, self.loop.stop)
            self.loop.call_soon(calls.append, 1)
            self.loop.run_forever()
            self.loop.remove_reader(ours)
        self.assertGreaterEqual(len(contexts), 3)
        self.assertIn("fails", contexts[0]["message"])
        self.assertEqual(str(contexts[0]["exception"]), "bad")
        self.assertEqual(calls, [1])

    def test_wrong_arguments_are_type_errors(self):
        for call in (
            lambda: self.loop.call_soon(),
            lambda: self.loop.call_later(1),
            lambda: self.loop.call_later(None, print),
            lambda: self.loop.call_later("1", print),
            lambda: self.loop.call_soon(print, contxt=None),
        ):
            with self.assertRaises(TypeError):
                call()
        with self.assertRaises(ValueError):
            self.loop.call_later(float("nan"), print)

    def test_a_closed_loop_says_so(self):
        self.loop.close()
        for call in (
            lambda: self.loop.call_soon(print),
            lambda: self.loop.call_later(1, print),
            lambda: self.loop.run_forever(),
            lambda: self.loop.call_soon_threadsafe(print),
        ):
            with self.assertRaisesRegex(RuntimeError, "closed"):
                call()

    def test_debug_mode_knows_where_callbacks_were_made(self):
        self.loop.set_debug(True)
        handle = self.loop.call_later(0, lambda: None)
        self.assertIn("test_debug_mode", str(handle._source_traceback))
        with self.assertRaisesRegex(TypeError, "a callable object was expected"):
            self.loop.call_soon(5)
        self.loop.slow_callback_duration = 0
        with self.assertLogs("asyncio", "WARNING") as log:
            self.run_once()
        self.assertIn("took", log.output[0])

    def test_a_failed_task_is_reported_as_soon_as_nobody_holds_it_in_debug_mode_too(self):
        async def fail():
            raise OSError("expected")

        async def main():
            told = []
            self.loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
            asyncio.Task(fail())
            await asyncio.sleep(0)
            return told

        for debug in (False, True):
            with self.subTest(debug=debug):
                self.loop.set_debug(debug)
                told = self.loop.run_until_complete(main())
                self.assertEqual(["expected"], [str(error) for error in told])

    def test_a_cancelled_timer_keeps_nothing_in_debug_mode_either(self):
        class Thing:
            def call(self):
                pass

        for debug in (False, True):
            self.loop.set_debug(debug)
            self.assertIs(self.loop.get_debug(), debug)
            thing = Thing()
            gone = weakref.ref(thing)
            handle = self.loop.call_later(60, thing.call)
            handle.cancel()
            del thing
            self.assertIsNone(gone())

    def test_a_loop_with_callbacks_that_is_dropped_is_collected(self):
        collected = []

        class Thing:
            def __init__(self, loop):
                self.loop = loop

            def call(self):
                pass

            def __del__(self):
                collected.append(1)

        loop = horus.new_event_loop()
        loop.call_soon(Thing(loop).call)
        del loop
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
            gc.collect()
        self.assertEqual(collected, [1])


class Threads(unittest.TestCase):
    def test_a_sleeping_loop_is_woken_from_eight_threads(self):
        async def main():
            loop, done = asyncio.get_running_loop(), asyncio.Event()
            count = 0

            def add():
                nonlocal count
                count += 1
                if count == 8000:
                    done.set()

            threads = [
                threading.Thread(target=lambda: [loop.call_soon_threadsafe(add) for _ in range(1000)])
                for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            await asyncio.wait_for(done.wait(), 30)
            for thread in threads:
                thread.join()

        horus.run(main())

    def test_it_runs_on_one_thread_after_another_and_closes_on_a_third(self):
        loop = horus.new_event_loop()
        ours, theirs = pair()
        with ours, theirs:
            seen = []
            loop.add_reader(ours, lambda: seen.append(ours.recv(10)))
            loop.run_until_complete(asyncio.sleep(0.001))
            theirs.send(b"one")

            def run():
                loop.run_until_complete(asyncio.sleep(0.01))

            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            self.assertEqual(seen, [b"one"])
            theirs.send(b"two")
            loop.run_until_complete(asyncio.sleep(0.01))
            self.assertEqual(seen, [b"one", b"two"])
        thread = threading.Thread(target=loop.close)
        thread.start()
        thread.join()
        self.assertTrue(loop.is_closed())

    def test_a_loop_in_a_thread_is_stopped_and_closed_from_outside(self):
        loop = horus.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(0.001, "done"), loop)
        self.assertEqual(future.result(30), "done")
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def test_stop_from_eight_threads_stops_once(self):
        loop = horus.new_event_loop()
        threads = [
            threading.Thread(target=lambda: loop.call_soon_threadsafe(loop.stop)) for _ in range(8)
        ]
        loop.call_soon(lambda: [thread.start() for thread in threads])
        loop.run_forever()
        for thread in threads:
            thread.join()
        loop.close()


class Sockets(unittest.TestCase):
    def test_bytes_arrive_whole_and_the_end_is_empty(self):
        async def main():
            loop = asyncio.get_running_loop()
            ours, theirs = pair()
            with ours, theirs:
                data = os.urandom(3_000_000)
                sending = asyncio.create_task(loop.sock_sendall(theirs, data))
                received = bytearray()
                while len(received) < len(data):
                    received += await loop.sock_recv(ours, 100_000)
                await sending
                self.assertEqual(bytes(received), data)
                theirs.close()
                self.assertEqual(await loop.sock_recv(ours, 10), b"")
                with self.assertRaises(BrokenPipeError):
                    await loop.sock_sendall(ours, b"x")

        horus.run(main())

    def test_a_cancelled_receive_loses_nothing(self):
        async def main():
            loop = asyncio.get_running_loop()
            ours, theirs = pair()
            with ours, theirs:
                received, cancelled = b"", 0
                for number in range(2000):
                    task = asyncio.create_task(loop.sock_recv(ours, 100))
                    await asyncio.sleep(0)
                    theirs.send(b"%4d" % number)  # the cancellation races with the data
                    task.cancel()
                    try:
                        received += await task
                    except asyncio.CancelledError:
                        cancelled += 1
                while len(received) < 8000:
                    received += await loop.sock_recv(ours, 100)
                self.assertEqual(received, b"".join(b"%4d" % number for number in range(2000)))
                self.assertGreater(cancelled, 0)

        horus.run(main())

    def test_a_buffer_is_held_until_the_kernel_has_let_it_go(self):
        async def main():
            loop = asyncio.get_running_loop()
            ours, theirs = pair()
            with ours, theirs:
                buffer = bytearray(8)
                task = asyncio.create_task(loop.sock_recv_into(ours, buffer))
                await asyncio.sleep(0)
                with self.assertRaises(BufferError):
                    buffer.clear()
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                del task
                buffer.clear()
                theirs.send(b"data")
                await asyncio.sleep(0.001)
                self.assertEqual(buffer, b"")
                buffer = bytearray(2)
                self.assertEqual(await loop.sock_recv_into(ours, buffer), 2)
                self.assertEqual(await loop.sock_recv_into(ours, buffer), 2)
                self.assertEqual(buffer, b"ta")

        horus.run(main())

    def test_accept_connect_and_datagrams(self):
        async def main():
            loop = asyncio.get_running_loop()
            listener = socket.create_server(("127.0.0.1", 0))
            listener.setblocking(False)
            client = socket.socket()
            client.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await loop.sock_connect(client, listener.getsockname())
            server, _ = await accepting
            await loop.sock_sendall(server, b"hello")
            self.assertEqual(await loop.sock_recv(client, 10), b"hello")
            for each in (listener, client, server):
                each.close()
            datagrams = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
            for each in datagrams:
                each.bind(("127.0.0.1", 0))
                each.setblocking(False)
            receiving = asyncio.create_task(loop.sock_recvfrom(datagrams[0], 10))
            await asyncio.sleep(0)
            await loop.sock_sendto(datagrams[1], b"x", datagrams[0].getsockname())
            self.assertEqual((await receiving)[0], b"x")
            for each in datagrams:
                each.close()

        horus.run(main())

    def test_wrong_types_say_what_was_expected(self):
        async def main():
            loop = asyncio.get_running_loop()
            ours, theirs = pair()
            with ours, theirs:
                for call in (
                    lambda: loop.sock_recv(ours),
                    lambda: loop.sock_recv(ours, "5"),
                    lambda: loop.sock_recv("ours", 5),
                    lambda: loop.sock_sendall(ours, "text"),
                    lambda: loop.sock_recv_into(ours, b"read-only"),
                ):
                    with self.assertRaises((TypeError, BufferError)):
                        await call()
                with self.assertRaises(ValueError):
                    await loop.sock_recv(ours, -1)

        horus.run(main())


class Watches(LoopCase):
    def test_readiness_left_unread_fires_again(self):
        ours, theirs = pair()
        with ours, theirs:
            theirs.send(b"abc")
            seen = []

            def read():
                seen.append(ours.recv(1))
                if len(seen) == 3:
                    self.loop.stop()

            self.loop.add_reader(ours, read)
            self.loop.run_forever()
            self.assertEqual(b"".join(seen), b"abc")
            self.assertTrue(self.loop.remove_reader(ours))
            self.assertFalse(self.loop.remove_reader(ours))

    def test_a_removed_reader_is_not_called_and_the_peer_sees_the_close(self):
        ours, theirs = pair()
        with theirs:
            self.loop.add_reader(ours, self.fail)
            self.loop.add_writer(ours, lambda: None)
            self.run_once()
            self.loop.remove_reader(ours)
            self.loop.remove_writer(ours)
            ours.close()
            self.run_once()
            self.assertEqual(theirs.recv(1), b"")

    def test_a_reader_is_replaced(self):
        ours, theirs = pair()
        with ours, theirs:
            self.loop.add_reader(ours, self.fail)
            self.run_once()
            self.loop.add_reader(ours, self.loop.stop)
            theirs.send(b"x")
            self.loop.run_forever()
            self.loop.remove_reader(ours)

    def test_what_epoll_refuses_is_refused(self):
        with open(__file__, "rb") as file:
            with self.assertRaises(PermissionError):
                self.loop.add_reader(file, print)
        with self.assertRaises(OSError):
            self.loop.add_reader(12345, print)


class Streams(unittest.TestCase):
    def test_a_closed_server_has_freed_its_port(self):
        async def main():
            server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            await asyncio.sleep(0)  # the loop watches it now
            server.close()
            with socket.socket() as client:
                self.assertRaises(ConnectionRefusedError, client.connect, address)
            again = await asyncio.start_server(lambda reader, writer: None, *address)
            again.close()

        with asyncio.Runner(loop_factory=horus.new_event_loop) as runner:
            runner.run(main())

    def test_streams_servers_and_processes_work(self):
        async def answer(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()

        async def main():
            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"hello\n")
                self.assertEqual(await reader.read(), b"HELLO\n")
                writer.close()
                await writer.wait_closed()
            process = await asyncio.create_subprocess_exec(
                "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self.assertEqual((await process.communicate(b"data"))[0], b"data")
            self.assertEqual(process.returncode, 0)
            self.assertEqual(await asyncio.to_thread(lambda: 5), 5)

        horus.run(main())


class Files(unittest.TestCase):
    def setUp(self):
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "file")

    def tearDown(self):
        self.folder.cleanup()

    async def share(self):
        async with horus.open(self.path, "wb") as file:
            writes = [asyncio.create_task(file.write(b"%03d\n" % i)) for i in range(100)]
            await asyncio.sleep(0)
            for write in writes[50:60]:
                write.cancel()  # waiting for its turn
            await asyncio.wait(writes)
        async with horus.open(self.path) as file:
            lines = await asyncio.gather(*[file.readline() for _ in range(100)])
        expected = ["%03d\n" % i for i in range(100) if not 50 <= i < 60]
        self.assertEqual(lines, expected + [""] * 10)

    def test_those_who_share_a_file_take_turns(self):
        horus.run(self.share())
        asyncio.run(self.share())

    async def use(self):
        async with horus.open(self.path, "w") as file:
            self.assertEqual(await file.write("héllo\nworld"), 11)
            await file.sync()
            await file.sync(only_data=True)
        async with horus.open(self.path) as file:
            self.assertEqual([line async for line in file], ["héllo\n", "world"])
            self.assertEqual(await file.readline(), "")
            file.seek(0)
            self.assertEqual(await file.readline(), "héllo\n")
            self.assertEqual(file.tell(), 7)
            self.assertEqual(await file.read(), "world")
            with self.assertRaisesRegex(ValueError, "binary mode"):
                await file.readinto(bytearray(3))
        async with horus.open(self.path, "r+b") as file:
            self.assertEqual(await file.read(1), b"h")
            await file.write(b"E")
            self.assertEqual(await file.pread(3, 0), b"hE\xa9")
            self.assertEqual(await file.pwrite(b"!", 11), 1)
            file.seek(-2, os.SEEK_END)
            buffer = bytearray(10)
            self.assertEqual(await file.readinto(buffer), 2)
            self.assertEqual(buffer[:2], b"l!")
            self.assertEqual(await file.readinto(buffer), 0)
            self.assertEqual(file.size(), 12)
        with self.assertRaisesRegex(ValueError, "closed"):
            await file.read()
        async with horus.open(self.path, "ab") as file:
            await file.write(b"tail")
        with open(self.path, "rb") as file:
            self.assertTrue(file.read().endswith(b"worl!tail"))
        with self.assertRaises(FileNotFoundError) as caught:
            await horus.open(self.path + "x")
        self.assertEqual(caught.exception.filename, self.path + "x")
        with self.assertRaises(FileExistsError):
            await horus.open(self.path, "x")
        with self.assertRaisesRegex(ValueError, "mode is"):
            horus.open(self.path, "rw")
        big = os.urandom(1_000_000)
        async with horus.open(self.path, "w+b") as file:
            await file.write(big)
            file.seek(0)
            self.assertEqual(await file.read(), big)

    def test_on_horus_own_loop(self):
        horus.run(self.use())

    def test_on_any_other_loop(self):
        asyncio.run(self.use())


def memory_kib():
    """The most memory that this process has had; under AddressSanitizer, which gives freed memory
    back late, what is allocated now."""
    sanitizer = getattr(ctypes.CDLL(None), "__sanitizer_get_current_allocated_bytes", None)
    if sanitizer is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sanitizer.restype = ctypes.c_size_t
    return sanitizer() // 1024


class Ends(unittest.TestCase):
    def program(self, text, **options):
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", text],
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )

    def test_closing_ends_what_is_under_way(self):
        loop = horus.new_event_loop()
        ours, theirs = pair()
        with ours, theirs:
            task = loop.create_task(loop.sock_recv(ours, 10))
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            self.assertFalse(task.done())
            task._log_destroy_pending = False

    def test_the_interpreter_ends_with_operations_under_way(self):
        ended = self.program(
            "import asyncio, horus, socket, warnings\n"
            "warnings.simplefilter('ignore')\n"
            "a, b = socket.socketpair(); a.setblocking(False)\n"
            "loop = horus.new_event_loop()\n"
            "tasks = [loop.create_task(loop.sock_recv(a, 10)) for _ in range(3)]\n"
            "loop.run_until_complete(asyncio.sleep(0))\n"
            "print('end')\n"
        )
        self.assertEqual((ended.returncode, ended.stdout), (0, "end\n"), ended.stderr)

    def test_ctrl_c_ends_the_main_coroutine(self):
        ended = self.program(
            "import asyncio, horus, os, signal\n"
            "async def main():\n"
            "    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)\n"
            "    try: await asyncio.sleep(60)\n"
            "    finally: print('cleaned up')\n"
            "try: horus.run(main())\n"
            "except KeyboardInterrupt: print('interrupted')\n"
        )
        self.assertEqual(ended.stdout, "cleaned up\ninterrupted\n", ended.stderr)

    def test_signal_handlers_run_in_the_loop(self):
        async def main():
            loop, heard = asyncio.get_running_loop(), asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR1, heard.set)
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.wait_for(heard.wait(), 30)
            loop.remove_signal_handler(signal.SIGUSR1)

        horus.run(main())

    def test_a_forked_child_makes_its_own_loop(self):
        async def main():
            loop = asyncio.get_running_loop()
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    asyncio._set_running_loop(None)
                    try:
                        loop._run_once()
                    except RuntimeError as error:
                        own = horus.new_event_loop()
                        value = own.run_until_complete(asyncio.sleep(0.001, 5))
                        own.close()
                        code = 0 if "parent process" in str(error) and value == 5 else 2
                finally:
                    os._exit(code)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            await asyncio.sleep(0.001)

        horus.run(main())

    def test_what_runs_flat_stays_flat(self):
        async def main():
            loop = asyncio.get_running_loop()
            ours, theirs = pair()

            async def work(rounds):
                for _ in range(rounds):
                    await loop.sock_sendall(theirs, b"x")
                    await loop.sock_recv(ours, 10)
                    loop.call_soon(int)
                    loop.call_later(10, int).cancel()
                    task = asyncio.create_task(loop.sock_recv(ours, 10))
                    await asyncio.sleep(0)
                    task.cancel()
                    try:
                        await task
                    except asyncio.CancelledError:
                        pass

            with ours, theirs:
                await work(500)
                gc.collect()
                blocks = sys.getallocatedblocks()
                before_kib = memory_kib()
                await work(20_000)  # 100 000 operations
                gc.collect()
                self.assertLess(sys.getallocatedblocks() - blocks, 500)
                self.assertLess(memory_kib() - before_kib, 4096)

        horus.run(main())


class Policies(unittest.TestCase):
    def test_the_policy_makes_horus_loops(self):
        if not hasattr(asyncio, "DefaultEventLoopPolicy"):
            self.skipTest("this Python has no policies")
        asyncio.set_event_loop_policy(horus.EventLoopPolicy())
        try:

            async def main():
                return asyncio.get_running_loop()

            self.assertIsInstance(asyncio.run(main()), horus.EventLoop)
        finally:
            asyncio.set_event_loop_policy(None)

    def test_horus_run_runs_a_coroutine(self):
        async def main():
            return 5

        self.assertEqual(horus.run(main()), 5)
        coroutine = main()
        with self.assertRaises(TypeError):
            horus.run(coroutine, duration=5)

    def test_horus_run_says_what_to_write(self):
        async def main(): ...

        async def numbers():
            yield 1

        for wrong, advice in (
            (main, r"call it: horus\.run\(main\(\)\)"),
            (numbers, "has a yield"),
            (numbers(), "has a yield"),
        ):
            with self.assertRaisesRegex(TypeError, advice):
                horus.run(wrong)
        with self.assertRaisesRegex(TypeError, "one coroutine"):
            horus.run(main(), main())

    def test_nodes_run_inside_it(self):
        async def main():
            scheduler = horus.AsyncScheduler()
            ticks, twice = [], asyncio.Event()

            class Waits(horus.AsyncNode):
                async def tick_async(self):
                    await asyncio.sleep(0.001)
                    ticks.append("async")
                    if ticks.count("async") == 2:
                        twice.set()

            scheduler.add(Waits())
            scheduler.add(horus.Node("sync", tick=lambda node: ticks.append("sync"), rate=200))
            running = asyncio.create_task(scheduler.run_async(duration=0.05))
            await twice.wait()
            self.assertGreater(scheduler.get_node_stats("waits")["total_ticks"], 0)
            await running
            self.assertEqual(set(ticks), {"async", "sync"})

        horus.run(main())


if __name__ == "__main__":
    unittest.main()
