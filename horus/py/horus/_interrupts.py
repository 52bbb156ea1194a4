# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C without a task that never wakes again.

asyncio.Runner cancels the main task at the first Ctrl-C and raises KeyboardInterrupt at the next,
wherever the interpreter happens to be. In the middle of asyncio's own code that loses the callback
that was about to be queued or called: the task behind it stays suspended, and the end of the
program, which waits for all tasks, never comes. While Horus' loop runs, and while a reactor is
attached to another one, such a KeyboardInterrupt waits for the loop's next callback. One that meets
the user's code is raised there, as ever.
"""

import asyncio
import functools
import signal
import threading
import time
import weakref
from types import FrameType
from typing import Any, Optional

_LIBRARIES = ("asyncio", "horus", "selectors", "uvloop")
# A callback that has not come by then does not come soon: somebody spins inside these.
_LONGEST_S = 1.0


def _is_runners(handler: Any) -> bool:
    return isinstance(handler, functools.partial) and (
        getattr(handler.func, "__func__", None) is getattr(asyncio.Runner, "_on_sigint", None)
    )


def _give_back(handler: Any, former: Any) -> None:
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is handler:
        signal.signal(signal.SIGINT, former)


class Interrupts:
    """Those of one loop. Handlers that are neither Python's nor asyncio's own are left alone, and so
    is everything outside the main thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._since: Optional[float] = None  # one waits for the loop's next callback
        self._raised = False
        self._former: Any = None
        if threading.current_thread() is not threading.main_thread():
            return
        former: Any = signal.getsignal(signal.SIGINT)
        if not _is_runners(former) and former is not signal.default_int_handler:
            return
        self._former = former
        self._handler: Any = self._take  # the one object that getsignal() gives
        signal.signal(signal.SIGINT, self._handler)

    def end_with(self, loop: asyncio.AbstractEventLoop) -> None:
        """Where end() may never be called."""
        if self._former is not None:
            give_back = weakref.finalize(loop, _give_back, self._handler, signal.default_int_handler)
            give_back.atexit = False

    def end(self) -> None:
        # A Runner that KeyboardInterrupt has left has looked for its handler already, in vain.
        if self._former is not None:
            _give_back(self._handler, signal.default_int_handler if self._raised else self._former)

    def _take(self, number: int, frame: Optional[FrameType]) -> None:
        loop = self._loop()
        module = str(frame.f_globals.get("__name__", "")) if frame is not None else ""
        waited = 0.0 if self._since is None else time.monotonic() - self._since
        if (
            loop is None
            or not loop.is_running()
            or module.partition(".")[0] not in _LIBRARIES
            or waited > _LONGEST_S
        ):
            self._pass_on(number, frame)
        elif self._since is None:
            self._since = time.monotonic()
            loop.call_soon_threadsafe(self._deliver, number)

    def _deliver(self, number: int) -> None:
        self._since = None
        self._pass_on(number, None)

    def _pass_on(self, number: int, frame: Optional[FrameType]) -> None:
        try:
            self._former(number, frame)
        except KeyboardInterrupt:
            self._raised = True
            raise
