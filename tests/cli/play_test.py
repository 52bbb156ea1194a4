#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""play_test.py HORUS SEEDS: `horus play` on the small recordings of tests/fuzz/corpus/bag, with and without a terminal."""

import fcntl
import os
import pathlib
import pty
import select
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import unittest

HORUS = ""
SEEDS = pathlib.Path()
LIMIT_S = 20


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.env = {**os.environ, "HORUS_RUNTIME_DIR": str(self.folder / "run")}
        (self.folder / "run").mkdir(mode=0o700)


class Play(Case):
    def play(self, *arguments, code=0):
        done = subprocess.run([HORUS, "play", *map(str, arguments)], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, env=self.env, timeout=LIMIT_S)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done

    def test_what_was_published_is_counted_by_topic(self):
        done = self.play(SEEDS / "plain", "--shm", "desk")
        self.assertRegex(done.stdout, r"\n/a +2 +0 +0 +2\n/b +2 +0 +0 +0\n4 messages\n")  # two are no JSON
        self.assertIn("topic /a: a message is not played: read JSON", done.stderr)
        self.assertIn('nobody subscribed. A program meets this one through Hub::shm("desk")', done.stderr)

    def test_parts_patterns_and_names(self):
        part = self.play(SEEDS / "plain", "--shm", "desk", "-t", "/a", "--remap", "/a:=/c").stdout
        self.assertRegex(part, r"\n/c +2 ")
        self.assertNotIn("/b", part)
        self.assertRegex(self.play(SEEDS / "plain", "--shm", "desk", "--exclude-regex", "a$").stdout, r"^topic.*\n/b +2 ")
        self.assertIn("8 messages", self.play(SEEDS / "plain", SEEDS / "zstd", "--shm", "desk").stdout)

    def test_a_file_without_an_index_is_played_as_far_as_it_is_whole(self):
        done = self.play(SEEDS / "cut", "--shm", "desk")
        self.assertIn("has no index", done.stderr)

    def test_mistakes_are_told_with_what_helps(self):
        plain, empty = SEEDS / "plain", self.folder / "empty"
        empty.write_bytes(b"")
        for code, text, arguments in [
            (1, "no such file", ["none.mcap"]),
            (1, "too short for a recording", [empty]),
            (1, "--shm NAME or --tcp ADDRESS", [plain]),
            (1, 'did you mean "/a"?', [plain, "--shm", "x", "-t", "/ab"]),
            (1, "there are: /a, /b", [plain, "--shm", "x", "-t", "nonsense"]),
            (1, "nothing to play", [plain, "--shm", "x", "--start", "10"]),
            (2, "not in range", [plain, "--rate", "0"]),
            (2, "not in range", [plain, "--rate", "-1"]),
            (2, ":=", [plain, "--remap", "a"]),
            (2, "regular expression", [plain, "--regex", "("]),
            (2, "excludes", [plain, "--shm", "x", "--tcp", "127.0.0.1:1"]),
        ]:
            with self.subTest(arguments=arguments):
                self.assertIn(text, self.play(*arguments, code=code).stderr)

    def play_without_end(self):
        return subprocess.Popen([HORUS, "play", SEEDS / "plain", "--shm", "desk", "--loop", "--wait-for-subscribers"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.env)

    def test_a_signal_ends_it_with_the_counts(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.play_without_end() as playing:
                self.addCleanup(playing.kill)
                self.assertIn("waiting for subscribers of /a, /b", playing.stderr.readline())
                playing.send_signal(number)
                stopper = threading.Timer(LIMIT_S, playing.kill)
                stopper.start()
                self.addCleanup(stopper.cancel)
                out, _ = playing.communicate()
                self.assertIn("0 messages", out)
                self.assertEqual(128 + number, playing.returncode)


class OnATerminal(Case):
    def setUp(self):
        super().setUp()
        self.master, terminal = pty.openpty()
        self.before = termios.tcgetattr(terminal)
        self.playing = subprocess.Popen(
            [HORUS, "play", SEEDS / "plain", "--shm", "desk", "--start-paused", "-t", "/a"], stdin=terminal,
            stdout=terminal, stderr=terminal, env=self.env, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.terminal = terminal
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, terminal)
        self.addCleanup(self.playing.wait, LIMIT_S)
        self.addCleanup(self.playing.kill)
        self.seen = ""
        self.wait_for("paused: SPACE plays")

    def wait_for(self, text):
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], LIMIT_S)
            self.assertTrue(ready, f"{text!r} did not come: {self.seen!r}")
            self.seen += os.read(self.master, 4096).decode()
        self.seen = self.seen.partition(text)[2]

    def press(self, keys):
        os.write(self.master, keys)

    def is_shown(self):
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)

    def end(self, code):
        self.assertEqual(code, self.playing.wait(LIMIT_S))
        self.assertEqual(self.before, termios.tcgetattr(self.terminal))

    def test_steps_and_the_end(self):
        self.assertFalse(self.is_shown())
        for keys in (b"s", b"\x1b[C", b"s"):
            self.press(keys)
            self.wait_for("at 0.000 s")
        self.press(b"q")
        self.wait_for("2 messages")
        self.end(0)

    def test_space_goes_on(self):
        self.press(b"s ")
        self.wait_for("plays")
        self.wait_for("2 messages")
        self.end(0)

    def test_control_c_gives_the_terminal_back(self):
        self.press(b"\x03")
        self.wait_for("0 messages")
        self.end(128 + signal.SIGINT)

    def test_while_it_is_stopped_the_terminal_is_not_its_own(self):
        self.press(b"\x1a")
        _, status = os.waitpid(self.playing.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        self.assertEqual(self.before, termios.tcgetattr(self.terminal))
        self.playing.send_signal(signal.SIGCONT)
        self.wait_for("paused at 0.000 s")
        self.assertFalse(self.is_shown())
        self.press(b"s ")
        self.wait_for("2 messages")
        self.end(0)


if __name__ == "__main__":
    HORUS = sys.argv[1]
    SEEDS = pathlib.Path(sys.argv[2])
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
