# SPDX-License-Identifier: Apache-2.0
"""Presets, keywords and files of SchedulerConfig."""

import os
import tempfile
import unittest

import horus


class Presets(unittest.TestCase):
    def test_the_five_presets_have_their_rates(self):
        rates = {
            "standard": 100,
            "high_performance": 200,
            "low_latency": 500,
            "power_saving": 30,
            "realtime": 1000,
        }
        for name, rate in rates.items():
            config = getattr(horus.RobotPreset, name)()
            self.assertEqual((config.preset, config.tick_rate), (name, rate))
        with self.assertRaisesRegex(ValueError, "standard"):
            horus.SchedulerConfig("fastest")

    def test_keywords_and_attributes_as_in_the_documents(self):
        config = horus.SchedulerConfig(
            tick_rate=100.0, circuit_breaker=True, deadline_monitoring=True
        )
        config.max_failures = 7
        config.auto_restart = True
        config.watchdog_enabled = True
        config.watchdog_timeout_ms = 250
        self.assertEqual((config.max_failures, config.watchdog_timeout_ms), (7, 250))
        self.assertIn("max_failures=7", repr(config))
        self.assertIsInstance(horus.Scheduler.from_config(config), horus.Scheduler)

    def test_wrong_values_say_what_was_expected(self):
        config = horus.SchedulerConfig.standard()
        with self.assertRaisesRegex(TypeError, "no setting 'tickrate'; there are: tick_rate"):
            horus.SchedulerConfig(tickrate=5)
        with self.assertRaisesRegex(AttributeError, "no setting 'watchdog'"):
            config.watchdog = True
        with self.assertRaisesRegex(TypeError, "circuit_breaker is True or False, not 'yes'"):
            config.circuit_breaker = "yes"
        with self.assertRaisesRegex(ValueError, "tick_rate is 0.001 to 100000 Hz, not -5"):
            config.tick_rate = -5
        with self.assertRaisesRegex(ValueError, "tick_rate"):
            config.tick_rate = float("nan")
        with self.assertRaisesRegex(TypeError, "max_failures is a whole number, not float"):
            config.max_failures = 2.5
        with self.assertRaisesRegex(ValueError, "policy is one of priority, rate_monotonic, edf"):
            config.policy = "fifo"
        with self.assertRaisesRegex(
            TypeError, "config is a SchedulerConfig or the path of a file, not int"
        ):
            horus.Scheduler(5)

    def test_a_scheduler_keeps_its_own_copy(self):
        config = horus.SchedulerConfig.standard()
        scheduler = horus.Scheduler(config)
        config.tick_rate = 5
        scheduler.add(horus.Node("n", tick=lambda node: None))
        with scheduler:
            scheduler.tick_once()
            self.assertEqual(scheduler.get_node_stats("n")["rate_hz"], 100)


class Files(unittest.TestCase):
    def test_a_file_describes_scheduler_and_nodes(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "robot.toml")
            with open(path, "w") as file:
                file.write("[scheduler]\ntick_rate = 50\n[node.n]\ndeadline_ms = 7\n")
            scheduler = horus.Scheduler.from_config(path)
            scheduler.add(horus.Node("n", tick=lambda node: None))
            with scheduler:
                scheduler.tick_once()
                stats = scheduler.get_node_stats("n")
            self.assertEqual((stats["rate_hz"], stats["deadline_ms"]), (50, 7))

            with open(path, "w") as file:
                file.write("[scheduler]\ntickrate = 50\n")
            with self.assertRaisesRegex(ValueError, "robot.toml:2.*tickrate"):
                horus.SchedulerConfig.from_file(path)
            with self.assertRaises(FileNotFoundError):
                horus.SchedulerConfig.from_file(os.path.join(folder, "missing.toml"))


if __name__ == "__main__":
    unittest.main()
