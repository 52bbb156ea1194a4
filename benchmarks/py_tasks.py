#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a loop itself costs: callbacks, timers, tasks, threads, and operations that are awaited."""

import asyncio
import sys
import threading
from typing import Any, Awaitable, Callable

from py_common import Rows, Sampler, Skip, arguments, needs, run

MANY = 100
BURST = 1000


def nothing() -> None:
    pass


async def await_completed(loop: Any, seconds: float) -> float:
    """A future that is made, completed and awaited."""
    sampler = Sampler(seconds)
    while sampler.more():
        for _ in range(sampler.count):
            future = loop.create_future()
            future.set_result(None)
            await future
    return sampler.nanoseconds()


async def ring_operation(loop: Any, seconds: float, tasks: int) -> float:
    """A no-operation through the kernel's ring: submitted, completed, awaited."""
    operation = needs(loop, "_nothing")
    sampler = Sampler(seconds)

    async def work(count: int) -> None:
        for _ in range(count):
            await operation()

    while sampler.more():
        each = max(1, sampler.count // tasks)
        if tasks == 1:
            await work(sampler.count)
        else:
            await asyncio.gather(*(work(each) for _ in range(tasks)))
    return sampler.nanoseconds()


async def native_coroutine(loop: Any, seconds: float, name: str, tasks: int) -> float:
    """Python awaits a coroutine written in C++, which ends at once or after a turn of the loop."""
    try:
        import py_native  # beside this file in the build directory
    except ImportError as problem:
        raise Skip(f"py_native cannot be imported: {problem}") from problem
    coroutine = getattr(py_native, name)
    sampler = Sampler(seconds)

    async def work(count: int) -> None:
        for _ in range(count):
            await coroutine()

    while sampler.more():
        if tasks == 1:
            await work(sampler.count)
        else:
            each = max(1, sampler.count // tasks)
            await asyncio.gather(*(work(each) for _ in range(tasks)))
    return sampler.nanoseconds()


async def call_soon_chain(loop: Any, seconds: float) -> float:
    """A callback that schedules the next one: a turn of the loop each."""
    sampler = Sampler(seconds)
    while sampler.more():
        ended = loop.create_future()
        left = sampler.count

        def step() -> None:
            nonlocal left
            left -= 1
            if left:
                loop.call_soon(step)
            else:
                ended.set_result(None)

        loop.call_soon(step)
        await ended
    return sampler.nanoseconds()


async def call_soon_burst(loop: Any, seconds: float) -> float:
    """A thousand callbacks at once, scheduled and run."""
    sampler = Sampler(seconds, BURST)
    while sampler.more():
        for _ in range(BURST):
            loop.call_soon(nothing)
        ended = loop.create_future()
        loop.call_soon(ended.set_result, None)
        await ended
    return sampler.nanoseconds()


async def call_later_cancel(loop: Any, seconds: float) -> float:
    sampler = Sampler(seconds, BURST)
    while sampler.more():
        for _ in range(BURST):
            loop.call_later(60.0, nothing).cancel()
        await asyncio.sleep(0)
    return sampler.nanoseconds()


async def call_soon_threadsafe(loop: Any, seconds: float) -> float:
    """A thousand from another thread while the loop runs, until the last one has run."""
    sampler = Sampler(seconds, BURST, wall=True)
    go, stopped = threading.Semaphore(0), False
    ended = loop.create_future()

    def post() -> None:
        while True:
            go.acquire()
            if stopped:
                return
            for _ in range(BURST - 1):
                loop.call_soon_threadsafe(nothing)
            loop.call_soon_threadsafe(ended.set_result, None)

    thread = threading.Thread(target=post, daemon=True)
    thread.start()
    while sampler.more():
        go.release()
        await ended
        ended = loop.create_future()
    stopped = True
    go.release()
    thread.join(10)
    return sampler.nanoseconds()


async def sleep_zero(loop: Any, seconds: float) -> float:
    sampler, sleep = Sampler(seconds), asyncio.sleep
    while sampler.more():
        for _ in range(sampler.count):
            await sleep(0)
    return sampler.nanoseconds()


async def create_task(loop: Any, seconds: float) -> float:
    async def work() -> None:
        pass

    sampler = Sampler(seconds)
    while sampler.more():
        for _ in range(sampler.count):
            await loop.create_task(work())
    return sampler.nanoseconds()


async def run_in_executor(loop: Any, seconds: float) -> float:
    sampler = Sampler(seconds, 50, wall=True)
    await loop.run_in_executor(None, nothing)  # the thread is there
    while sampler.more():
        for _ in range(sampler.count):
            await loop.run_in_executor(None, nothing)
    return sampler.nanoseconds() / 1000


ROWS: "tuple[tuple[str, str, bool, Callable[[Any, float], Awaitable[float]]], ...]" = (
    ("await_completed", "ns", False, await_completed),
    ("ring_operation_1", "ns", True, lambda loop, s: ring_operation(loop, s, 1)),
    ("ring_operation_100", "ns", True, lambda loop, s: ring_operation(loop, s, MANY)),
    ("native_at_once", "ns", True, lambda loop, s: native_coroutine(loop, s, "at_once", 1)),
    ("native_turn_1", "ns", True, lambda loop, s: native_coroutine(loop, s, "after_a_turn", 1)),
    (
        "native_turn_100",
        "ns",
        True,
        lambda loop, s: native_coroutine(loop, s, "after_a_turn", MANY),
    ),
    ("call_soon", "ns", False, call_soon_chain),
    ("call_soon_burst", "ns", False, call_soon_burst),
    ("call_later_cancel", "ns", False, call_later_cancel),
    ("call_soon_threadsafe", "ns", False, call_soon_threadsafe),
    ("sleep_0", "ns", False, sleep_zero),
    ("create_task", "ns", False, create_task),
    ("run_in_executor", "us", False, run_in_executor),
)


def main() -> int:
    options = arguments(__doc__ or "", seconds=0.3).parse_args()
    rows = Rows(options.loop, options.json, options.only)
    for row, unit, ours_alone, measure in ROWS:

        def once() -> float:
            if ours_alone and options.loop != "horus":
                raise Skip("only Horus has it")

            async def start() -> float:
                return await measure(asyncio.get_running_loop(), options.seconds)

            return float(run(options.loop, start))

        rows.measure(row, unit, once)
    return 0


if __name__ == "__main__":
    sys.exit(main())
