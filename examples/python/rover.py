#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rover in Python: one process, one thread, six nodes. A camera that is a child process, a GPS
receiver on TCP, orders by UDP, the machine's health from /proc, a log on the disk, and a controller
that must be on time 100 times a second. The C++ one is in examples/rover.

    ./dev python examples/python/rover.py --seconds 5
"""

import argparse
import asyncio
import math
import os
import socket
import sys
import tempfile
import time

import horus

WIDTH, HEIGHT = 160, 120


class Camera(horus.AsyncNode):
    """A child process writes pictures to its standard output; a tick is one picture."""

    async def init(self):
        self.child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--camera", stdout=asyncio.subprocess.PIPE
        )

    async def tick_async(self):
        picture = await self.child.stdout.readexactly(WIDTH * HEIGHT)
        brightest = picture.index(max(picture))
        await self.send_async("target", (brightest % WIDTH) / WIDTH - 0.5)

    async def shutdown(self):
        if self.child.returncode is None:
            self.child.kill()
        await self.child.wait()


class Gps(horus.AsyncNode):
    """Lines of a receiver; when it breaks off, the node restarts and connects again."""

    def __init__(self, port):
        super().__init__()
        self.port = port

    async def init(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def tick_async(self):
        fields = (await self.reader.readuntil()).split(b",")
        await self.send_async("position", (float(fields[1]), float(fields[2])))

    async def shutdown(self):
        self.writer.close()


class Orders(horus.AsyncNode):
    """One datagram, one order: b"speed 0.5"."""

    async def init(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", 0))

    async def tick_async(self):
        loop = asyncio.get_running_loop()
        order, _sender = await loop.sock_recvfrom(self.socket, 100)
        if order.startswith(b"speed "):
            await self.send_async("speed", float(order[6:]))

    async def shutdown(self):
        self.socket.close()


class Health(horus.AsyncNode):
    def __init__(self):
        super().__init__(rate=5)

    async def tick_async(self):
        async with horus.open("/proc/loadavg") as file:
            load = float((await file.read()).split()[0])
        await self.send_async("log", f"load {load}")


class Control(horus.Node):
    """Steers towards the target at the speed that was ordered."""

    def __init__(self):
        super().__init__(rate=100)
        self.speed = self.heading = 0.0
        self.pictures = self.fixes = 0

    def init(self):
        self.subscribe("target", overflow="latest")

    def tick(self):
        self.speed = self.recv("speed", default=self.speed)
        self.fixes += len(self.recv_all("position"))
        target = self.recv("target")
        if target is not None:
            self.pictures += 1
            self.heading += 0.1 * target
        self.send("log", f"heading {self.heading:.3f} speed {self.speed}")


class Log(horus.AsyncNode):
    """Writes what has come since the last time, and waits for the disk."""

    def __init__(self, path):
        super().__init__(rate=10, subs=["log"])
        self.path, self.bytes = path, 0
        self.subscribe("log", depth=1000)

    async def init(self):
        self.file = await horus.open(self.path, "a")

    async def tick_async(self):
        lines = self.recv_all("log")
        if lines:
            self.bytes += await self.file.write("\n".join(lines) + "\n")
            await self.file.sync(only_data=True)

    async def shutdown(self):
        await self.file.close()


# --- What plays the world around it


def camera():
    """20 pictures a second with a bright spot that wanders."""
    for number in range(10_000):
        picture = bytearray(WIDTH * HEIGHT)
        spot = int(WIDTH * (0.5 + 0.4 * math.sin(number / 10)))
        picture[WIDTH * HEIGHT // 2 + spot] = 255
        try:
            os.write(1, picture)
        except BrokenPipeError:
            return
        time.sleep(0.05)


async def receiver(reader, writer):
    """A GPS receiver that breaks off after 40 lines."""
    for number in range(40):
        writer.write(b"$GPRMC,%f,%f\r\n" % (48.1 + number * 1e-6, 11.5))
        await asyncio.sleep(0.025)
    writer.close()


async def drive(seconds):
    server = await asyncio.start_server(receiver, "127.0.0.1", 0)
    config = horus.SchedulerConfig(auto_restart=True, max_failures=1, restart_delay_ms=50)
    with tempfile.TemporaryDirectory() as folder:
        scheduler = horus.AsyncScheduler(config)
        control = scheduler.add(Control(), priority=1, deadline_ms=10)
        scheduler.add(Camera())
        scheduler.add(Gps(server.sockets[0].getsockname()[1]))
        orders = scheduler.add(Orders())
        scheduler.add(Health())
        log = scheduler.add(Log(os.path.join(folder, "rover.log")))
        running = asyncio.create_task(scheduler.run_async(duration=seconds))

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not running.done():
                await asyncio.sleep(0.2)
                if hasattr(orders, "socket") and orders.socket.fileno() >= 0:
                    sender.sendto(b"speed 0.5", orders.socket.getsockname())
        await running
        server.close()

        print(scheduler.status())
        stats = scheduler.get_node_stats("control")
        kept = 100 * stats["on_time_ticks"] / stats["grid_points"]
        print(f"controller: {kept:.1f} % of its ticks in time, {control.pictures} pictures,", end=" ")
        print(f"{control.fixes} fixes, speed {control.speed}; {log.bytes} bytes logged")
        return 0 if control.pictures and control.fixes and control.speed == 0.5 and log.bytes else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long it drives")
    parser.add_argument("--camera", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.camera:
        return camera()
    return horus.run(drive(arguments.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
