# SPDX-License-Identifier: Apache-2.0
"""Presets, keywords and files of SchedulerConfig."""

import copy
import os
import pickle
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


class Copies(unittest.TestCase):
    def setUp(self):
        self.base = horus.SchedulerConfig.low_latency()
        self.base.tick_rate = 50

    def check_apart(self, copied):
        self.assertEqual(copied, self.base)
        copied.tick_rate = 70
        self.assertEqual((self.base.tick_rate, copied.tick_rate), (50, 70))
        self.assertNotEqual(copied, self.base)

    def test_a_copy_of_any_kind_is_apart_and_equal(self):
        self.check_apart(copy.copy(self.base))
        self.check_apart(copy.deepcopy({"of": [self.base]})["of"][0])
        self.check_apart(pickle.loads(pickle.dumps(self.base)))

    def test_presets_differ_also_where_their_settings_do_not_show_it(self):
        self.assertEqual(horus.SchedulerConfig(), horus.SchedulerConfig.standard())
        self.assertNotEqual(horus.SchedulerConfig(), horus.SchedulerConfig.realtime())
        self.assertNotEqual(horus.SchedulerConfig(), "standard")
        with self.assertRaises(TypeError):
            hash(self.base)

    def test_what_came_from_a_file_goes_along_without_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "robot.toml")
            with open(path, "w") as file:
                file.write('[scheduler]\ntick_rate = 20\n[node.arm]\nrate_hz = 7\n')
            self.base = horus.SchedulerConfig.from_file(path)
            self.base.tick_rate = 50
        for copied in (pickle.loads(pickle.dumps(self.base)), copy.copy(self.base)):
            scheduler = horus.Scheduler(copied)
            scheduler.add(horus.Node("arm", tick=lambda node: None))
            scheduler.tick_once()
            scheduler.close()
            self.assertEqual(scheduler.get_node_stats("arm")["rate_hz"], 7)
            self.check_apart(copied)


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
