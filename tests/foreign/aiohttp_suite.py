# SPDX-License-Identifier: Apache-2.0
"""aiohttp, client and server on one loop: what a web program asks of a loop, in depth."""

import asyncio
import contextlib
import gc
import hashlib
import os
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Dict

import aiohttp
from aiohttp import web

from bounded import on_a_loop

BIG = os.urandom(3 << 20)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    def __init__(self, url: str, path: str) -> None:
        self.url, self.path = url, path
        self.begun = self.ended = 0
        self.peers: "set[Any]" = set()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextlib.asynccontextmanager
async def served(
    *routes: web.RouteDef,
    server_tls: "ssl.SSLContext | None" = None,
    unix: bool = False,
    **options: Any,
) -> AsyncIterator[Server]:
    """A server on a port of the kernel's choice, with a handler for each route."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        server.begun += 1
        server.peers.add(request.transport and request.transport.get_extra_info("peername"))
        try:
            return await handler(request)
        finally:
            server.ended += 1

    server = Server("", "")
    app = web.Application(middlewares=[count], client_max_size=64 << 20)
    app.add_routes(routes)
    runner = web.AppRunner(app, **options)
    await runner.setup()
    with tempfile.TemporaryDirectory() as folder:
        try:
            if unix:
                server.path = str(Path(folder) / "socket")
                await web.UnixSite(runner, server.path, shutdown_timeout=0.2).start()
                server.url = "http://localhost"
            else:
                await web.TCPSite(
                    runner, "127.0.0.1", 0, ssl_context=server_tls, shutdown_timeout=0.2
                ).start()
                port = runner.addresses[0][1]
                scheme = "https" if server_tls else "http"
                server.url = f"{scheme}://localhost:{port}"
            yield server
        finally:
            await runner.cleanup()


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"hello {request.query.get('n', '')}")


async def swallow(request: web.Request) -> web.Response:
    return web.json_response({"size": len(body := await request.read()), "digest": digest(body)})


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for number in range(200):
        await response.write(b"%d," % number)
        if number % 20 == 0:
            await asyncio.sleep(0)
    await response.write_eof()
    return response


async def forever(request: web.Request) -> web.Response:
    """Until the client is gone."""
    while request.transport is not None:
        await asyncio.sleep(0.005)
    return web.Response()


async def websocket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(heartbeat=5.0)
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            if message.data == "close":
                await socket.close(code=4321, message=b"as you wish")
            else:
                await socket.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


def certificate(folder: str) -> "tuple[ssl.SSLContext, ssl.SSLContext]":
    """A fresh certificate of localhost: the server's context, and a client's that trusts it."""
    key, cert = f"{folder}/key.pem", f"{folder}/cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=cert)


class Plain(unittest.TestCase):
    @on_a_loop
    async def test_a_thousand_requests_share_a_few_connections(self) -> None:
        async with served(web.get("/", hello)) as server:
            connector = aiohttp.TCPConnector(limit=20)
            async with aiohttp.ClientSession(server.url, connector=connector) as session:

                async def ask(number: int) -> None:
                    async with session.get("/", params={"n": number}) as answer:
                        self.assertEqual(await answer.text(), f"hello {number}")

                await asyncio.gather(*(ask(number) for number in range(1000)))
            self.assertEqual((server.begun, server.ended), (1000, 1000))
            self.assertLessEqual(len(server.peers), 20)

    @on_a_loop
    async def test_keep_alive_uses_one_connection_and_close_uses_many(self) -> None:
        async with served(web.get("/", hello)) as server:
            async with aiohttp.ClientSession(server.url) as session:
                for _ in range(50):
                    async with session.get("/") as answer:
                        await answer.read()
                self.assertEqual(len(server.peers), 1)
            connector = aiohttp.TCPConnector(force_close=True)
            async with aiohttp.ClientSession(server.url, connector=connector) as session:
                for _ in range(50):
                    async with session.get("/") as answer:
                        self.assertEqual(answer.status, 200)
            self.assertEqual(len(server.peers), 51)

    @on_a_loop
    async def test_a_connection_that_is_idle_too_long_is_replaced(self) -> None:
        async with served(web.get("/", hello), keepalive_timeout=0.05) as server:
            async with aiohttp.ClientSession(server.url) as session:
                await (await session.get("/")).read()
                pool = session.connector
                assert isinstance(pool, aiohttp.TCPConnector)
                for _ in range(200):
                    kept = [proto for group in pool._conns.values() for proto, _ in group]
                    if not any(proto.is_connected() for proto in kept):
                        break
                    await asyncio.sleep(0.02)
                self.assertEqual(await (await session.get("/")).text(), "hello ")
            self.assertEqual(len(server.peers), 2)

    @on_a_loop
    async def test_chunks_arrive_in_order(self) -> None:
        async with served(web.get("/", drip)) as server:
            async with aiohttp.ClientSession(server.url) as session:
                async with session.get("/") as answer:
                    self.assertEqual(answer.headers["Transfer-Encoding"], "chunked")
                    parts = [part async for part, _ in answer.content.iter_chunks()]
        self.assertEqual(b"".join(parts), b"".join(b"%d," % number for number in range(200)))

    @on_a_loop
    async def test_large_bodies_are_whole_in_both_directions(self) -> None:
        async def give(request: web.Request) -> web.Response:
            return web.Response(body=BIG)

        async def parts() -> AsyncIterator[bytes]:
            for start in range(0, len(BIG), 50_000):
                yield BIG[start : start + 50_000]
                await asyncio.sleep(0)

        async with served(web.get("/", give), web.post("/", swallow)) as server:
            async with aiohttp.ClientSession(server.url) as session:
                for body in (BIG, parts()):
                    async with session.post("/", data=body) as answer:
                        self.assertEqual(
                            await answer.json(), {"size": len(BIG), "digest": digest(BIG)}
                        )
                answers = await asyncio.gather(*(session.get("/") for _ in range(8)))
                bodies = await asyncio.gather(*(answer.read() for answer in answers))
                self.assertTrue(all(body == BIG for body in bodies))

    @on_a_loop
    async def test_a_slow_reader_holds_the_writer_back(self) -> None:
        written = 0

        async def flood(request: web.Request) -> web.StreamResponse:
            nonlocal written
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(256):
                await response.write(b"x" * 65536)
                written += 65536
            return response

        async with served(web.get("/", flood)) as server:
            async with aiohttp.ClientSession(server.url) as session:
                async with session.get("/") as answer:
                    before = -1
                    while before != written:  # until the buffers between the two are full
                        before = written
                        await asyncio.sleep(0.1)
                    self.assertLess(written, 256 * 65536)
                    self.assertEqual(len(await answer.read()), 256 * 65536)

    @on_a_loop
    async def test_files_are_sent_and_uploaded(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(BIG)
            file.flush()

            async def give(request: web.Request) -> web.FileResponse:
                return web.FileResponse(file.name)

            async def take(request: web.Request) -> web.Response:
                field = await (await request.multipart()).next()
                assert isinstance(field, aiohttp.BodyPartReader)
                return web.Response(text=digest(await field.read()))

            async with served(web.get("/", give), web.post("/", take)) as server:
                async with aiohttp.ClientSession(server.url) as session:
                    async with session.get("/", headers={"Range": "bytes=1000-2000999"}) as answer:
                        self.assertEqual(answer.status, 206)
                        self.assertEqual(await answer.read(), BIG[1000:2001000])
                    with open(file.name, "rb") as data:
                        async with session.post("/", data={"file": data}) as answer:
                            self.assertEqual(await answer.text(), digest(BIG))

    @on_a_loop
    async def test_unix_sockets(self) -> None:
        async with served(web.get("/", hello), unix=True) as server:
            connector = aiohttp.UnixConnector(server.path)
            async with aiohttp.ClientSession(server.url, connector=connector) as session:
                for number in range(20):
                    async with session.get("/", params={"n": number}) as answer:
                        self.assertEqual(await answer.text(), f"hello {number}")

    @on_a_loop
    async def test_redirects_cookies_and_failing_handlers(self) -> None:
        async def leave(request: web.Request) -> web.Response:
            found = web.HTTPFound("/there")
            found.set_cookie("who", "me")
            raise found

        async def there(request: web.Request) -> web.Response:
            return web.Response(text=request.cookies.get("who", ""))

        async def fail(request: web.Request) -> web.Response:
            raise RuntimeError("a handler's own fault")

        routes = web.get("/", leave), web.get("/there", there), web.get("/fail", fail)
        async with served(*routes) as server:
            jar = aiohttp.CookieJar(unsafe=True)
            async with aiohttp.ClientSession(server.url, cookie_jar=jar) as session:
                async with session.get("/") as answer:
                    self.assertEqual(await answer.text(), "me")
                    self.assertEqual(len(answer.history), 1)
                with self.assertLogs("aiohttp.server", "ERROR"):
                    async with session.get("/fail") as answer:
                        self.assertEqual(answer.status, 500)


class Ends(unittest.TestCase):
    """Requests that do not come to their end."""

    async def until(self, question: Callable[[], bool]) -> None:
        while not question():
            await asyncio.sleep(0.005)

    @on_a_loop
    async def test_a_timeout_ends_both_sides(self) -> None:
        async with served(web.get("/", forever), web.get("/ok", hello)) as server:
            async with aiohttp.ClientSession(server.url) as session:
                limit = aiohttp.ClientTimeout(total=0.05)
                with self.assertRaises(asyncio.TimeoutError):
                    await session.get("/", timeout=limit)
                await self.until(lambda: server.ended == 1)
                async with session.get("/ok") as answer:
                    self.assertEqual(answer.status, 200)

    @on_a_loop
    async def test_cancelling_a_hundred_requests_leaves_nothing(self) -> None:
        async with served(web.get("/", forever)) as server:
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(server.url, connector=connector) as session:
                tasks = [asyncio.ensure_future(session.get("/")) for _ in range(100)]
                await self.until(lambda: server.begun == 100)
                for task in tasks:
                    task.cancel()
                ends = await asyncio.gather(*tasks, return_exceptions=True)
                self.assertTrue(all(isinstance(end, asyncio.CancelledError) for end in ends))
                await self.until(lambda: server.ended == 100)
                self.assertEqual(len(connector._acquired), 0)

    @on_a_loop
    async def test_a_read_timeout_in_the_middle_of_a_body(self) -> None:
        async def stall(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first")
            await forever(request)
            return response

        async with served(web.get("/", stall)) as server:
            async with aiohttp.ClientSession(server.url) as session:
                limit = aiohttp.ClientTimeout(sock_read=0.05)
                async with session.get("/", timeout=limit) as answer:
                    self.assertEqual(await answer.content.readexactly(5), b"first")
                    with self.assertRaises(asyncio.TimeoutError):
                        await answer.content.read()

    @on_a_loop
    async def test_a_server_that_hangs_up_is_an_error(self) -> None:
        async def hang_up(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"some")
            assert request.transport is not None
            request.transport.close()
            return response

        async with served(web.get("/", hang_up)) as server:
            async with aiohttp.ClientSession(server.url) as session:
                async with session.get("/") as answer:
                    with self.assertRaises(aiohttp.ClientPayloadError):
                        await answer.read()

    @on_a_loop
    async def test_nobody_listens(self) -> None:
        async with served() as server:
            url = server.url
        async with aiohttp.ClientSession() as session:
            with self.assertRaises(aiohttp.ClientConnectorError):
                await session.get(url)

    @on_a_loop
    async def test_a_server_ends_while_requests_run(self) -> None:
        async with aiohttp.ClientSession() as session:
            async with served(web.get("/", forever)) as server:
                tasks = [asyncio.ensure_future(session.get(server.url)) for _ in range(10)]
                await self.until(lambda: server.begun == 10)
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        self.assertTrue(all(isinstance(end, aiohttp.ClientError) for end in ends), ends)


class WebSockets(unittest.TestCase):
    @on_a_loop
    async def test_texts_and_large_frames_come_back(self) -> None:
        async with served(web.get("/", websocket)) as server:
            async with aiohttp.ClientSession(server.url) as session:
                async with session.ws_connect("/", max_msg_size=0) as socket:
                    for number in range(500):
                        await socket.send_str(f"message {number}")
                        self.assertEqual(await socket.receive_str(), f"message {number}")
                    for size in (0, 125, 126, 65535, 65536, 1 << 20):
                        await socket.send_bytes(BIG[:size])
                        self.assertEqual(await socket.receive_bytes(), BIG[:size])
                    await socket.send_str("close")
                    self.assertEqual((await socket.receive()).type, aiohttp.WSMsgType.CLOSE)
                    self.assertEqual(socket.close_code, 4321)

    @on_a_loop
    async def test_fifty_of_them_at_once(self) -> None:
        async with served(web.get("/", websocket)) as server:
            async with aiohttp.ClientSession(server.url) as session:

                async def talk(who: int) -> None:
                    async with session.ws_connect("/", compress=15) as socket:
                        for number in range(20):
                            await socket.send_str(f"{who} {number}")
                        for number in range(20):
                            self.assertEqual(await socket.receive_str(), f"{who} {number}")

                await asyncio.gather(*(talk(who) for who in range(50)))

    @on_a_loop
    async def test_a_receive_can_time_out_and_go_on(self) -> None:
        async with served(web.get("/", websocket)) as server:
            async with aiohttp.ClientSession(server.url) as session:
                async with session.ws_connect("/") as socket:
                    with self.assertRaises(asyncio.TimeoutError):
                        await socket.receive(timeout=0.05)
                    await socket.send_str("still here")
                    self.assertEqual(await socket.receive_str(), "still here")


class Tls(unittest.TestCase):
    @on_a_loop
    async def test_requests_bodies_and_websockets_over_tls(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            server_tls, client_tls = certificate(folder)
        routes = web.get("/", hello), web.post("/", swallow), web.get("/ws", websocket)
        async with served(*routes, server_tls=server_tls) as server:
            connector = aiohttp.TCPConnector(ssl=client_tls, limit=10)
            async with aiohttp.ClientSession(server.url, connector=connector) as session:

                async def ask(number: int) -> None:
                    async with session.get("/", params={"n": number}) as answer:
                        self.assertEqual(await answer.text(), f"hello {number}")

                await asyncio.gather(*(ask(number) for number in range(200)))
                async with session.post("/", data=BIG) as answer:
                    self.assertEqual((await answer.json())["digest"], digest(BIG))
                async with session.ws_connect("/ws") as socket:
                    await socket.send_bytes(BIG[:500_000])
                    self.assertEqual(await socket.receive_bytes(), BIG[:500_000])

    @on_a_loop
    async def test_a_certificate_that_nobody_trusts_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            server_tls, _ = certificate(folder)
        loop = asyncio.get_running_loop()
        said: "list[Dict[str, Any]]" = []
        former = loop.get_exception_handler()
        loop.set_exception_handler(lambda _loop, context: said.append(context))
        async with served(web.get("/", hello), server_tls=server_tls) as server:
            async with aiohttp.ClientSession(server.url) as session:
                with self.assertRaises(aiohttp.ClientConnectorCertificateError):
                    await session.get("/")
        loop.set_exception_handler(former)  # the server may tell of the handshake


class Account(unittest.TestCase):
    @on_a_loop
    async def test_transports_are_freed(self) -> None:
        async with served(web.get("/", hello)) as server:
            connector = aiohttp.TCPConnector(force_close=True)
            async with aiohttp.ClientSession(server.url, connector=connector) as session:
                for _ in range(100):
                    async with session.get("/") as answer:
                        await answer.read()
        await asyncio.sleep(0)
        gc.collect()
        sockets = [
            name
            for name in os.listdir("/proc/self/fd")
            if (link := _link(name)).startswith("socket:") and link
        ]
        self.assertLess(len(sockets), 20)


def _link(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    unittest.main()
