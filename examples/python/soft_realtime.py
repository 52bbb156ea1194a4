#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Deadlines, a watchdog and a circuit breaker from Python: three nodes run for a second, and their
accounts are printed.

    ./dev python examples/python/soft_realtime.py
"""

import logging
import time

import horus


class Sensor(horus.Node):
    """Measures; every twentieth reading takes longer than its deadline."""

    def __init__(self):
        super().__init__(rate=100)
        self.readings = 0

    def tick(self):
        self.readings += 1
        if self.readings % 20 == 0:
            time.sleep(0.008)
        self.send("reading", self.readings)


class Control(horus.Node):
    """Takes the newest reading."""

    def init(self):
        self.subscribe("input", overflow="latest")

    def tick(self):
        self.reading = self.recv("input", default=None)

    def shutdown(self):
        print("control: motors off")


def broken(node):
    raise OSError("no lidar at /dev/ttyUSB0")


def main():
    logging.basicConfig(level=logging.CRITICAL)  # the failures below are part of the show
    config = horus.SchedulerConfig(tick_rate=100.0, circuit_breaker=True, deadline_monitoring=True)
    config.max_failures = 3
    scheduler = horus.Scheduler(config)
    sensor = scheduler.add(Sensor(), priority=1)
    scheduler.add(Control(), priority=2)
    scheduler.add(horus.Node("lidar", tick=broken, rate=20), priority=3)
    scheduler.set_node_deadline("sensor", 5.0)
    scheduler.set_node_watchdog("control", True, 500)
    scheduler.connect("sensor", "reading", "control", "input")

    scheduler.run(duration=1.0)

    print(f"{'node':<10}{'ticks':>8}{'failed':>8}{'missed':>8}{'circuit':>12}{'late p99 ms':>14}")
    for node in scheduler.get_all_nodes():
        late = node["release_lateness"]["p99_ns"] / 1e6
        print(
            f"{node['name']:<10}{node['total_ticks']:>8}{node['failed_ticks']:>8}"
            f"{node['deadline_misses']:>8}{node['circuit_state']:>12}{late:>14.3f}"
        )
    return 0 if sensor.readings > 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
