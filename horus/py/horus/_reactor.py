# SPDX-License-Identifier: Apache-2.0
"""Reactor: Horus' operations in another asyncio loop."""

import asyncio
import itertools
from typing import Any, Coroutine, Optional

from horus import _core
from horus._interrupts import Interrupts
from horus._loop import EventLoop


_numbers = itertools.count(1)


async def _end_all(core: _core.LoopCore, whose: int) -> None:
    """Cancels what this Reactor was asked for (0: everything), and waits for the ends."""
    while pending := core._cancel_all(whose):
        await asyncio.wait(pending)


class _Attached(_core.AttachedCore):
    """One reactor in one loop, for as many as use it."""

    def __init__(self) -> None:
        self._users = 0
        self._host: Any = None
        self._fd = -1
        self._interrupts: Optional[Interrupts] = None

    def enter(self, host: Any) -> None:
        if self._users == 0 and self._fd < 0:
            self._fd, self._host = self._attach(host), host
            host.add_reader(self._fd, self._pump)
            self._interrupts = Interrupts(host)
            self._interrupts.end_with(host)
        self._users += 1

    async def leave(self) -> None:
        self._users -= 1
        try:
            if self._users == 0:
                await _end_all(self, 0)
        finally:
            if self._users == 0 and self._fd >= 0:
                if self._interrupts is not None:
                    self._interrupts.end()
                    self._interrupts = None
                self._host.remove_reader(self._fd)
                self._fd, self._host = -1, None
                self._detach()

    def _check_socket(self, sock: Any) -> None:
        EventLoop._check_socket(self, sock)  # type: ignore[arg-type]

    @property
    def _debug(self) -> bool:
        return bool(self._host.get_debug())


class Reactor:
    """Horus' reactor in the asyncio loop that runs: asyncio's own, uvloop or another.

    async with horus.Reactor.attach() as reactor:
        async with horus.open("log.bin", "ab") as file:    # through the ring
            await file.write(record)
        data = await reactor.sock_recv(sock, 4096)         # so is this
        await module.cpp_coroutine()                       # awaitables of extension modules
        await scheduler.run_async()                        # an AsyncScheduler shares the reactor

    The loop watches one descriptor. Attached to a loop a second time it is the same reactor, on
    Horus' own loop it is the loop's. At the end of the block the operations that it was asked for
    and that are still under way are cancelled, and waited for; in somebody else's loop the last
    block also ends files and awaitables of extension modules. The loop's thread. Errors:
    RuntimeError where another reactor lives on the thread.
    """

    def __init__(self) -> None:
        self._core: Optional[_core.LoopCore] = None
        self._number = next(_numbers)

    @classmethod
    def attach(cls) -> "Reactor":
        """Attaches to the loop in which the `async with` block runs."""
        return cls()

    async def __aenter__(self) -> "Reactor":
        if self._core is not None:
            raise RuntimeError("this Reactor is attached already: horus.Reactor.attach() makes another")
        loop = asyncio.get_running_loop()
        core = _core.core_of(loop) or _Attached()
        if isinstance(core, _Attached):
            core.enter(loop)
        self._core = core
        return self

    async def __aexit__(self, *_: Any) -> None:
        core, self._core = self._core, None
        if core is None:
            return
        try:
            await _end_all(core, self._number)
        finally:
            if isinstance(core, _Attached):
                await core.leave()

    def __enter__(self) -> None:
        raise TypeError("a Reactor is attached with `async with`, not `with`")

    def __exit__(self, *_: Any) -> None: ...

    def sock_recv(self, sock: Any, nbytes: int) -> Coroutine[Any, Any, bytes]:
        """Receives at most `nbytes` bytes from a non-blocking socket, b"" at the end."""
        begun: Coroutine[Any, Any, bytes] = self._begun(self._in_use().sock_recv(sock, nbytes))
        return begun

    def sock_recv_into(self, sock: Any, buffer: Any) -> Coroutine[Any, Any, int]:
        """Receives into a buffer and returns the number of bytes; the buffer is held until the call
        has ended."""
        begun: Coroutine[Any, Any, int] = self._begun(self._in_use().sock_recv_into(sock, buffer))
        return begun

    def sock_sendall(self, sock: Any, data: Any) -> Coroutine[Any, Any, None]:
        """Sends everything; the buffer is held until the call has ended."""
        begun: Coroutine[Any, Any, None] = self._begun(self._in_use().sock_sendall(sock, data))
        return begun

    def _begun(self, operation: Any) -> Any:
        return _core.mark(operation, self._number)

    def _in_use(self) -> _core.LoopCore:
        if self._core is None:
            raise RuntimeError("a Reactor is used inside `async with horus.Reactor.attach()`")
        return self._core

    def _touched(self) -> None:
        """Python code has woken a C++ coroutine. Horus' own loop sees that by itself."""
        if isinstance(self._core, _Attached):
            self._core._touched()
