# SPDX-License-Identifier: Apache-2.0
"""EventLoop: asyncio on Horus' reactor. Its callbacks, timers, sockets and watched descriptors are
C++; the rest is inherited from asyncio."""

import asyncio
import ssl
import sys
import threading
import tracemalloc
import warnings
from asyncio import base_events, events, format_helpers, selector_events, tasks
from typing import Any, Optional

from horus import _core, _driven
from horus._interrupts import Interrupts

_base_events: Any = base_events
_format_helpers: Any = format_helpers
_selector_events: Any = selector_events


# What the type stubs do not know of asyncio.
_SelectorEventLoop: Any = asyncio.SelectorEventLoop
_SelectorTransport: Any = _selector_events._SelectorSocketTransport


class _StreamTransport(_core.TransportCore, _SelectorTransport):  # type: ignore[misc]
    """asyncio's transport, whose usual reads and writes are C++."""

    def set_protocol(self, protocol: Any) -> None:
        self._reads_into_buffers = isinstance(protocol, asyncio.BufferedProtocol)
        super().set_protocol(protocol)

    def _write_slowly(self, data: Any) -> None:
        _SelectorTransport.write(self, data)

    # asyncio's asks its selector
    def __repr__(self) -> str:
        state = "closed" if self._sock is None else "closing" if self._closing else "open"
        size = self.get_write_buffer_size()
        return f"<{type(self).__name__} {state} fd={self._sock_fd} write=<bufsize={size}>>"


class EventLoop(_core.LoopCore, _SelectorEventLoop):  # type: ignore[misc]
    """An asyncio event loop that waits in io_uring, or in epoll where that is forbidden.

    Use it like any other: `asyncio.Runner(loop_factory=horus.new_event_loop)`, from Python 3.12 on
    `asyncio.run(main(), loop_factory=horus.new_event_loop)`, or `horus.run(main())`. It may run on
    one thread after another, not on two at a time; any thread may call call_soon_threadsafe().
    Errors: RuntimeError in a child process after fork()."""

    def __init__(self) -> None:
        super().__init__(_driven.Turns(self))
        self._ready = _driven.ReadyQueue(self)

    # --- Running

    def run_forever(self) -> None:
        """Runs until stop()."""
        before = self._set_until_stopped(True)
        interrupts = Interrupts(self)
        try:
            super().run_forever()
        finally:
            interrupts.end()
            self._set_until_stopped(before)
            if threading.current_thread() is not threading.main_thread():
                self._leave_thread()

    def close(self) -> None:
        """Cancels operations under way and waits until they have ended. Errors: RuntimeError while
        it runs."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        super().close()
        self._close_core()

    @property
    def _debug(self) -> bool:
        return self.__dict__.get("_debug", False)

    @_debug.setter
    def _debug(self, enabled: bool) -> None:
        self.__dict__["_debug"] = enabled
        self._set_debug_flag(enabled)

    def _create_task_slowly(self, coro: Any, **options: Any) -> Any:
        """By a factory, or in debug mode."""
        return _SelectorEventLoop.create_task(self, coro, **options)

    # --- Somebody in a task runs the loop by hand

    def _suspend_task(self) -> Any:
        """The task that does so is not the current one while others run."""
        return _swap_current_task(self, None)

    def _restore_task(self, task: Any) -> None:
        _swap_current_task(self, task)

    # --- Signals wake the loop by a socket, which is made with the first handler

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None

    def _close_self_pipe(self) -> None:
        if self._ssock is not None:
            super()._close_self_pipe()

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        """Calls the callback in the loop when the signal has arrived. Main thread only."""
        self._check_closed()
        if self._ssock is None:
            super()._make_self_pipe()
        super().add_signal_handler(sig, callback, *args)

    def _add_callback(self, handle: Any) -> None:
        if not handle._cancelled:
            self._enqueue(handle)

    def _make_socket_transport(
        self, sock: Any, protocol: Any, waiter: Any = None, *, extra: Any = None, server: Any = None
    ) -> Any:
        return _StreamTransport(self, sock, protocol, waiter, extra, server)

    # --- What the C++ half calls

    def _check_socket(self, sock: Any) -> None:
        if isinstance(sock, ssl.SSLSocket):
            raise TypeError("Socket cannot be of type SSLSocket")
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")

    def _callback_failed(self, handle: Any, error: BaseException) -> None:
        source = _format_helpers._format_callback_source(handle._callback, handle._args)
        self.call_exception_handler(
            {
                "message": f"Exception in callback {source}",
                "exception": error,
                "handle": handle,
            }
        )

    def _run_handle(self, handle: Any) -> None:
        """In debug mode, and asyncio's own handles."""
        if handle._cancelled:
            return
        try:
            if not self._debug:
                handle._run()
                return
            self._current_handle = handle
            start = self.time()
            handle._run()
            took = self.time() - start
            if took >= self.slow_callback_duration:
                _base_events.logger.warning(
                    "Executing %s took %.3f seconds", _base_events._format_handle(handle), took
                )
        finally:
            self._current_handle = None
            handle = None  # an exception's traceback can keep this frame, and the frame its task

    def _debug_handle(self, callback: Any, args: Any, context: Any) -> Any:
        return events.Handle(callback, args, self, context)

    def _debug_call_soon(self, callback: Any, args: Any, context: Any) -> Any:
        self._check_thread()
        self._check_callback(callback, "call_soon")
        return self._with_source(events.Handle(callback, args, self, context))

    def _debug_call_soon_threadsafe(self, callback: Any, args: Any, context: Any) -> Any:
        self._check_callback(callback, "call_soon_threadsafe")
        return self._with_source(events.Handle(callback, args, self, context))

    def _debug_call_at(self, when: float, callback: Any, args: Any, context: Any) -> Any:
        self._check_thread()
        self._check_callback(callback, "call_at")
        return self._with_source(events.TimerHandle(when, callback, args, self, context))

    @staticmethod
    def _with_source(handle: Any) -> Any:
        if handle._source_traceback:
            del handle._source_traceback[-1]
        return handle

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """asyncio's own timers, of debug mode, end when they are due."""

    def __del__(self) -> None:
        if not self.is_closed():
            # A warning that is kept would keep the loop: it names its source where that can be told.
            source = self if tracemalloc.is_tracing() else None
            warnings.warn(f"unclosed event loop {self!r}", ResourceWarning, source=source)
            if not self.is_running() and not sys.is_finalizing():
                self.close()


def _swap_current_task(loop: EventLoop, task: Any) -> Any:
    swap = getattr(tasks, "_swap_current_task", None)
    if swap is not None:
        return swap(loop, task)
    current: Any = getattr(tasks, "_current_tasks")
    before = current.pop(loop, None)
    if task is not None:
        current[loop] = task
    return before


def new_event_loop() -> EventLoop:
    """A new EventLoop, for functions that take a loop factory."""
    return EventLoop()


_policy_class: Optional[type] = None


def event_loop_policy() -> type:
    """The policy class, where this Python still has policies (asyncio deprecates them in 3.14)."""
    global _policy_class
    if _policy_class is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            base = getattr(asyncio, "DefaultEventLoopPolicy", None)
        if base is None:
            raise AttributeError(
                f"Python {sys.version_info[0]}.{sys.version_info[1]} has no event loop policies: "
                "give loop_factory=horus.new_event_loop"
            )

        class EventLoopPolicy(base):  # type: ignore[misc, valid-type]
            """asyncio.set_event_loop_policy(horus.EventLoopPolicy()): asyncio then makes Horus'
            loops."""

            _loop_factory = EventLoop

        _policy_class = EventLoopPolicy
    return _policy_class
