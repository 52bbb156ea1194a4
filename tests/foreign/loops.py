# SPDX-License-Identifier: Apache-2.0
"""Puts one event loop in the place of asyncio's own, for programs that do not know it."""

import asyncio
import asyncio.unix_events
from typing import Any, Callable, Tuple

NAMES = ("stock", "horus", "uvloop")


def loop_and_policy(name: str) -> Tuple[Callable[..., Any], Callable[[], Any]]:
    """The class of the loop and of its policy. Errors: ImportError where there is none."""
    if name == "stock":
        return asyncio.SelectorEventLoop, asyncio.DefaultEventLoopPolicy
    if name == "horus":
        import horus

        if not hasattr(horus, "EventLoop"):
            raise ImportError("this build of horus has no EventLoop")
        return horus.EventLoop, horus.EventLoopPolicy
    if name == "uvloop":
        import uvloop

        return uvloop.Loop, uvloop.EventLoopPolicy
    raise ValueError(f"no loop is named {name!r}; there are: {', '.join(NAMES)}")


class Made:
    """How many loops of the class under test have been made."""

    count = 0


def install(name: str) -> None:
    """From here on asyncio gives this loop to whoever asks for one: by the policy, by
    new_event_loop(), by asyncio.run(), and by the names asyncio.SelectorEventLoop,
    asyncio.EventLoop."""
    loop_class, policy_class = loop_and_policy(name)

    if name == "stock":
        return

    class Policy(policy_class):  # type: ignore[misc, valid-type]
        def new_event_loop(self) -> Any:
            Made.count += 1
            return super().new_event_loop()

    class SelectorEventLoop(loop_class):  # type: ignore[misc, valid-type]
        def __init__(self, selector: Any = None) -> None:
            Made.count += 1
            super().__init__()

    for module in (asyncio, asyncio.unix_events):
        module.SelectorEventLoop = SelectorEventLoop  # type: ignore[assignment, misc]
        module.DefaultEventLoopPolicy = Policy  # type: ignore[misc]
        if hasattr(module, "EventLoop"):  # its other name, from Python 3.13 on
            module.EventLoop = SelectorEventLoop
    asyncio.set_event_loop_policy(Policy())
