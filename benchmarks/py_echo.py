#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TCP echo server: --style protocol, sock (a coroutine per connection on sock_recv and
sock_sendall) or streams.

Prints `listening on 127.0.0.1:PORT` and serves until SIGTERM. py_compare.py measures it with
load/echo_load: the server's CPU time per request.
"""

import argparse
import asyncio
import signal
import socket
import sys
from typing import Any, Optional, Set

from py_common import LOOPS, Skip, run

READ_BYTES = 65536
CONNECTIONS_MOST = 4096


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        _no_delay(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


def _no_delay(connection: Any) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def serve_protocol(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
    await server.serve_forever()


async def serve_sock(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    tasks: "Set[asyncio.Task[None]]" = set()

    async def echo(connection: socket.socket) -> None:
        with connection:
            _no_delay(connection)
            while data := await loop.sock_recv(connection, READ_BYTES):
                await loop.sock_sendall(connection, data)

    while True:
        connection, _ = await loop.sock_accept(listener)
        task = loop.create_task(echo(connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def serve_streams(listener: socket.socket) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _no_delay(writer.get_extra_info("socket"))
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, sock=listener)
    await server.serve_forever()


SERVERS = {"protocol": serve_protocol, "sock": serve_sock, "streams": serve_streams}


async def serve(style: str, port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=CONNECTIONS_MOST)
    listener.setblocking(False)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    try:
        await SERVERS[style](listener)
    except asyncio.CancelledError:
        pass
    finally:
        listener.close()


def main(arguments: Optional["list[str]"] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loop", choices=LOOPS, default="horus")
    parser.add_argument("--style", choices=list(SERVERS), default="protocol")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        run(options.loop, lambda: serve(options.style, options.port))
    except Skip as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
