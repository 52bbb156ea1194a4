# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, SIGTERM and handlers of the user's own: each in a process of its own, which says when it
is ready."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import unittest

import horus

PROGRAM = """
import signal, sys, threading, time, horus

class Motor(horus.Node):
    def tick(self):
        {tick}
    def shutdown(self):
        print("shutdown", flush=True)

scheduler = horus.Scheduler()
scheduler.add(Motor(rate=50))
{before}
try:
    scheduler.run()
    print("returned", flush=True)
except KeyboardInterrupt:
    print("KeyboardInterrupt", flush=True)
"""
WITHOUT_STDERR = """
import os, sys
data = open(sys.argv[1], "w")
if data.fileno() != 2:
    sys.exit(3)
import horus

class Sensor(horus.Node):
    def tick(self):
        os.kill(os.getpid(), 15)  # "stopping", says the log

horus.run(Sensor(rate=50))
"""
READY = 'print("ready", flush=True) if not hasattr(self, "told") else None; self.told = True'


def run(number, tick=READY, before=""):
    """What the program printed after the signal, and its exit code."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(tick=tick, before=before)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
        return out.split(), process.returncode


class Signals(unittest.TestCase):
    def test_ctrl_c_shuts_down_and_then_raises(self):
        self.assertEqual(run(signal.SIGINT), (["shutdown", "KeyboardInterrupt"], 0))

    def test_ctrl_c_interrupts_a_tick_that_sleeps_or_computes(self):
        for hang in ("time.sleep(60)", "while True: pass"):
            tick = f'print("ready", flush=True)\n        {hang}'
            self.assertEqual(run(signal.SIGINT, tick), (["shutdown", "KeyboardInterrupt"], 0))

    def test_ctrl_c_wakes_a_loop_that_sleeps(self):
        tick = 'scheduler.pause("motor"); print("ready", flush=True)'
        self.assertEqual(run(signal.SIGINT, tick), (["shutdown", "KeyboardInterrupt"], 0))

    def test_sigterm_stops_gracefully(self):
        self.assertEqual(run(signal.SIGTERM), (["shutdown", "returned"], 0))

    def test_a_handler_of_the_users_own_may_call_stop(self):
        before = "signal.signal(signal.SIGUSR1, lambda *_: scheduler.stop())"
        self.assertEqual(run(signal.SIGUSR1, before=before), (["shutdown", "returned"], 0))


ATTACHED = """
import asyncio, signal, sys, horus

# A loop as asyncio's own modules have it, in which Ctrl-C comes while a callback is being queued.
source = '''
import asyncio, signal
class Loop(asyncio.SelectorEventLoop):
    interrupted = False
    def call_soon(self, callback, *args, context=None):
        if self.interrupted:
            self.interrupted = False
            signal.raise_signal(signal.SIGINT)
        return super().call_soon(callback, *args, context=context)
'''
space = dict(__name__="asyncio.queueing")
exec(source, space)

async def main():
    loop = asyncio.get_running_loop()
    async with horus.Reactor.attach():
        file = await horus.open(sys.executable, "rb")
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("cancelled", flush=True)
        {second}
try:
    with asyncio.Runner(loop_factory=space["Loop"]) as runner:
        runner.run(main())
except KeyboardInterrupt:
    print("KeyboardInterrupt", flush=True)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
"""


class InAttachedLoops(unittest.TestCase):
    """asyncio.Runner cancels the main task at the first Ctrl-C and raises KeyboardInterrupt at the
    second."""

    def run_twice_interrupted(self, second):
        done = subprocess.run(
            [sys.executable, "-c", ATTACHED.format(second=second)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout.split()

    def test_a_second_ctrl_c_loses_no_callback(self):
        second = """
        try:
            loop.interrupted = True
            await file.read(1)
        finally:
            print("ended", flush=True)
            await file.close()
"""
        self.assertEqual(
            self.run_twice_interrupted(second), ["cancelled", "ended", "KeyboardInterrupt", "True"]
        )

    def test_one_that_meets_the_users_code_is_raised_there(self):
        second = """
        try:
            signal.raise_signal(signal.SIGINT)
            print("not interrupted", flush=True)
        except KeyboardInterrupt:
            print("here", flush=True)
            raise
"""
        self.assertEqual(
            self.run_twice_interrupted(second), ["cancelled", "here", "KeyboardInterrupt", "True"]
        )

    def test_after_the_block_the_former_handler_is_back(self):
        for handler in (signal.default_int_handler, signal.SIG_IGN, lambda *_: None):
            before = signal.signal(signal.SIGINT, handler)
            try:

                async def main():
                    former = signal.getsignal(signal.SIGINT)
                    async with horus.Reactor.attach():
                        async with horus.Reactor.attach():
                            self.assertEqual(
                                signal.getsignal(signal.SIGINT) is former,
                                handler is not signal.default_int_handler,
                            )
                    self.assertIs(signal.getsignal(signal.SIGINT), former)

                with asyncio.Runner() as runner:
                    runner.run(main())
                self.assertIs(signal.getsignal(signal.SIGINT), handler)
            finally:
                signal.signal(signal.SIGINT, before)


class Exit(unittest.TestCase):
    def test_a_run_in_a_daemon_thread_ends_with_the_program(self):
        program = """
import threading, horus
ticked = threading.Event()
node = horus.Node("n", tick=lambda node: ticked.set(), shutdown=lambda node: print("shutdown"))
threading.Thread(target=horus.run, args=(node,), daemon=True).start()
ticked.wait()
"""
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
        )
        self.assertEqual((done.stdout.split(), done.returncode), (["shutdown"], 0), done.stderr)

    def test_without_standard_error_the_log_meets_no_data_file(self):
        with tempfile.NamedTemporaryFile() as data:
            done = subprocess.run(
                ["sh", "-c", 'exec "$0" -c "$1" "$2" 2>&-', sys.executable, WITHOUT_STDERR, data.name],
                timeout=60,
                check=False,
            )
            self.assertEqual(done.returncode, 0)
            self.assertEqual(data.read(), b"")


if __name__ == "__main__":
    unittest.main()
