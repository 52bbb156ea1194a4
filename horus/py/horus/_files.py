# SPDX-License-Identifier: Apache-2.0
"""Files that are awaited. On Horus' own loop, and where a Reactor is attached, through the ring; on
any other loop through asyncio's threads."""

import asyncio
import os
import warnings
from collections import deque
from typing import (
    Any,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Deque,
    Generator,
    Optional,
    Union,
)

from horus import _check, _core

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
_CHUNK = 65_536
_FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}


class _Threads:
    """The loop's file operations for loops that have none."""

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        return asyncio.to_thread(function, *arguments)

    def _open(self, path: Path, flags: int, mode: int) -> Awaitable[int]:
        return self._run(os.open, path, flags | os.O_CLOEXEC, mode)

    def _read(self, fd: int, size: int, offset: int) -> Awaitable[bytes]:
        return self._run(os.read, fd, size) if offset < 0 else self._run(os.pread, fd, size, offset)

    def _read_into(self, fd: int, buffer: Any, offset: int) -> Awaitable[int]:
        if offset < 0:
            return self._run(os.readv, fd, [buffer])
        return self._run(os.preadv, fd, [buffer], offset)

    def _write(self, fd: int, data: Any, offset: int) -> Awaitable[int]:
        return self._run(os.write, fd, data) if offset < 0 else self._run(os.pwrite, fd, data, offset)

    def _sync(self, fd: int, only_data: bool) -> Awaitable[None]:
        return self._run(os.fdatasync if only_data else os.fsync, fd)

    def _close(self, fd: int) -> Awaitable[None]:
        return self._run(os.close, fd)


def _io() -> Any:
    return _core.core_of(asyncio.get_running_loop()) or _Threads()


class File:
    """An open file, from `horus.open()`. It has a position; reads and writes there take turns.

    In binary mode ("rb") it moves bytes, in text mode ("r") str, by whole files and lines. Errors:
    OSError and its subclasses; ValueError after close(). The loop that opened it.
    """

    def __init__(self, io: Any, fd: int, name: Path, mode: str, encoding: str) -> None:
        self._io, self._fd, self._offset, self._rest = io, fd, 0, b""
        self._busy = False  # somebody reads or writes at the position
        self._waiting: Deque["asyncio.Future[None]"] = deque()
        self.name, self.mode = name, mode
        self._encoding = None if "b" in mode else encoding
        try:
            os.lseek(fd, 0, os.SEEK_CUR)
            self._seekable = True
        except OSError:  # a pipe, a terminal
            self._seekable, self._offset = False, -1

    # --- Reading

    async def read(self, size: int = -1) -> Any:
        """At most `size` bytes from the position on; the whole rest with -1, and always in text
        mode. Less only at the end, b"" behind it."""
        if size >= 0 and self._encoding is not None:
            raise ValueError('read(size) is for binary mode: open the file with "rb"')
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            if size < 0:
                return self._decoded(await self._read_all())
            if self._rest:
                data, self._rest = self._rest[:size], self._rest[size:]
                return data
            return await self._more(size)
        finally:
            self._next_turn()

    async def readinto(self, buffer: Any) -> int:
        """Fills a writable buffer as far as it goes, and gives the number of bytes; 0 at the end."""
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            if self._rest:
                size = min(len(self._rest), memoryview(buffer).nbytes)
                memoryview(buffer).cast("B")[:size] = self._rest[:size]
                self._rest = self._rest[size:]
                return size
            size = await self._io._read_into(self._descriptor(), buffer, self._offset)
            if self._seekable:
                self._offset += size
            return size
        finally:
            self._next_turn()

    async def readline(self) -> Any:
        """Up to and with the next newline; without one at the end, b"" or "" behind it."""
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            return self._decoded(await self._read_line())
        finally:
            self._next_turn()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while line := await self.readline():
            yield line

    def pread(self, size: int, offset: int) -> Awaitable[bytes]:
        """At most `size` bytes from `offset` on, whatever the position; for many readers at once."""
        _check.integer("offset", offset, 0, 2**63 - 1)
        read: Awaitable[bytes] = self._io._read(self._descriptor(), size, offset)
        return read

    # --- Writing

    async def write(self, data: Any) -> int:
        """Writes all of it, and gives its size in bytes; behind the end in mode "a"."""
        if self._encoding is not None:
            if not isinstance(data, str):
                raise TypeError(f"text mode writes a str, not {type(data).__name__}")
            data = data.encode(self._encoding)
        view = memoryview(data).cast("B")
        done = 0
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            self._forget_ahead()
            while done < len(view):
                offset = -1 if "a" in self.mode else self._offset
                count = await self._io._write(self._descriptor(), view[done:], offset)
                done += count
                if self._seekable:
                    self._offset += count
        finally:
            self._next_turn()
        return done

    def pwrite(self, data: Any, offset: int) -> Awaitable[int]:
        """Writes at `offset`, whatever the position; gives the number of bytes written, which may be
        less on a full disk."""
        _check.integer("offset", offset, 0, 2**63 - 1)
        write: Awaitable[int] = self._io._write(self._descriptor(), data, offset)
        return write

    async def sync(self, only_data: bool = False) -> None:
        """Returns when what was written is on the disk: fsync, or fdatasync."""
        await self._io._sync(self._descriptor(), only_data)

    # --- The rest

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position, in bytes from the beginning, the position or the end; gives it."""
        if not self._seekable:
            raise OSError(29, "Illegal seek", self.name)  # ESPIPE
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell()}.get(whence)
        if base is None:
            base = self.size()
        if base + offset < 0:
            raise ValueError(f"there is no position {base + offset}")
        self._forget_ahead()
        self._offset = base + offset
        return self._offset

    def tell(self) -> int:
        """The position, in bytes."""
        return self._offset - len(self._rest)

    def size(self) -> int:
        """Of the file, in bytes."""
        return os.fstat(self._descriptor()).st_size

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor()

    @property
    def closed(self) -> bool:
        """After close()."""
        return self._fd < 0

    async def close(self) -> None:
        """Closes it; nothing the second time. Operations under way end first: await them before."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            await self._io._close(fd)

    async def __aenter__(self) -> "File":
        return self

    async def __aexit__(self, *_error: Any) -> None:
        await self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            warnings.warn(f"unclosed file {self.name!r}", ResourceWarning, source=self)
            os.close(self._fd)
            self._fd = -1

    def __repr__(self) -> str:
        return f"<horus.File {self.name!r} mode={self.mode!r}{' closed' if self.closed else ''}>"

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it had just come
                self._next_turn()
            raise

    def _next_turn(self) -> None:
        self._busy = False
        while self._waiting and not self._busy:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._busy = True

    def _descriptor(self) -> int:
        if self._fd < 0:
            raise ValueError("the file is closed")
        return self._fd

    def _decoded(self, data: bytes) -> Any:
        return data if self._encoding is None else data.decode(self._encoding)

    def _forget_ahead(self) -> None:
        if self._seekable:
            self._offset -= len(self._rest)
            self._rest = b""

    async def _more(self, size: int) -> bytes:
        data: bytes = await self._io._read(self._descriptor(), size, self._offset)
        if self._seekable:
            self._offset += len(data)
        return data

    async def _read_all(self) -> bytes:
        parts, self._rest = [self._rest], b""
        ahead = max(0, self.size() - self._offset) if self._seekable else 0
        while data := await self._more(max(ahead + 1, _CHUNK)):
            parts.append(data)
            ahead = 0
        return b"".join(parts)

    async def _read_line(self) -> bytes:
        parts = []
        while True:
            end = self._rest.find(b"\n") + 1
            if end > 0:
                parts.append(self._rest[:end])
                self._rest = self._rest[end:]
                break
            parts.append(self._rest)
            self._rest = b""
            self._rest = await self._more(_CHUNK)
            if not self._rest:
                break
        return b"".join(parts)


