#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A service that stays on asyncio's own loop, or on uvloop: Horus' reactor is attached to it. The
recorder writes what clients send through io_uring, without a thread, and a 50 Hz node beside it
tells how much that is.

    PYTHONPATH=build/horus/py python3 examples/python/attached_reactor.py
"""

import asyncio
import tempfile

import horus

CLIENTS = 4
LINES = 25


class Recorder:
    """A server of today, unchanged but for the file."""

    def __init__(self, file):
        self.file, self.lines = file, 0

    async def serve(self, reader, writer):
        async for line in reader:
            await self.file.write(line)
            self.lines += 1
        writer.close()


async def client(port, number):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    for i in range(LINES):
        writer.write(b"client %d, line %d\n" % (number, i))
        await writer.drain()
        await asyncio.sleep(0.02)
    writer.close()
    await writer.wait_closed()


async def main():
    with tempfile.TemporaryDirectory() as directory:
        async with horus.Reactor.attach():
            async with horus.open(f"{directory}/record.log", "wb") as file:
                recorder = Recorder(file)
                server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
                port = server.sockets[0].getsockname()[1]

                seen = []
                scheduler = horus.AsyncScheduler()
                watch = horus.Node("watch", tick=lambda _: seen.append(recorder.lines), rate=50)
                scheduler.add(watch)
                running = asyncio.create_task(scheduler.run_async())

                await asyncio.gather(*[client(port, number) for number in range(CLIENTS)])
                while recorder.lines < CLIENTS * LINES:
                    await asyncio.sleep(0.01)
                scheduler.stop()
                await running
                server.close()
                await server.wait_closed()
        with open(f"{directory}/record.log") as record:
            lines = len(record.readlines())
    print(f"{type(asyncio.get_running_loop()).__name__}: {lines} lines recorded,", end=" ")
    print(f"{len(seen)} ticks beside it, the last saw {seen[-1]}")


if __name__ == "__main__":
    asyncio.run(main())
