# SPDX-License-Identifier: Apache-2.0
"""A tick in Python that blocks the loop, with the interpreter or without: who is named, and when the motor is safe."""

import ctypes
import subprocess
import sys
import textwrap
import threading
import time
import unittest

import horus

C = ctypes.PyDLL(None)  # its calls do not give the interpreter away
LOCKED = ctypes.create_string_buffer(64)  # a pthread_mutex_t
C.pthread_mutex_lock(LOCKED)


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def keep_the_interpreter(seconds):
    """Waits, which no signal cuts short."""
    end = time.time() + seconds
    C.pthread_mutex_timedlock(LOCKED, ctypes.byref(Timespec(int(end), int(end % 1 * 1e9))))


class Motor(horus.Node):
    def __init__(self):
        super().__init__("motor", rate=100)
        self.safe = []

    def tick(self):
        pass

    def enter_safe_state(self):
        self.safe.append(time.monotonic())


class Blocker(horus.Node):
    """Blocks in its fifth tick for `seconds`."""

    def __init__(self, block):
        super().__init__("blocker", rate=100)
        self.block, self.ticks, self.began, self.ended = block, 0, None, None

    def tick(self):
        self.ticks += 1
        if self.ticks == 5:
            self.began = time.monotonic()
            self.block()
            self.ended = time.monotonic()


def drive(block, seconds):
    scheduler = horus.Scheduler()
    motor, blocker = Motor(), Blocker(block)
    scheduler.add(motor, watchdog_ms=100, critical=True)
    scheduler.add(blocker)
    scheduler.run(duration=seconds)
    return scheduler, motor, blocker


class Blocked(unittest.TestCase):
    def test_a_hook_in_python_runs_while_the_tick_waits_without_the_interpreter(self):
        scheduler, motor, blocker = drive(lambda: time.sleep(2.5), 3)
        self.assertTrue(scheduler.emergency_stopped)
        self.assertGreaterEqual(motor.safe[0] - blocker.began, 0.2)
        self.assertLess(motor.safe[0], blocker.ended)

    def test_it_runs_as_soon_as_the_interpreter_can_be_had_and_the_log_says_so(self):
        program = textwrap.dedent(
            """
            from blocked_test import drive, keep_the_interpreter
            scheduler, motor, blocker = drive(lambda: keep_the_interpreter(1.5), 2)
            assert scheduler.emergency_stopped
            assert motor.safe[0] >= blocker.began + 1.4, motor.safe
            """
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=__file__.rpartition("/")[0] or ".",
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        for line in (
            "blocker's tick sleeps in a blocking call",
            "motor: watchdog expired",
            "motor: isolated",
            "as it is critical: emergency stop",
            "motor: its enter_safe_state() is Python; it runs as soon as the interpreter can be had",
        ):
            self.assertIn(line, done.stderr)
        self.assertNotIn("motor's", done.stderr)  # the victim is not the culprit

    def test_questions_of_another_thread_are_answered_while_a_tick_waits(self):
        scheduler = horus.Scheduler()
        entered, leave = threading.Event(), threading.Event()

        def block():
            entered.set()
            leave.wait(20)

        blocker = Blocker(block)
        scheduler.add(Motor(), watchdog_ms=100)
        scheduler.add(blocker)
        seen = []

        def ask():
            entered.wait(20)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                began = time.monotonic()
                stats = scheduler.get_node_stats("motor")
                seen.append((time.monotonic() - began, stats["watchdog_expired"]))
                if stats["watchdog_expired"]:
                    break
            leave.set()
            scheduler.stop()

        thread = threading.Thread(target=ask)
        thread.start()
        scheduler.run(duration=20)
        thread.join()
        self.assertTrue(seen[-1][1], "the watchdog did not expire while the loop was blocked")
        self.assertLess(min(took for took, _ in seen), 0.2)


if __name__ == "__main__":
    unittest.main()
