# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, SIGTERM and handlers of the user's own: each in a process of its own, which says when it
is ready."""

import signal
import subprocess
import sys
import unittest

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


if __name__ == "__main__":
    unittest.main()
