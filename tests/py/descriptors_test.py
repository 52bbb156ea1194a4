# SPDX-License-Identifier: Apache-2.0
"""Descriptors that horus.EventLoop waits for: who closes one gets rid of it at once, and no byte is
taken for somebody who does not want it any more."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
import unittest

import horus


def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def listener(address=("127.0.0.1", 0)):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen()
    sock.setblocking(False)
    return sock


class LoopCase(unittest.TestCase):
    def setUp(self):
        self.loop = horus.new_event_loop()

    def tearDown(self):
        self.loop.close()

    def turn(self, count=1):
        for _ in range(count):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def run_until(self, condition):
        """Turns, at most 20 s."""

        async def main():
            while not condition():
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(asyncio.wait_for(main(), 20))

    def suspend(self, coroutine):
        """A task that has begun to wait."""
        task = self.loop.create_task(coroutine)
        self.turn(2)
        self.assertFalse(task.done())
        return task


class LettingGo(LoopCase):
    def test_the_peer_sees_the_end_of_a_socket_that_is_still_watched(self):
        ours, theirs = pair()
        with theirs:
            self.loop.add_reader(ours, self.fail)
            self.turn(2)
            ours.close()
            self.assertEqual(theirs.recv(1), b"")

    def test_the_peer_sees_the_end_of_a_socket_that_is_waited_for(self):
        ours, theirs = pair()
        with theirs:
            task = self.suspend(self.loop.sock_recv(ours, 1))
            ours.close()
            self.assertEqual(theirs.recv(1), b"")
            task.cancel()
            self.turn(2)
            self.assertTrue(task.cancelled())

    def test_a_listener_that_is_not_watched_any_more_frees_its_port(self):
        first = listener()
        address = first.getsockname()
        self.loop.add_reader(first, lambda: None)
        self.turn(2)
        self.loop.remove_reader(first)
        first.close()
        listener(address).close()

    def test_a_cancelled_accept_frees_the_port_before_the_loop_turns(self):
        first = listener()
        address = first.getsockname()
        task = self.suspend(self.loop.sock_accept(first))
        task.cancel()
        first.close()
        listener(address).close()
        self.turn(2)
        self.assertTrue(task.cancelled())

    def test_a_callback_that_closes_its_descriptor_is_not_called_again(self):
        read, write = os.pipe()
        calls = []

        def ready():
            calls.append(1)
            if not os.read(read, 100):
                os.close(read)

        self.loop.add_reader(read, ready)
        os.write(write, b"x")
        self.run_until(lambda: len(calls) == 1)
        os.close(write)
        self.run_until(lambda: len(calls) == 2)
        self.turn(50)
        self.assertEqual(len(calls), 2)

    def test_a_child_that_keeps_a_copy_does_not_make_the_loop_spin(self):
        ours, theirs = pair()
        os.set_inheritable(ours.fileno(), True)
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False
        )
        try:
            self.loop.add_reader(ours, self.fail)
            self.turn(2)
            ours.close()  # the child's copy stays: the kernel's registration too
            theirs.send(b"nobody reads this")
            with socket.socket() as other:  # perhaps with the same number
                other.setblocking(False)
                turns = []

                def count():
                    turns.append(1)

                self.loop.add_writer(other, count)
                self.loop.remove_writer(other)
                before = os.times()
                self.loop.run_until_complete(asyncio.sleep(0.1))
                after = os.times()
            self.assertLess(after.user + after.system - before.user - before.system, 0.08)
        finally:
            theirs.close()
            child.stdin.close()
            child.wait(30)

    def test_a_number_that_means_another_socket_is_watched_anew(self):
        for wait in (True, False):
            ours, theirs = pair()
            number = ours.fileno()
            if wait:
                theirs.send(b"1")
                self.assertEqual(self.loop.run_until_complete(self.loop.sock_recv(ours, 1)), b"1")
                task = self.suspend(self.loop.sock_recv(ours, 1))
                task.cancel()
            else:
                self.loop.add_reader(ours, self.fail)
            self.turn(2)
            ours.close()
            theirs.close()
            ours, theirs = pair()
            with ours, theirs:
                self.assertIn(number, (ours.fileno(), theirs.fileno()))
                if theirs.fileno() == number:
                    ours, theirs = theirs, ours
                task = self.suspend(self.loop.sock_recv(ours, 10))
                theirs.send(b"hello")
                got = self.loop.run_until_complete(asyncio.wait_for(task, 20))
                self.assertEqual(got, b"hello")
                self.loop.remove_reader(number)

    def test_a_wait_for_a_socket_that_was_closed_ends_when_its_number_is_used_again(self):
        ours, theirs = pair()
        number = ours.fileno()
        task = self.suspend(self.loop.sock_recv(ours, 1))
        ours.close()
        theirs.close()
        ours, theirs = pair()
        with ours, theirs:
            again = ours if ours.fileno() == number else theirs
            self.assertEqual(again.fileno(), number)
            other = self.suspend(self.loop.sock_recv(again, 1))
            with self.assertRaises(OSError) as caught:
                self.loop.run_until_complete(asyncio.wait_for(task, 20))
            self.assertEqual(caught.exception.errno, errno.EBADF)
            other.cancel()
            self.turn(2)

    def test_a_bad_descriptor_is_an_error_where_it_is_added(self):
        read, write = os.pipe()
        os.close(read)
        os.close(write)
        with self.assertRaises(OSError) as caught:
            self.loop.add_reader(read, print)
        self.assertEqual(caught.exception.errno, errno.EBADF)

    def test_what_is_no_descriptor_is_refused_as_selectors_refuse_it(self):
        class Told:
            def __init__(self, number):
                self.number = number

            def fileno(self):
                return self.number

        for wrong in ("3", 3.0, None, -1, Told(-1), Told("x"), Told(None), Told([])):
            for call in (
                self.loop.add_reader,
                self.loop._add_reader,
                self.loop.add_writer,
                self.loop._add_writer,
            ):
                with self.subTest(call=call, wrong=wrong), self.assertRaises(ValueError):
                    call(wrong, print)
            for call in (self.loop.remove_reader, self.loop._remove_reader, self.loop._watched):
                with self.subTest(call=call, wrong=wrong), self.assertRaises(ValueError):
                    call(wrong)
        with self.assertRaises(ZeroDivisionError):
            self.loop._remove_reader(type("", (), {"fileno": lambda self: 1 / 0})())
        ours, theirs = pair()
        with ours, theirs:
            self.loop.add_reader(Told(str(ours.fileno())), print)
            self.assertTrue(self.loop.remove_reader(ours))

    def test_an_end_without_a_reader_of_its_own_keeps_nobody_awake(self):
        ours, theirs = pair()
        with ours:
            task = self.suspend(self.loop.sock_recv(ours, 1))
            theirs.close()
            self.assertEqual(self.loop.run_until_complete(task), b"")
            before = os.times()  # what was asked for stays asked for: the end is reported once more
            self.loop.run_until_complete(asyncio.sleep(0.1))
            after = os.times()
            self.assertLess(after.user + after.system - before.user - before.system, 0.08)


class NothingIsSwallowed(LoopCase):
    def cancelled_in_the_moment_of_data(self, receive):
        ours, theirs = pair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        task = self.suspend(receive(ours))
        theirs.send(b"hello")
        task.cancel()
        self.turn(3)
        self.assertTrue(task.cancelled())
        return ours

    def receives(self):
        yield lambda sock: self.loop.sock_recv(sock, 100)
        yield lambda sock: self.loop.sock_recv_into(sock, bytearray(100))

    def test_a_plain_recv_finds_it(self):
        for receive in self.receives():
            self.assertEqual(self.cancelled_in_the_moment_of_data(receive).recv(100), b"hello")

    def test_every_reader_of_the_loop_finds_it(self):
        async def by_stream(sock):
            reader, writer = await asyncio.open_connection(sock=sock)
            try:
                return await reader.read(100)
            finally:
                writer.close()

        async def by_callback(sock):
            ready = self.loop.create_future()
            self.loop.add_reader(sock, lambda: ready.done() or ready.set_result(None))
            await ready
            self.loop.remove_reader(sock)
            return sock.recv(100)

        async def by_recvfrom(sock):
            return (await self.loop.sock_recvfrom(sock, 100))[0]

        async def by_recv(sock):
            return await self.loop.sock_recv(sock, 100)

        for receive in self.receives():
            for read in (by_stream, by_callback, by_recvfrom, by_recv):
                with self.subTest(read.__name__):
                    sock = self.cancelled_in_the_moment_of_data(receive)
                    found = self.loop.run_until_complete(asyncio.wait_for(read(sock), 20))
                    self.assertEqual(found, b"hello")

    def test_a_time_limit_takes_nothing(self):
        ours, theirs = pair()
        with ours, theirs:

            async def main():
                with self.assertRaises(TimeoutError):
                    await asyncio.wait_for(self.loop.sock_recv(ours, 10), 0.001)
                theirs.send(b"late")
                return ours.recv(10)

            self.assertEqual(self.loop.run_until_complete(main()), b"late")

    def test_two_who_wait_for_one_socket_are_both_served(self):
        ours, theirs = pair()
        with ours, theirs:
            tasks = [self.suspend(self.loop.sock_recv(ours, 1)) for _ in range(3)]
            theirs.send(b"abc")
            done = self.loop.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks), 20))
            self.assertEqual(done, [b"a", b"b", b"c"])

    def test_somebody_else_reads_first_and_the_wait_goes_on(self):
        ours, theirs = pair()
        with ours, theirs:
            task = self.suspend(self.loop.sock_recv(ours, 10))
            # On the queue before the task: it takes what the task was woken for.
            self.loop.add_reader(ours, lambda: (self.loop.remove_reader(ours), ours.recv(10)))
            theirs.send(b"first")
            self.turn(5)
            theirs.send(b"second")
            got = self.loop.run_until_complete(asyncio.wait_for(task, 20))
            self.assertIn(got, (b"first", b"second"))

    def test_a_fast_sender_leaves_the_loop_its_turns(self):
        ours, theirs = pair()
        theirs.setblocking(True)
        stop = threading.Event()

        def flood():
            while not stop.is_set():
                try:
                    theirs.send(bytes(65536))
                except OSError:
                    return

        async def main():
            turns = 0

            async def count():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counting = asyncio.create_task(count())
            for _ in range(2000):
                self.assertTrue(await self.loop.sock_recv(ours, 64))
            counting.cancel()
            return turns

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            self.assertGreater(self.loop.run_until_complete(main()), 100)
        finally:
            stop.set()
            ours.close()
            thread.join()
            theirs.close()


class Forks(unittest.TestCase):
    def test_a_child_that_closes_the_loop_leaves_the_parents_watches_alone(self):
        loop = horus.new_event_loop()
        ours, theirs = pair()
        with ours, theirs:
            seen = []
            loop.add_reader(ours, lambda: seen.append(ours.recv(10)))
            loop.run_until_complete(asyncio.sleep(0))
            child = os.fork()
            if child == 0:
                loop.close()
                os._exit(0)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            theirs.send(b"x")
            loop.run_until_complete(asyncio.sleep(0.01))
            self.assertEqual(seen, [b"x"])
            loop.remove_reader(ours)
        loop.close()


if __name__ == "__main__":
    unittest.main()