class _Opening:
    """What horus.open() gives: awaited it is the File, in `async with` it also closes it."""

    def __init__(self, opening: "Coroutine[Any, Any, File]") -> None:
        self._opening = opening
        self._file: Optional[File] = None

    def __await__(self) -> Generator[Any, Any, File]:
        return self._opening.__await__()

    async def __aenter__(self) -> File:
        self._file = file = await self._opening
        return file

    async def __aexit__(self, *_error: Any) -> None:
        assert self._file is not None
        await self._file.close()


async def _opened(path: Path, mode: str, encoding: str, flags: int, permissions: int) -> File:
    io = _io()
    return File(io, await io._open(path, flags, permissions), path, mode, encoding)


def open(  # noqa: A001 (the name of what it replaces)
    path: Path, mode: str = "r", *, encoding: str = "utf-8", permissions: int = 0o666
) -> _Opening:
    """Opens a file: `file = await horus.open(path)`, or `async with horus.open(path, "rb") as file:`.

    mode: "r", "w", "a" or "x", with "+" for both ways, with "b" for bytes. permissions: of a file
    that is made, minus the umask. Reads that the page cache has take no thread and no task switch.
    Errors: OSError and its subclasses when it is awaited; ValueError for an unknown mode.
    """
    letters = mode.replace("b", "", 1).replace("t", "", 1).replace("+", "", 1)
    if letters not in _FLAGS or ("b" in mode and "t" in mode):
        raise ValueError(f'mode is "r", "w", "a" or "x", with "+" or "b", not {mode!r}')
    flags = _FLAGS[letters]
    if "+" in mode:
        flags = flags & ~os.O_WRONLY | os.O_RDWR
    return _Opening(_opened(path, mode, encoding, flags, permissions))
