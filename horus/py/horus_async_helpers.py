# SPDX-License-Identifier: Apache-2.0
"""Background work for nodes with a plain tick(): threads do what blocks, the tick looks for
results. Pure Python, for use with horus.Node or without.

Every class is bounded, may be used from any thread, has get_stats() with plain numbers, and
shutdown(); as a context manager it shuts itself down. Durations are seconds of the monotonic clock.
"""

import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Dict, Hashable, List, Optional, Tuple, TypeVar

__all__ = ["AsyncAggregator", "AsyncHelper", "BatchProcessor", "ConnectionPool", "RateLimiter"]

MAX_WORKERS = 1024
MAX_PENDING = 1024
MAX_BUFFERED_BATCHES = 64

S = TypeVar("S", bound="_Closing")
Result = Tuple[Any, Any, Optional[BaseException]]  # of an operation: its id, what it gave, what it raised


def _count(what: str, value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is a whole number, not {type(value).__name__}")
    if not 1 <= value <= most:
        raise ValueError(f"{what} is 1 to {most}, not {value}")
    return value


def _positive(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} is a number, not {type(value).__name__}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{what} is above 0, not {value!r}")
    return float(value)


def _function(what: str, value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise TypeError(f"{what} is a function, not {type(value).__name__}")
    return value  # type: ignore[no-any-return]


class _Closing:
    def shutdown(self) -> None:
        raise NotImplementedError

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_error: Any) -> None:
        self.shutdown()


class AsyncHelper(_Closing):
    """Operations in background threads, each with an id of the caller's; an id may be used again
    before its result is seen.

    At most `max_pending` operations wait or run; submit() raises RuntimeError beyond that. Results
    wait for check_completed() as long as it takes, and count as pending until then. `futures` has
    the last operation of each id. Code of your own may put (id, result, error) into
    `results_queue`: check_completed() gives that as well.
    """

    def __init__(self, max_workers: int = 4, max_pending: int = MAX_PENDING) -> None:
        self.max_pending = _count("max_pending", max_pending, 1_000_000)
        self.executor = ThreadPoolExecutor(
            _count("max_workers", max_workers, MAX_WORKERS), "horus-async"
        )
        self.futures: Dict[Hashable, "Future[Any]"] = {}  # the last one of each id
        self.results_queue: "queue.Queue[Result]" = queue.Queue()
        self._replaced: List[Tuple[Hashable, "Future[Any]"]] = []  # whose id was used again
        self._lock = threading.RLock()
        self._submitted = self._completed = self._failed = 0

    def submit(
        self, operation_id: Hashable, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> "Future[Any]":
        """Starts func(*args, **kwargs) in a background thread."""
        _function("func", func)
        with self._lock:
            if self.pending_count() >= self.max_pending:
                raise RuntimeError(
                    f"{self.max_pending} operations are pending; call check_completed()"
                )
            hash(operation_id)  # before anything begins
            future = self.executor.submit(func, *args, **kwargs)
            # Again at the end, so that the order is that of submission.
            before = self.futures.pop(operation_id, None)
            if before is not None:
                self._replaced.append((operation_id, before))
            self.futures[operation_id] = future
            self._submitted += 1
            return future

    def check_completed(self) -> List[Result]:
        """(id, result, error) of each operation that has ended since the last call. Never
        blocks."""
        completed: List[Result] = []
        with self._lock:
            while not self.results_queue.empty():
                completed.append(self.results_queue.get_nowait())
            ended = [pair for pair in self._replaced if pair[1].done()]
            self._replaced = [pair for pair in self._replaced if pair not in ended]
            for operation_id, future in list(self.futures.items()):
                if future.done():
                    ended.append((operation_id, future))
                    del self.futures[operation_id]
            for operation_id, future in ended:
                error: Optional[BaseException]
                if future.cancelled():
                    error = RuntimeError(f"operation {operation_id!r} was cancelled")
                else:
                    error = future.exception()
                self._failed += error is not None
                self._completed += error is None
                completed.append((operation_id, None if error else future.result(), error))
        return completed

    def pending_count(self) -> int:
        """Operations that check_completed() has not given yet."""
        return len(self.futures) + len(self._replaced)

    def is_pending(self, operation_id: Hashable) -> bool:
        """Whether the operation of this id is one of them."""
        with self._lock:
            return operation_id in self.futures or any(
                pending == operation_id for pending, _ in self._replaced
            )

    def get_stats(self) -> Dict[str, int]:
        """submitted = completed + failed + pending."""
        with self._lock:
            return {
                "submitted": self._submitted,
                "completed": self._completed,
                "failed": self._failed,
                "pending": self.pending_count(),
                "running": sum(
                    future.running()
                    for future in (*self.futures.values(), *(one for _, one in self._replaced))
                ),
            }

    def shutdown(self) -> None:
        """Drops what has not begun and waits for what has."""
        self.executor.shutdown(wait=True, cancel_futures=True)


class ConnectionPool(_Closing):
    """`max_connections` connections, made at once by create_connection(), each used by one
    operation at a time.

    execute_async() raises RuntimeError when `max_waiting` operations wait. A connection whose
    operation raised one of `broken` is closed, where it has close(), and made anew; other failures
    leave it as it is.
    """

    def __init__(
        self,
        create_connection: Callable[[], Any],
        max_connections: int = 10,
        max_waiting: int = MAX_PENDING,
        broken: Tuple["type[BaseException]", ...] = (OSError,),
    ) -> None:
        self.create_connection = _function("create_connection", create_connection)
        self.max_connections = _count("max_connections", max_connections, MAX_WORKERS)
        self.max_waiting = _count("max_waiting", max_waiting, 1_000_000)
        self.broken = tuple(broken)
        self.pool: "queue.Queue[Any]" = queue.Queue(maxsize=max_connections)
        self._lock = threading.RLock()
        self._submitted = self._completed = self._failed = self._replaced = self._ended = 0
        try:
            for _ in range(max_connections):
                self.pool.put(self.create_connection())
        except BaseException:
            self._close_idle()
            raise
        self.executor = ThreadPoolExecutor(max_connections, "horus-pool")

    def execute_async(
        self, operation: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> "Future[Any]":
        """operation(connection, *args, **kwargs) in a background thread."""
        _function("operation", operation)
        with self._lock:
            if self._submitted - self._ended >= self.max_connections + self.max_waiting:
                raise RuntimeError(
                    f"{self.max_waiting} operations wait for a connection; slow down"
                )
            future = self.executor.submit(self._execute, operation, args, kwargs)
            self._submitted += 1
        future.add_done_callback(self._count_end)
        return future

    def get_stats(self) -> Dict[str, int]:
        """submitted = completed + failed + pending."""
        with self._lock:
            return {
                "max_connections": self.max_connections,
                "available": self.pool.qsize(),
                "submitted": self._submitted,
                "completed": self._completed,
                "failed": self._failed,
                "pending": self._submitted - self._ended,
                "replaced": self._replaced,
            }

    def shutdown(self) -> None:
        """Drops what has not begun, waits for what has, closes the connections."""
        self.executor.shutdown(wait=True, cancel_futures=True)
        self._close_idle()

    def _execute(self, operation: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        connection = self.pool.get()
        try:
            if connection is None:  # the last attempt to make it anew failed
                connection = self.create_connection()
            return operation(connection, *args, **kwargs)
        except self.broken:
            self._close(connection)
            connection = None
            with self._lock:
                self._replaced += 1
            raise
        finally:
            self.pool.put(connection)

    def _count_end(self, future: "Future[Any]") -> None:
        with self._lock:
            self._ended += 1
            if future.cancelled() or future.exception() is not None:
                self._failed += 1
            else:
                self._completed += 1

    def _close_idle(self) -> None:
        while True:
            try:
                self._close(self.pool.get_nowait())
            except queue.Empty:
                return

    @staticmethod
    def _close(connection: Any) -> None:
        close = getattr(connection, "close", None)
        if close is None:
            return
        try:
            close()
        except Exception:
            pass  # it is given up anyway


class BatchProcessor(_Closing):
    """Collects items and hands them in batches to process_batch(list), in a background thread, one
    batch at a time.

    A batch is due when `batch_size` items wait, or `flush_interval` seconds after the last flush
    when any does. At most `max_buffered` items wait (64 batches unless told otherwise); then the
    oldest is dropped and counted.
    """

    def __init__(
        self,
        batch_size: int,
        flush_interval: float,
        process_batch: Callable[[List[Any]], Any],
        max_buffered: Optional[int] = None,
    ) -> None:
        self.batch_size = _count("batch_size", batch_size, 1_000_000)
        self.flush_interval = _positive("flush_interval", flush_interval)
        self.process_batch = _function("process_batch", process_batch)
        if max_buffered is None:
            max_buffered = MAX_BUFFERED_BATCHES * batch_size
        self.max_buffered = _count("max_buffered", max_buffered, MAX_BUFFERED_BATCHES * 1_000_000)
        self.buffer: List[Any] = []
        self.executor = ThreadPoolExecutor(1, "horus-batch")
        self.last_flush = time.time()
        self._flushed_at = time.monotonic()  # whatever happens to the wall clock
        self.pending_future: Optional["Future[Any]"] = None
        self._lock = threading.RLock()
        self._in_flight = 0
        self._added = self._processed = self._failed = self._dropped = self._batches = 0

    def add(self, item: Any) -> bool:
        """Adds an item; False when the oldest had to go for it."""
        with self._lock:
            self._added += 1
            self.buffer.append(item)
            if len(self.buffer) <= self.max_buffered:
                return True
            del self.buffer[0]
            self._dropped += 1
            return False

    def should_flush(self) -> bool:
        """Whether a batch is due."""
        with self._lock:
            waits = len(self.buffer)
            return waits >= self.batch_size or (
                waits > 0 and time.monotonic() - self._flushed_at >= self.flush_interval
            )

    def flush_async(self) -> Optional["Future[Any]"]:
        """Starts a batch of all that waits, unless one is under way or nothing waits: then None."""
        with self._lock:
            if not self.buffer or self.pending_future is not None:
                return None
            batch = list(self.buffer)
            self.buffer.clear()
            self._in_flight = len(batch)
            self.last_flush = time.time()
            self._flushed_at = time.monotonic()
            self.pending_future = self.executor.submit(self.process_batch, batch)
            return self.pending_future

    def check_completed(self) -> Any:
        """The result of the batch that has ended, once; else None. Raises what process_batch
        raised."""
        with self._lock:
            future = self.pending_future
            if future is None or not future.done():
                return None
            self.pending_future = None
            self._batches += 1
            if future.exception() is None:
                self._processed += self._in_flight
            else:
                self._failed += self._in_flight
            self._in_flight = 0
        return future.result()

    def tick(self) -> Any:
        """For a node's tick: check_completed(), then flush_async() when should_flush()."""
        result = self.check_completed()
        if self.should_flush():
            self.flush_async()
        return result

    def force_flush(self) -> List[Any]:
        """Processes all that waits, now, and waits for it; gives the results, one per batch. Raises
        what process_batch raised."""
        results: List[Any] = []
        while True:
            with self._lock:
                future = self.pending_future or self.flush_async()
            if future is None:
                return results
            future.exception()  # waits
            results.append(self.check_completed())

    def get_stats(self) -> Dict[str, int]:
        """added = processed + failed + dropped + buffered + in_flight, in items."""
        with self._lock:
            return {
                "added": self._added,
                "processed": self._processed,
                "failed": self._failed,
                "dropped": self._dropped,
                "buffered": len(self.buffer),
                "in_flight": self._in_flight,
                "batches": self._batches,
            }

    def shutdown(self) -> None:
        """force_flush(), then ends the thread."""
        try:
            self.force_flush()
        finally:
            self.executor.shutdown(wait=True)


class RateLimiter:
    """At most `max_calls` calls per `period` seconds (1 unless told otherwise), with bursts of up
    to `max_calls`: a token bucket. Memory does not grow with the rate."""

    def __init__(self, max_calls: float, period: float = 1.0) -> None:
        self.max_calls = _positive("max_calls", max_calls)
        self.period = _positive("period", period)
        self._tokens = max(1.0, self.max_calls)
        self._most = self._tokens
        self._looked = time.monotonic()
        self._lock = threading.RLock()
        self._allowed = self._refused = 0

    def allow(self) -> bool:
        """Takes one call if there is one."""
        with self._lock:
            self._refill()
            if self._tokens < 1:
                self._refused += 1
                return False
            self._tokens -= 1
            self._allowed += 1
            return True

    def wait_time(self) -> float:
        """Seconds until allow() says yes; 0.0 when it does now."""
        with self._lock:
            self._refill()
            return max(0.0, (1 - self._tokens) * self.period / self.max_calls)

    def get_stats(self) -> Dict[str, float]:
        """Calls allowed and refused, and those that are available now."""
        with self._lock:
            self._refill()
            return {"allowed": self._allowed, "refused": self._refused, "available": self._tokens}

    def _refill(self) -> None:
        now = time.monotonic()
        self._tokens = min(
            self._most, self._tokens + (now - self._looked) * self.max_calls / self.period
        )
        self._looked = now


class AsyncAggregator:
    """Futures by name, gathered until all have ended; at most `max_operations`."""

    def __init__(self, max_operations: int = MAX_PENDING) -> None:
        self.max_operations = _count("max_operations", max_operations, 1_000_000)
        self.futures: Dict[Hashable, "Future[Any]"] = {}
        self._lock = threading.RLock()
        self._added = 0

    def add(self, operation_id: Hashable, future: "Future[Any]") -> None:
        """Errors: ValueError for a name that is there, RuntimeError beyond `max_operations`,
        TypeError for no Future."""
        if not isinstance(future, Future):
            raise TypeError(f"future is a concurrent.futures.Future, not {type(future).__name__}")
        with self._lock:
            if operation_id in self.futures:
                raise ValueError(
                    f"operation {operation_id!r} is there already; clear() begins anew"
                )
            if len(self.futures) >= self.max_operations:
                raise RuntimeError(
                    f"{self.max_operations} operations are there; clear() begins anew"
                )
            self.futures[operation_id] = future
            self._added += 1

    def all_completed(self) -> bool:
        """Whether every one has ended, well or not; True when there is none."""
        with self._lock:
            return all(future.done() for future in self.futures.values())

    def get_all_results(self) -> Dict[Any, Tuple[Any, Optional[BaseException]]]:
        """{name: (result, error)} of those that have ended. Never blocks."""
        results: Dict[Any, Tuple[Any, Optional[BaseException]]] = {}
        with self._lock:
            for operation_id, future in self.futures.items():
                if future.cancelled():
                    results[operation_id] = (
                        None,
                        RuntimeError(f"operation {operation_id!r} was cancelled"),
                    )
                elif future.done():
                    error = future.exception()
                    results[operation_id] = (None if error else future.result(), error)
        return results

    def clear(self) -> None:
        """Forgets all of them; what runs goes on."""
        with self._lock:
            self.futures.clear()

    def get_stats(self) -> Dict[str, int]:
        """Of those that are there: pending, completed, failed; `added`: since the beginning."""
        with self._lock:
            done = [future for future in self.futures.values() if future.done()]
            failed = sum(future.cancelled() or future.exception() is not None for future in done)
            return {
                "added": self._added,
                "pending": len(self.futures) - len(done),
                "completed": len(done) - failed,
                "failed": failed,
            }
