# SPDX-License-Identifier: Apache-2.0
"""The helpers of horus_async_helpers for coroutines: they never block, and they await on any
asyncio loop.

Every class is bounded, has get_stats() with plain numbers, and belongs to the loop in which it is
used; other threads must not use it. Durations are seconds."""

import asyncio
import contextlib
import inspect
from collections import deque
from typing import (
    Any,
    AsyncIterator,
    Awaitable,
    Callable,
    Deque,
    Dict,
    Hashable,
    List,
    Optional,
    Set,
    Tuple,
)

from horus import _check

__all__ = ["AsyncAggregator", "AsyncHelper", "BatchProcessor", "ConnectionPool", "RateLimiter"]

_MOST = 1_000_000


async def _value(result: Any) -> Any:
    """Of a function that may be async."""
    return await result if inspect.isawaitable(result) else result


class RateLimiter:
    """At most `max_calls` calls per `period` seconds, with bursts of up to `max_calls`: a token
    bucket whose waiters are served in their order.

    limiter = horus.aio.RateLimiter(10)
    async with limiter:
        await call()
    """

    def __init__(self, max_calls: float, period: float = 1.0, max_waiting: int = 1024) -> None:
        self.max_calls = _check.number("max_calls", max_calls, 1e-6, 1e9)
        self.period = _check.number("period", period, 1e-6, 1e9, "seconds")
        self.max_waiting = _check.integer("max_waiting", max_waiting, 1, _MOST)
        self._tokens = self._most = max(1.0, self.max_calls)
        self._looked: Optional[float] = None
        self._turn = asyncio.Lock()
        self._waiting = self._allowed = 0

    async def acquire(self) -> None:
        """Waits for one call and takes it. Errors: RuntimeError when `max_waiting` wait already."""
        if self._waiting >= self.max_waiting:
            raise RuntimeError(f"{self.max_waiting} calls wait for this limiter; slow down")
        self._waiting += 1
        try:
            async with self._turn:
                while (wait := self.wait_time()) > 0:
                    await asyncio.sleep(wait)
                self._tokens -= 1
                self._allowed += 1
        finally:
            self._waiting -= 1

    def wait_time(self) -> float:
        """Seconds until a call is free; 0.0 when one is now."""
        now = asyncio.get_running_loop().time()
        passed = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        self._tokens = min(self._most, self._tokens + passed * self.max_calls / self.period)
        return max(0.0, (1 - self._tokens) * self.period / self.max_calls)

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_error: Any) -> None:
        pass

    def get_stats(self) -> Dict[str, float]:
        """The numbers of allowed, waiting and free calls."""
        return {"allowed": self._allowed, "waiting": self._waiting, "available": self._tokens}


