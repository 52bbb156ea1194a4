#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A camera that takes 50 ms for a picture, in a plain node: a thread waits for it, the tick only
looks for results, and the 100 Hz controller beside it is never late.

    ./dev python examples/python/async_io_threaded.py
"""

import time
from concurrent.futures import ThreadPoolExecutor

import horus


def read_camera():
    """A driver that blocks."""
    time.sleep(0.05)
    return bytes(640)


class Camera(horus.Node):
    def __init__(self):
        super().__init__(rate=100)
        self.executor = ThreadPoolExecutor(max_workers=1)
        self.picture = None

    def tick(self):
        if self.picture is None:
            self.picture = self.executor.submit(read_camera)
        elif self.picture.done():
            self.send("picture", self.picture.result())
            self.picture = None

    def shutdown(self):
        self.executor.shutdown()


class Control(horus.Node):
    def __init__(self):
        super().__init__(rate=100, subs=["picture"])
        self.pictures = 0

    def tick(self):
        self.pictures += len(self.recv_all("picture"))


def main():
    scheduler = horus.Scheduler()
    scheduler.add(Camera(), priority=2)
    control = scheduler.add(Control(), priority=1)
    scheduler.run(duration=1.0)
    stats = scheduler.get_node_stats("control")
    print(f"control: {stats['successful_ticks']} of {stats['grid_points']} ticks,", end=" ")
    print(f"{control.pictures} pictures")
    return 0 if control.pictures > 5 else 1


if __name__ == "__main__":
    raise SystemExit(main())
