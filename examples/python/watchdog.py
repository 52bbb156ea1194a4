#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A watchdog notices a node that hangs: the arm's tick waits for a controller that has stopped
answering, while the wheels go on.

    ./dev python examples/python/watchdog.py
"""

import asyncio

import horus


class Arm(horus.AsyncNode):
    """From its tenth tick on, its device does not answer any more; nobody will set this event."""

    def __init__(self):
        super().__init__(rate=100)
        self.ticks = 0

    async def tick_async(self):
        self.ticks += 1
        if self.ticks >= 10:
            await asyncio.Event().wait()

    def enter_safe_state(self):
        print("arm: brakes on")


def main():
    scheduler = horus.AsyncScheduler()
    scheduler.add(Arm())
    scheduler.add(horus.Node("wheels", tick=lambda node: None, rate=100))
    scheduler.set_node_watchdog("arm", True, 200)  # ms
    scheduler.set_node_watchdog("wheels", True, 200)

    scheduler.run(duration=0.8)

    for name in scheduler.get_node_names():
        stats = scheduler.get_node_stats(name)
        state = "EXPIRED" if stats["watchdog_expired"] else "fed"
        print(f"{name}: watchdog {state}, {stats['successful_ticks']} good ticks")
    good = scheduler.get_node_stats("wheels")["successful_ticks"]
    return 0 if good > 10 and scheduler.get_node_stats("arm")["watchdog_expired"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