class ConnectionPool:
    """At most `max_connections` connections, made by `create_connection()` when they are needed,
    each used by one task at a time. Both functions may be async; `check(connection)` says, before
    each use, whether one is still good.

    async with pool.connection() as connection:
        await connection.query()

    A connection whose use raised one of `broken` is closed, by its close(), and made anew.
    """

    def __init__(
        self,
        create_connection: Callable[[], Any],
        max_connections: int = 10,
        check: Optional[Callable[[Any], Any]] = None,
        max_waiting: int = 1024,
        broken: Tuple["type[BaseException]", ...] = (OSError, EOFError),
    ) -> None:
        self.create_connection = _check.function("create_connection", create_connection)
        self.max_connections = _check.integer("max_connections", max_connections, 1, 1024)
        self.check = None if check is None else _check.function("check", check)
        self.max_waiting = _check.integer("max_waiting", max_waiting, 1, _MOST)
        self.broken = tuple(broken)
        self._free = asyncio.Semaphore(max_connections)
        self._idle: List[Any] = []
        self._used: Set[int] = set()
        self._waiting = self._acquired = self._created = self._closed = 0
        self._shut = False

    async def acquire(self, timeout: Optional[float] = None) -> Any:
        """A connection; return it with release(). Errors: TimeoutError after `timeout` seconds;
        RuntimeError when `max_waiting` wait already, or after shutdown(); the exceptions of
        create_connection()."""
        self._check_open()
        if self._waiting >= self.max_waiting:
            raise RuntimeError(f"{self.max_waiting} tasks wait for a connection; slow down")
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout):
                await self._free.acquire()
                try:
                    connection = await self._good_one()
                except BaseException:
                    self._free.release()
                    raise
        finally:
            self._waiting -= 1
        self._acquired += 1
        self._used.add(id(connection))
        return connection

    async def release(self, connection: Any, good: bool = True) -> None:
        """Returns a connection; with good=False it is closed. Errors: ValueError for a connection
        that is not in use."""
        if id(connection) not in self._used:
            raise ValueError("this connection is not in use: release() it once, after acquire()")
        self._used.discard(id(connection))
        try:
            if good and not self._shut:
                self._idle.append(connection)
            else:
                await self._close(connection)
        finally:
            self._free.release()

    @contextlib.asynccontextmanager
    async def connection(self, timeout: Optional[float] = None) -> AsyncIterator[Any]:
        """acquire() and release() around a block."""
        connection = await self.acquire(timeout)
        good = True
        try:
            yield connection
        except self.broken:
            good = False
            raise
        finally:
            await self.release(connection, good)

    async def execute(self, operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls operation(connection, *args, **kwargs), which may be async, and returns its
        value."""
        async with self.connection() as connection:
            return await _value(operation(connection, *args, **kwargs))

    async def shutdown(self) -> None:
        """Closes idle connections now, and connections in use when they are released."""
        self._shut = True
        while self._idle:
            await self._close(self._idle.pop())

    async def __aenter__(self) -> "ConnectionPool":
        return self

    async def __aexit__(self, *_error: Any) -> None:
        await self.shutdown()

    def get_stats(self) -> Dict[str, int]:
        """created = closed + idle + in_use."""
        return {
            "max_connections": self.max_connections,
            "idle": len(self._idle),
            "in_use": len(self._used),
            "waiting": self._waiting,
            "acquired": self._acquired,
            "created": self._created,
            "closed": self._closed,
        }

    def _check_open(self) -> None:
        if self._shut:
            raise RuntimeError("the pool was shut down")

    async def _good_one(self) -> Any:
        while self._idle:
            connection = self._idle.pop()
            good = False
            try:
                good = self.check is None or bool(await _value(self.check(connection)))
            except self.broken:
                pass
            finally:
                if not good:
                    await self._close(connection)
            if good:
                return connection
        self._check_open()
        connection = await _value(self.create_connection())
        self._created += 1
        return connection

    async def _close(self, connection: Any) -> None:
        self._closed += 1
        close = getattr(connection, "close", None)
        if close is not None:
            try:
                await _value(close())
            except self.broken:
                pass  # it is given up anyway


class BatchProcessor:
    """Collects items; gives them as lists of at most `batch_size`, at the latest
    `flush_interval` seconds after the first of them was added.

    async for batch in processor:
        await write(batch)

    add() waits while `max_buffered` items do, add_nowait() drops the oldest then. close() ends the
    iteration after the last batch.
    """

    def __init__(
        self, batch_size: int, flush_interval: float, max_buffered: Optional[int] = None
    ) -> None:
        self.batch_size = _check.integer("batch_size", batch_size, 1, _MOST)
        self.flush_interval = _check.number("flush_interval", flush_interval, 1e-6, 1e9, "seconds")
        most = 64 * batch_size if max_buffered is None else max_buffered
        self.max_buffered = _check.integer("max_buffered", most, batch_size, 64 * _MOST)
        self.buffer: Deque[Tuple[float, Any]] = deque()
        self._changed = asyncio.Condition()
        self._closed = False
        self._added = self._given = self._dropped = self._batches = 0

    async def add(self, item: Any) -> None:
        """Adds an item when there is room. Errors: RuntimeError after close()."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._closed or len(self.buffer) < self.max_buffered
            )
            self._append(item)
            self._changed.notify_all()

    def add_nowait(self, item: Any) -> bool:
        """Adds an item at once; False when the oldest item was dropped for it."""
        dropped = len(self.buffer) >= self.max_buffered
        if dropped:
            self.buffer.popleft()
            self._dropped += 1
        self._append(item)
        if len(self.buffer) == 1 or len(self.buffer) >= self.batch_size:
            asyncio.ensure_future(self._notify())
        return not dropped

    async def close(self) -> None:
        """Refuses further items; waiting items are still given."""
        self._closed = True
        await self._notify()

    def __aiter__(self) -> "BatchProcessor":
        return self

    async def __anext__(self) -> List[Any]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self.buffer)
            due = self.buffer[0][0] + self.flush_interval if self.buffer else 0.0
            while len(self.buffer) < self.batch_size and not self._closed:
                try:
                    async with asyncio.timeout_at(due):
                        await self._changed.wait()
                except TimeoutError:
                    break
            batch = [self.buffer.popleft()[1] for _ in range(min(self.batch_size, len(self.buffer)))]
            if not batch:
                raise StopAsyncIteration
            self._given += len(batch)
            self._batches += 1
            self._changed.notify_all()
            return batch

    def get_stats(self) -> Dict[str, int]:
        """added = processed + dropped + buffered, in items."""
        return {
            "added": self._added,
            "processed": self._given,
            "dropped": self._dropped,
            "buffered": len(self.buffer),
            "batches": self._batches,
        }

    def _append(self, item: Any) -> None:
        if self._closed:
            raise RuntimeError("the processor was closed")
        self._added += 1
        self.buffer.append((asyncio.get_running_loop().time(), item))

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class AsyncHelper:
    """At most `max_workers` coroutines at a time, at most `max_pending` that wait; results are
    awaited or collected.

    value = await helper.run(fetch, url)
    """

    def __init__(self, max_workers: int = 4, max_pending: int = 1024) -> None:
        self.max_workers = _check.integer("max_workers", max_workers, 1, 1024)
        self.max_pending = _check.integer("max_pending", max_pending, 1, _MOST)
        self._free = asyncio.Semaphore(max_workers)
        self._pending = self._completed = self._failed = self._submitted = 0

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls function(*args, **kwargs) in its turn and returns its value. A plain function runs
        in a thread. Errors: RuntimeError when `max_pending` calls are under way; the exceptions of
        the function."""
        _check.function("function", function)
        if self._pending >= self.max_pending:
            raise RuntimeError(f"{self.max_pending} operations are under way; slow down")
        self._submitted += 1
        self._pending += 1
        failed = True
        try:
            async with self._free:
                if inspect.iscoroutinefunction(function):
                    result = await function(*args, **kwargs)
                else:
                    result = await asyncio.to_thread(function, *args, **kwargs)
            failed = False
            return result
        finally:
            self._pending -= 1
            self._failed += failed
            self._completed += not failed

    def get_stats(self) -> Dict[str, int]:
        """submitted = completed + failed + pending."""
        return {
            "submitted": self._submitted,
            "completed": self._completed,
            "failed": self._failed,
            "pending": self._pending,
        }


class AsyncAggregator:
    """Awaitables by name, gathered together; at most `max_operations`."""

    def __init__(self, max_operations: int = 1024) -> None:
        self.max_operations = _check.integer("max_operations", max_operations, 1, _MOST)
        self.futures: Dict[Hashable, "asyncio.Future[Any]"] = {}
        self._added = 0

    def add(self, operation_id: Hashable, awaitable: Awaitable[Any]) -> None:
        """Starts an awaitable. Errors: ValueError for a name that is in use, RuntimeError beyond
        `max_operations`, TypeError for an object that cannot be awaited."""
        if operation_id in self.futures:
            raise ValueError(f"operation {operation_id!r} is there already; clear() begins anew")
        if len(self.futures) >= self.max_operations:
            raise RuntimeError(f"{self.max_operations} operations are there; clear() begins anew")
        self.futures[operation_id] = asyncio.ensure_future(awaitable)
        self._added += 1

    def all_completed(self) -> bool:
        """Whether every operation has ended, successfully or not."""
        return all(future.done() for future in self.futures.values())

    async def get_all_results(
        self, timeout: Optional[float] = None
    ) -> Dict[Any, Tuple[Any, Optional[BaseException]]]:
        """Waits for all, at most `timeout` seconds, and gives {name: (result, error)} of those that
        have ended."""
        if self.futures:
            await asyncio.wait(self.futures.values(), timeout=timeout)
        return {name: self._outcome(f) for name, f in self.futures.items() if f.done()}

    def clear(self) -> None:
        """Cancels running operations and forgets all of them."""
        for future in self.futures.values():
            future.cancel()
        self.futures.clear()

    def get_stats(self) -> Dict[str, int]:
        """The numbers of pending, completed and failed operations; `added` counts from the
        start."""
        outcomes = [self._outcome(future) for future in self.futures.values() if future.done()]
        failed = sum(error is not None for _, error in outcomes)
        return {
            "added": self._added,
            "pending": len(self.futures) - len(outcomes),
            "completed": len(outcomes) - failed,
            "failed": failed,
        }

    @staticmethod
    def _outcome(future: "asyncio.Future[Any]") -> Tuple[Any, Optional[BaseException]]:
        if future.cancelled():
            return None, asyncio.CancelledError()
        error = future.exception()
        return (None if error else future.result()), error
