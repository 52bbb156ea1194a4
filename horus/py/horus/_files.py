# SPDX-License-Identifier: Apache-2.0
"""Files that are awaited: through the ring on Horus' own loop and where a Reactor is attached,
through asyncio's threads on any other loop."""

import asyncio
import codecs
import errno
import io
import os
import stat
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
    Tuple,
    Union,
)

from horus import _check, _core
from horus._text import Text

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
_CHUNK = 65_536
_LOOK_AGAIN_FIRST, _LOOK_AGAIN_MOST = 0.001, 0.05  # s; whether a FIFO has its other end
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

    async def _open(self, path: Path, flags: int, mode: int) -> int:
        opening = asyncio.ensure_future(self._run(os.open, path, flags | os.O_CLOEXEC, mode))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_what_came)  # the thread goes on
            raise

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

    async def _read_stream(self, fd: int, size: int) -> bytes:
        await self._wait_ready(fd, False)
        while True:
            try:
                return os.read(fd, size)
            except BlockingIOError:
                await self._wait_ready(fd, False)

    async def _read_stream_into(self, fd: int, buffer: Any) -> int:
        await self._wait_ready(fd, False)
        while True:
            try:
                return os.readv(fd, [buffer])
            except BlockingIOError:
                await self._wait_ready(fd, False)

    async def _write_stream(self, fd: int, data: Any) -> int:
        await self._wait_ready(fd, True)
        while True:
            try:
                return os.write(fd, data)
            except BlockingIOError:
                await self._wait_ready(fd, True)

    async def _wait_ready(self, fd: int, to_write: bool) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        add, remove = (
            (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
        )

        def tell() -> None:
            if not ready.done():
                ready.set_result(None)

        add(fd, tell)
        try:
            await ready
        finally:
            remove(fd)


def _close_what_came(opening: "asyncio.Future[int]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _io() -> Any:
    return _core.core_of(asyncio.get_running_loop()) or _Threads()


class File:
    """An open file, from `horus.open()`. It has one position; reads and writes at the position take
    turns.

    In binary mode ("rb") it reads and writes bytes, in text mode ("r") str. The descriptor of a
    pipe or a terminal does not block (O_NONBLOCK). Errors: OSError and its subclasses,
    io.UnsupportedOperation for an operation that the mode does not allow; ValueError after close().
    Use it on the loop that opened it."""

    def __init__(
        self,
        io: Any,
        fd: int,
        name: Path,
        mode: str,
        encoding: str,
        errors: str = "strict",
        newline: Optional[str] = None,
        rest: bytes = b"",
    ) -> None:
        self._io, self._fd, self._offset, self._rest = io, fd, 0, rest
        self._busy = False  # somebody reads or writes at the position
        self._waiting: Deque["asyncio.Future[None]"] = deque()
        self.name, self.mode = name, mode
        self._reads, self._writes = "r" in mode or "+" in mode, "r" not in mode or "+" in mode
        try:
            self._offset = os.lseek(fd, 0, os.SEEK_END if "a" in mode else os.SEEK_CUR)
            self._seekable, self._stream = True, False
        except OSError:  # a pipe, a terminal
            self._seekable, self._stream, self._offset = False, True, -1
        self._text: Optional[Text] = None
        if "b" not in mode:
            self._text = Text(encoding, errors, newline, at_start=self._offset <= 0)
            if rest:
                self._text.feed(rest)
                self._rest = b""

    # --- Reading

    async def read(self, size: int = -1) -> Any:
        """Reads at most `size` bytes from the position, in text mode as many characters as open()
        would; with -1 the whole rest. b"" or "" at the end."""
        self._check_readable()
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            if self._text is not None:
                return await self._read_text(self._text, size)
            if size < 0:
                return await self._read_all()
            if self._rest:
                data, self._rest = self._rest[:size], self._rest[size:]
                return data
            return await self._more(size)
        finally:
            self._next_turn()

    async def readinto(self, buffer: Any) -> int:
        """Fills a writable buffer as far as it goes, and gives the number of bytes; 0 at the end."""
        self._check_readable()
        if self._text is not None:
            raise io.UnsupportedOperation('readinto() is for binary mode: open the file with "rb"')
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            if self._rest:
                size = min(len(self._rest), memoryview(buffer).nbytes)
                memoryview(buffer).cast("B")[:size] = self._rest[:size]
                self._rest = self._rest[size:]
                return size
            if self._stream:
                size = await self._io._read_stream_into(self._descriptor(), buffer)
            else:
                size = await self._io._read_into(self._descriptor(), buffer, self._offset)
            if self._seekable:
                self._offset += size
            return size
        finally:
            self._next_turn()

    async def readline(self) -> Any:
        """The next line with its newline. A last line may have none; b"" or "" after it."""
        self._check_readable()
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            if self._text is None:
                return await self._read_line()
            while (line := self._text.take_line()) is None:
                self._text.feed(await self._more(_CHUNK))
            return line
        finally:
            self._next_turn()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while line := await self.readline():
            yield line

    def pread(self, size: int, offset: int) -> Awaitable[bytes]:
        """Reads at most `size` bytes from `offset`, whatever the position; several tasks may call
        it at once."""
        _check.integer("offset", offset, 0, 2**63 - 1)
        read: Awaitable[bytes] = self._io._read(self._descriptor(), size, offset)
        return read

    # --- Writing

    async def write(self, data: Any) -> int:
        """Writes everything at the position, in mode "a" at the end. Returns the size in bytes, in
        text mode in characters."""
        self._check_writable()
        if self._text is not None and not isinstance(data, str):
            raise TypeError(f"text mode writes a str, not {type(data).__name__}")
        if self._text is None and isinstance(data, str):
            raise TypeError('binary mode writes bytes, not str: encode it, or open the file without "b"')
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            self._forget_ahead()
            view = memoryview(data if self._text is None else self._text.encode(data)).cast("B")
            done = 0
            while done < len(view):
                done += await self._write_some(view[done:])
        finally:
            self._next_turn()
        return len(view) if self._text is None else len(data)

    async def _write_some(self, view: memoryview) -> int:
        if self._stream:
            count: int = await self._io._write_stream(self._descriptor(), view)
            return count
        appends = "a" in self.mode
        count = await self._io._write(self._descriptor(), view, -1 if appends else self._offset)
        if appends:
            self._offset = os.lseek(self._descriptor(), 0, os.SEEK_CUR)
        elif self._seekable:
            self._offset += count
        return count

    def pwrite(self, data: Any, offset: int) -> Awaitable[int]:
        """Writes at `offset`, whatever the position; returns the number of bytes written, which may
        be less on a full disk."""
        _check.integer("offset", offset, 0, 2**63 - 1)
        write: Awaitable[int] = self._io._write(self._descriptor(), data, offset)
        return write

    async def sync(self, only_data: bool = False) -> None:
        """Returns when all written data is on the disk: fsync, or fdatasync."""
        await self._io._sync(self._descriptor(), only_data)

    # --- The rest

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position, in bytes from the beginning, the position or the end; returns it."""
        if not self._seekable:
            raise OSError(errno.ESPIPE, os.strerror(errno.ESPIPE), self.name)
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell()}.get(whence)
        if base is None:
            base = self.size()
        if base + offset < 0:
            raise ValueError(f"there is no position {base + offset}")
        self._forget_ahead()
        self._offset = base + offset
        if self._text is not None:
            self._text.forget(at_start=self._offset == 0)
        return self._offset

    def tell(self) -> int:
        """The position, in bytes. Errors: OSError for a pipe or a terminal."""
        if not self._seekable:
            raise OSError(errno.ESPIPE, os.strerror(errno.ESPIPE), self.name)
        ahead = len(self._rest) if self._text is None else self._text.bytes_ahead()
        return self._offset - ahead

    def size(self) -> int:
        """The size of the file, in bytes."""
        return os.fstat(self._descriptor()).st_size

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor()

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._fd < 0

    async def close(self) -> None:
        """Closes the file; a second call does nothing. It waits for operations under way: await
        them before."""
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

    def _check_readable(self) -> None:
        self._descriptor()
        if not self._reads:
            raise io.UnsupportedOperation(f'not readable: it was opened with mode "{self.mode}"')

    def _check_writable(self) -> None:
        self._descriptor()
        if not self._writes:
            raise io.UnsupportedOperation(f'not writable: it was opened with mode "{self.mode}"')

    # What was read ahead is not where somebody writes.
    def _forget_ahead(self) -> None:
        if not self._seekable:
            return
        if self._text is None:
            self._offset -= len(self._rest)
            self._rest = b""
        elif ahead := self._text.bytes_ahead():
            self._offset -= ahead
            self._text.forget(at_start=self._offset == 0)

    async def _read_text(self, text: Text, size: int) -> str:
        if size < 0:
            return text.take_all(await self._read_all())
        while (part := text.take(size)) is None:
            text.feed(await self._more(_CHUNK))
        return part

    async def _more(self, size: int) -> bytes:
        if self._stream:
            try:
                received: bytes = await self._io._read_stream(self._descriptor(), size)
                return received
            except PermissionError:  # of a kind that cannot be waited for
                self._stream = False
                os.set_blocking(self._descriptor(), True)
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


async def _opened(
    path: Path, mode: str, flags: int, permissions: int, text: Tuple[str, str, Optional[str]]
) -> File:
    operations = _io()
    # Without O_NONBLOCK it would wait in the kernel for the other end of a FIFO, past every cancellation.
    fd = await _open_end(operations, path, flags | os.O_NONBLOCK, permissions)
    try:
        kind = os.fstat(fd).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        rest = b""
        if stat.S_ISFIFO(kind) and flags & os.O_ACCMODE == os.O_RDONLY:
            rest = await _wait_for_writer(operations, fd)
        return File(operations, fd, path, mode, *text, rest=rest)
    except BaseException:
        os.close(fd)
        raise


async def _open_end(operations: Any, path: Path, flags: int, permissions: int) -> int:
    """As open() does, it waits until somebody reads from a FIFO that is opened for writing."""
    delay = _LOOK_AGAIN_FIRST
    while True:
        try:
            fd: int = await operations._open(path, flags, permissions)
            return fd
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(path).st_mode):
                raise
        await asyncio.sleep(delay)
        delay = min(2 * delay, _LOOK_AGAIN_MOST)


async def _wait_for_writer(operations: Any, fd: int) -> bytes:
    """Until somebody has opened the FIFO for writing. What came with it."""
    delay = _LOOK_AGAIN_FIRST
    while True:
        try:
            if data := os.read(fd, 1):
                return data
        except BlockingIOError:  # there is one, who has written nothing
            return b""
        try:
            async with asyncio.timeout(delay):
                await operations._wait_ready(fd, False)
            return b""  # bytes, or the end of one who has gone already
        except TimeoutError:
            delay = min(2 * delay, _LOOK_AGAIN_MOST)


def open(  # noqa: A001 (the name of what it replaces)
    path: Path,
    mode: str = "r",
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    newline: Optional[str] = None,
    permissions: int = 0o666,
) -> _Opening:
    """Opens a file: `file = await horus.open(path)`, or `async with horus.open(path, "rb") as
    file:`.

    mode: "r", "w", "a" or "x", with "+" for both directions, with "b" for bytes. errors, newline:
    as for open(); every line ends with "\n" unless newline says otherwise. permissions: those of a
    newly made file, less the umask. Reads from the page cache take no thread and no task switch.
    Opening a FIFO waits for its other end, until it is cancelled. Errors: OSError and its
    subclasses when it is awaited; ValueError for an unknown mode or newline; LookupError for an
    unknown encoding."""
    letters = mode.replace("b", "", 1).replace("t", "", 1).replace("+", "", 1)
    if letters not in _FLAGS or ("b" in mode and "t" in mode):
        raise ValueError(f'mode is "r", "w", "a" or "x", with "+" or "b", not {mode!r}')
    if newline not in (None, "", "\n", "\r", "\r\n"):
        raise ValueError(f'newline is None, "", "\\n", "\\r" or "\\r\\n", not {newline!r}')
    codecs.lookup(encoding)
    codecs.lookup_error(errors)
    flags = _FLAGS[letters]
    if "+" in mode:
        flags = flags & ~os.O_WRONLY | os.O_RDWR
    return _Opening(_opened(path, mode, flags, permissions, (encoding, errors, newline)))
