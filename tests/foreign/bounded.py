# SPDX-License-Identifier: Apache-2.0
"""Tests that are coroutines: each on a loop of its own, with a time limit."""

import asyncio
import functools
import unittest
from typing import Any, Callable, Coroutine

SECONDS_MOST = 20.0


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(self: unittest.TestCase) -> None:
        failures = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _loop, context: failures.append(context))
            async with asyncio.timeout(SECONDS_MOST):
                await test(self)

        asyncio.run(main())
        self.assertEqual(failures, [], "nobody caught these")

    return run
