#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A GPS receiver on the network, a log on the disk and a 100 Hz controller: three nodes on one
thread, and none waits for another. The receiver breaks off once; its node restarts and reconnects.

    ./dev python examples/python/asyncio_nodes.py
"""

import asyncio
import logging
import os
import tempfile

import horus


class Gps(horus.AsyncNode):
    """No rate: event-driven. A tick is one line, however long it takes."""

    def __init__(self, port):
        super().__init__()
        self.port = port

    async def init(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def tick_async(self):
        line = await self.reader.readuntil()  # raises at the end of the stream: the node fails
        await self.send_async("nmea", line)

    async def shutdown(self):
        self.writer.close()


class Log(horus.AsyncNode):
    def __init__(self, path):
        super().__init__(subs=["nmea"])
        self.path = path

    async def init(self):
        self.file = await horus.open(self.path, "ab")

    async def tick_async(self):
        await self.file.write(await self.recv_async("nmea"))

    async def shutdown(self):
        await self.file.close()


class Control(horus.Node):
    def __init__(self):
        super().__init__(rate=100, subs=["nmea"])
        self.lines = 0

    def tick(self):
        self.lines += len(self.recv_all("nmea"))


async def receiver(reader, writer):
    """Plays the GPS receiver: twenty lines, then it is unplugged."""
    for number in range(20):
        writer.write(b"$GPGGA,%d\r\n" % number)
        await asyncio.sleep(0.01)
    writer.close()


async def run(path):
    server = await asyncio.start_server(receiver, "127.0.0.1", 0)
    config = horus.SchedulerConfig(auto_restart=True, max_failures=1, restart_delay_ms=20)
    scheduler = horus.AsyncScheduler(config)
    scheduler.add(Gps(server.sockets[0].getsockname()[1]))
    scheduler.add(Log(path))
    control = scheduler.add(Control())
    await scheduler.run_async(duration=1.0)
    server.close()
    stats = scheduler.get_node_stats("control")
    print(f"control: {stats['successful_ticks']} of {stats['grid_points']} ticks in time")
    print(f"gps: {scheduler.get_node_stats('gps')['restarts']} restarts, {control.lines} lines,", end=" ")
    print(f"{os.path.getsize(path)} bytes logged")
    return 0 if control.lines > 20 and os.path.getsize(path) > 0 else 1


def main():
    logging.basicConfig(level=logging.CRITICAL)  # the receiver's end is part of the show
    with tempfile.TemporaryDirectory() as folder:
        return horus.run(run(os.path.join(folder, "gps.log")))


if __name__ == "__main__":
    raise SystemExit(main())
