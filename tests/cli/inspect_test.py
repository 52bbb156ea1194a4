#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""inspect_test.py HORUS ROBOT: `horus topic`, `node`, `tasks` and `estop` on running programs, tests/cli/robot.cpp."""

import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HORUS = ""
ROBOT = ""
LIMIT_S = 20


class Robot:
    """A running program. Each of its commands has been obeyed when the call returns."""

    def __init__(self, case, *arguments):
        self.process = subprocess.Popen([ROBOT, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env=case.env)
        case.addCleanup(self.end)
        self.pid = int(self.line().split()[1])

    def line(self):
        return self.process.stdout.readline().strip()

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.line()

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.env = {**os.environ, "HORUS_RUNTIME_DIR": folder.name, "HORUS_INSPECT": "1"}
        pathlib.Path(folder.name).chmod(0o700)

    def horus(self, *arguments, code=0):
        done = subprocess.run([HORUS, *map(str, arguments)], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, env=self.env, timeout=LIMIT_S)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done

    def node(self, name, *arguments):
        return self.objects("node", "list", name, *arguments)[0]

    def until(self, comes):
        end = time.monotonic() + LIMIT_S
        while not comes():
            self.assertLess(time.monotonic(), end)

    def objects(self, *arguments):
        return [json.loads(line) for line in self.horus(*arguments, "--json").stdout.splitlines()]


class Topics(Case):
    def test_a_list_tells_active_from_silent_and_never_used(self):
        robot = Robot(self)
        robot.tell("publish imu 3")
        imu, quiet = self.objects("topic", "list")
        self.assertEqual(("imu", "horus::messages::Twist", robot.pid, 3, 3 * 48),
                         (imu["topic"], imu["type"], imu["pid"], imu["published"], imu["bytes"]))
        self.assertGreaterEqual(imu["silent_ns"], 0)
        self.assertEqual(("quiet", 0, False, None), (quiet["topic"], quiet["published"], quiet["active"], quiet["silent_ns"]))
        text = self.horus("topic", "list").stdout
        self.assertRegex(text, rf"quiet +horus::messages::Twist +\w+ \({robot.pid}\) +desk +0 +never +0 +0\n")

    def test_rates_are_the_publishers_own_counts(self):
        robot = Robot(self)
        measure = subprocess.Popen([HORUS, "topic", "hz", "imu", "-w", "0.02", "--json"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True, env=self.env)
        self.addCleanup(measure.stdout.close)
        self.addCleanup(measure.wait)
        self.addCleanup(measure.kill)
        first = json.loads(measure.stdout.readline())
        self.assertEqual((0, 0), (first["messages"], first["all_messages"]))
        robot.tell("publish imu 5000")
        messages = 0
        while True:
            seen = json.loads(measure.stdout.readline())
            messages += seen["messages"]
            self.assertEqual(messages, seen["all_messages"])
            self.assertEqual(48 * seen["messages"], seen["bytes"])
            self.assertAlmostEqual(seen["hz"], seen["messages"] / seen["seconds"], delta=1e-4 * seen["hz"])
            if messages == 5000:
                break
        robot.end()
        self.assertEqual(1, measure.wait(LIMIT_S))  # nobody publishes it any more

    def test_info_find_and_bandwidth(self):
        Robot(self).tell("publish imu 2")
        self.assertIn("2, 96 bytes", self.horus("topic", "info", "imu").stdout)
        self.assertEqual({"imu", "quiet"}, {found["topic"] for found in self.objects("topic", "find", "Twist")})
        self.assertIn("horus::messages::Twist", self.horus("topic", "find", "Twits", code=1).stderr)
        self.assertRegex(self.horus("topic", "bw", "imu", "--once", "-w", "0.02").stdout, r"imu .* 0 bytes/s")

    def echo(self, *arguments):
        """A running `horus topic echo`; its taps are in place when the first message has come."""
        process = subprocess.Popen([HORUS, "topic", "echo", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=self.env)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_echo_shows_every_message_and_its_fields(self):
        robot = Robot(self)
        echo = self.echo("imu", "--json")
        lines = queue.SimpleQueue()
        threading.Thread(target=lambda: [lines.put(json.loads(line)) for line in echo.stdout], daemon=True).start()
        while lines.empty():  # its tap may not be in place yet
            robot.tell("publish imu 1")
        first = lines.get(timeout=LIMIT_S)
        robot.tell("publish imu 2000")
        sent = self.objects("topic", "list", "imu")[0]["published"]
        x = first["message"]["linear"]["x"]
        self.assertEqual({"x": 0, "y": 0, "z": 0}, first["message"]["angular"])
        while x < sent:  # nothing is left out, and nothing comes twice
            message = lines.get(timeout=LIMIT_S)
            x += 1
            self.assertEqual((x, robot.pid, "imu"), (message["message"]["linear"]["x"], message["pid"], message["topic"]))
        robot.end()
        self.assertEqual(1, echo.wait(LIMIT_S))
        self.assertRegex(echo.stderr.read(), "has gone|has ended")

    def test_echo_as_text_ends_after_as_many_messages_as_were_asked_for(self):
        robot = Robot(self)
        echo = self.echo("imu", "--once")
        while echo.poll() is None:
            robot.tell("publish imu 1")
        self.assertEqual(0, echo.returncode)
        self.assertRegex(echo.stdout.read(), r"^linear:\n  x: \d+\n  y: 0\n  z: 0\nangular:\n  x: 0\n  y: 0\n  z: 0\n---\n$")

    def test_mistakes_are_told_with_what_helps(self):
        self.assertIn("no program of this user has a door open", self.horus("topic", "list").stderr)
        self.assertIn("nobody publishes imu (no program publishes anything)", self.horus("topic", "hz", "imu", code=1).stderr)
        first, second = Robot(self), Robot(self)
        for code, text, arguments in [
            (1, "did you mean imu?", ["info", "imi"]),
            (1, "there are: imu, quiet", ["hz", "nonsense"]),
            (1, "in the hub other", ["list", "imu", "--hub", "other"]),
            (1, f"process 1 (there are: robot ({min(first.pid, second.pid)})", ["list", "-p", "1"]),
            (1, "say which one by its pid", ["list", "-p", "robot"]),
            (1, "did you mean robot?", ["list", "-p", "robto"]),
            (2, "in range", ["hz", "imu", "-w", "0"]),
            (2, "required", ["hz"]),
        ]:
            with self.subTest(arguments=arguments):
                self.assertIn(text, self.horus("topic", *arguments, code=code).stderr)

    def test_a_program_that_is_stopped_delays_the_others_by_no_more_than_the_timeout(self):
        frozen, alive = Robot(self), Robot(self)
        frozen.process.send_signal(signal.SIGSTOP)
        seen = self.objects("topic", "list", "--timeout", "0.2")
        self.assertEqual({alive.pid}, {topic["pid"] for topic in seen})


class Nodes(Case):
    def test_a_list_and_what_a_node_waits_for(self):
        robot = Robot(self)
        nodes = {node["node"]: node for node in self.objects("node", "list")}
        self.assertEqual(["waits", "steady", "begins"], list(nodes))
        steady = nodes["steady"]
        self.assertEqual((100, "running", robot.pid), (steady["rate_hz"], steady["state"], steady["pid"]))
        self.assertGreater(nodes["begins"]["ticks"], 0)
        self.assertRegex(self.horus("node", "list", "waits").stdout, r"waits +robot \(\d+\) +running +on input ")
        self.assertIn("waits tick: waits for a timer", self.horus("tasks").stdout)
        self.assertIn("robot.cpp", self.horus("tasks", "-p", robot.pid).stdout)

    def test_an_error_of_a_tick_is_told(self):
        robot = Robot(self)
        robot.tell("fail")
        self.until(lambda: "as it was told" in self.horus("node", "info", "steady").stdout)
        self.assertEqual(1, self.node("steady")["failed"])

    def test_a_blocked_loop_answers_with_its_last_figures_and_its_stack(self):
        robot = Robot(self)
        self.horus("node", "list")
        self.assertEqual("blocked", robot.tell("block"))
        for _ in range(2):
            self.assertGreater(self.node("steady")["age_ms"], 0)
        self.assertIn("loop blocked", self.horus("node", "list").stdout)
        self.assertIn("read_line", self.horus("tasks").stdout)
        self.assertEqual("unblocked", robot.tell("on"))

    def test_control_needs_permission(self):
        robot = Robot(self)
        refused = self.horus("node", "pause", "steady", code=1).stderr
        self.assertIn("control = true in its [inspect]", refused)
        self.assertEqual("running", self.node("steady")["state"])
        self.assertIn("control = true", self.horus("estop", "--reset", code=1).stderr)
        self.assertEqual("runs", robot.tell("state"))

    def test_nodes_are_paused_resumed_and_restarted(self):
        Robot(self, "--control")
        for verb, state in [("pause", "paused"), ("resume", "running")]:
            self.horus("node", verb, "steady")
            self.until(lambda wanted=state: self.node("steady")["state"] == wanted)
        self.horus("node", "restart", "waits")
        self.until(lambda: self.node("waits")["cancelled"] == 1)
        self.assertIn("did you mean steady?", self.horus("node", "pause", "stedy", code=1).stderr)

    def test_which_of_two_programs_is_meant_must_be_said(self):
        robots = [Robot(self, "--control"), Robot(self, "--control")]
        self.assertIn("say which one with -p", self.horus("node", "pause", "steady", code=1).stderr)
        self.horus("node", "pause", "steady", "-p", robots[1].pid)
        self.until(lambda: self.node("steady", "-p", robots[1].pid)["state"] == "paused")
        self.assertEqual("running", self.node("steady", "-p", robots[0].pid)["state"])


class EmergencyStop(Case):
    def test_it_reaches_every_program_and_names_each(self):
        robots = [Robot(self), Robot(self, "--control")]
        said = self.horus("estop").stdout
        for robot in robots:
            self.assertIn(f"robot ({robot.pid}): emergency stop", said)
            self.assertEqual("emergency stop", robot.tell("state"))
        self.horus("estop", "--reset", "-p", robots[1].pid)
        self.assertEqual("runs", robots[1].tell("state"))

    def test_one_that_nobody_hears_is_a_failure(self):
        self.assertIn("nothing was stopped", self.horus("estop", code=1).stderr)

    def test_it_works_while_the_loop_is_blocked(self):
        robot = Robot(self)
        robot.tell("block")
        self.horus("estop", "-p", robot.pid)
        self.assertEqual("unblocked", robot.tell("on"))
        self.assertEqual("emergency stop", robot.tell("state"))


if __name__ == "__main__":
    HORUS, ROBOT = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()
