#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Random reads of 4 KiB from a file in the page cache, one after the other, and 32 at a time."""

import asyncio
import os
import random
import sys
import tempfile
from typing import Any, Awaitable, Callable, List

from py_common import Rows, Sampler, arguments, horus_module, needs, run

PAGE = 4096
PAGES = 8192
AT_ONCE = 32


async def measure(loop_name: str, path: str, seconds: float, tasks: int) -> float:
    read, close = await reader(loop_name, path)
    chance = random.Random(1)
    places: List[int] = [chance.randrange(PAGES) * PAGE for _ in range(1024)]
    sampler = Sampler(
        seconds, 64 if tasks == 1 else 1024, wall=True
    )  # tasks are made for many reads

    async def work() -> None:
        for number in range(sampler.count // tasks):
            if len(await read(places[number])) != PAGE:
                raise RuntimeError("a short read")

    while sampler.more():
        if tasks == 1:
            await work()
        else:
            await asyncio.gather(*(work() for _ in range(tasks)))
    await close()
    return sampler.nanoseconds() / 1000


async def reader(
    loop_name: str, path: str
) -> "tuple[Callable[[int], Awaitable[Any]], Callable[[], Awaitable[Any]]]":
    if loop_name == "horus":
        file = await needs(horus_module(), "open")(path, "rb")
        ours = needs(file, "pread")

        async def close_ours() -> None:
            await file.close()

        return lambda place: ours(PAGE, place), close_ours
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    pread, to_thread = os.pread, asyncio.to_thread

    async def close() -> None:
        os.close(descriptor)

    return lambda place: to_thread(pread, descriptor, PAGE, place), close


def main() -> int:
    options = arguments(__doc__ or "", seconds=0.3).parse_args()
    rows = Rows(options.loop, options.json, options.only)
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        file.write(os.urandom(PAGE * PAGES))
        file.flush()
        for row, tasks in (("file_read", 1), ("file_read_32", AT_ONCE)):

            def once() -> float:
                return float(
                    run(
                        options.loop,
                        lambda: measure(options.loop, file.name, options.seconds, tasks),
                    )
                )

            rows.measure(row, "us", once)
    return 0


if __name__ == "__main__":
    sys.exit(main())
