#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The five helpers for plain nodes, in one node that reads sensors, logs in batches and reports at a
limited rate; then their relatives for coroutines.

    ./dev python examples/python/async_helpers.py
"""

import time

import horus
from horus import aio
from horus_async_helpers import (
    AsyncAggregator,
    AsyncHelper,
    BatchProcessor,
    ConnectionPool,
    RateLimiter,
)


class Sensor:
    """A connection to a slow device."""

    def measure(self, channel):
        time.sleep(0.01)
        return channel, 20.0 + channel


class Monitor(horus.Node):
    def __init__(self):
        super().__init__(rate=100)
        self.helper = AsyncHelper(max_workers=2)
        self.sensors = ConnectionPool(Sensor, max_connections=2)
        self.log = BatchProcessor(10, 0.2, self.write)
        self.limiter = RateLimiter(5)
        self.readings = AsyncAggregator()
        self.lines = self.reports = 0

    def write(self, batch):
        """In the background: one write for many readings."""
        self.lines += len(batch)

    def tick(self):
        if self.readings.all_completed():
            for value, error in self.readings.get_all_results().values():
                if error is None:
                    self.log.add(value)
            self.readings.clear()
            for channel in range(4):
                self.readings.add(channel, self.sensors.execute_async(Sensor.measure, channel))
        self.log.tick()
        if self.limiter.allow() and not self.helper.is_pending("report"):
            self.helper.submit("report", time.sleep, 0.01)
        self.reports += len(self.helper.check_completed())

    def shutdown(self):
        for helper in (self.log, self.helper, self.sensors):
            helper.shutdown()


async def awaited():
    """The same for coroutines."""
    async with aio.ConnectionPool(Sensor, max_connections=2) as pool:
        limiter = aio.RateLimiter(100)
        batches = aio.BatchProcessor(4, flush_interval=0.1)
        for channel in range(8):
            async with limiter:
                await batches.add(await pool.execute(lambda sensor, c: c, channel))
        await batches.close()
        return [batch async for batch in batches]


def main():
    monitor = Monitor()
    horus.run(monitor, duration=1.0)
    print(f"{monitor.lines} readings logged, {monitor.reports} reports")
    for name in ("sensors", "log", "limiter"):
        print(f"{name}: {getattr(monitor, name).get_stats()}")
    batches = horus.run(awaited())
    print(f"awaited: {batches}")
    return 0 if monitor.lines > 0 and len(batches) == 2 else 1


if __name__ == "__main__":
    raise SystemExit(main())
