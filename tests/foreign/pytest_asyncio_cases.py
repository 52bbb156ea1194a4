# SPDX-License-Identifier: Apache-2.0
"""What pytest-asyncio promises its users; pytest_asyncio_suite.py runs it."""

import asyncio
import socket
from typing import Any, AsyncIterator

import pytest
import pytest_asyncio


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest_asyncio.fixture
async def echo_server() -> AsyncIterator[Any]:
    async def serve(reader: Any, writer: Any) -> None:
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()


@pytest_asyncio.fixture
async def fixture_loop() -> Any:
    return asyncio.get_running_loop()


@pytest_asyncio.fixture
async def late(request: Any) -> AsyncIterator[str]:
    await asyncio.sleep(0.01)
    yield "set up"
    await asyncio.sleep(0.01)


async def test_without_a_mark() -> None:
    """Only the automatic mode runs it."""
    await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_with_a_mark() -> None:
    await asyncio.sleep(0.001)


@pytest.mark.asyncio
async def test_fixtures_share_the_loop(fixture_loop: Any) -> None:
    assert fixture_loop is asyncio.get_running_loop()


def test_the_loop_is_a_fixture(event_loop: Any) -> None:
    assert event_loop.run_until_complete(asyncio.sleep(0, 5)) == 5


@pytest.mark.asyncio
async def test_fixtures_with_an_end(late: str) -> None:
    assert late == "set up"


@pytest.mark.asyncio
async def test_streams(echo_server: Any) -> None:
    reader, writer = await asyncio.open_connection(*echo_server)
    for size in (1, 1000, 100_000):
        writer.write(b"x" * size)
        assert await reader.readexactly(size) == b"x" * size
    writer.close()
    await writer.wait_closed()


@pytest.mark.asyncio
async def test_a_free_port_is_refused(unused_port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", unused_port)


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1, 2])
async def test_parameters(number: int) -> None:
    assert await asyncio.to_thread(lambda: number) == number


@pytest.mark.asyncio
@pytest.mark.xfail(strict=True, reason="it has to fail")
async def test_a_failure_is_seen() -> None:
    await asyncio.sleep(0)
    raise AssertionError


@pytest.mark.asyncio
async def test_child_processes() -> None:
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(b"meow")
    assert (out, process.returncode) == (b"meow", 0)


class TestInClasses:
    @pytest.mark.asyncio
    async def test_method(self, event_loop: Any) -> None:
        assert asyncio.get_running_loop() is event_loop

    @pytest.mark.asyncio
    async def test_cancel(self) -> None:
        task = asyncio.ensure_future(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
