# SPDX-License-Identifier: Apache-2.0
"""AsyncNode and AsyncScheduler: nodes whose ticks are asyncio coroutines, on one thread. On Horus'
own loop the scheduler shares the loop's reactor; on another loop it attaches one."""

import asyncio
import inspect
from typing import Any, Callable, Optional, Tuple

from horus._loop import new_event_loop
from horus._node import Node
from horus._reactor import Reactor
from horus._scheduler import N, Scheduler, _seconds


class AsyncNode(Node):
    """A node whose tick awaits: `async def tick_async(self)`.

    Without a rate it is event-driven: the next tick starts when the last one has ended. With a
    rate, grid points that come while a tick is in flight are skipped (`overrun`). A tick that
    awaits delays no other node. A deadline with on_miss="cancel", the watchdog and the end of the
    run cancel the tick's task. `init()` and `shutdown()` may be async too."""

    async def tick_async(self) -> Any:
        """Runs once per release."""
        raise NotImplementedError(f"{type(self).__name__} has no tick_async()")

    async def send_async(self, topic: str, message: Any) -> bool:
        """The same as send(), which never blocks."""
        return self.send(topic, message)

    async def recv_async(self, topic: str, timeout: Optional[float] = None) -> Any:
        """Waits for a message. Only one task may wait per topic. Errors: TimeoutError after
        `timeout` seconds."""
        inbox = self._inbox(topic)
        loop = asyncio.get_running_loop()
        come = asyncio.Event()
        if inbox.on_message is not None:
            raise RuntimeError(f"something waits for {topic!r} of node {self.name!r} already")

        def tell() -> None:
            loop.call_soon_threadsafe(come.set)

        inbox.on_message = tell
        try:
            async with asyncio.timeout(timeout):
                while not inbox.waits():
                    come.clear()
                    await come.wait()
            return inbox.take()
        finally:
            inbox.on_message = None

    def tick(self) -> Any:
        raise TypeError("an AsyncNode ticks by tick_async()")

    def _check_methods(self) -> None:
        kind = type(self)
        if kind.tick is not AsyncNode.tick or "tick" in self._horus.functions:
            raise TypeError(
                f"node {self.name!r} is an AsyncNode with a tick(): rename it to tick_async(), or derive "
                "from horus.Node"
            )
        if kind.tick_async is AsyncNode.tick_async and "tick_async" not in vars(self):
            raise TypeError(f"{kind.__name__} has no tick_async(); write one: async def tick_async(self)")
        if inspect.isasyncgenfunction(self.tick_async):
            raise TypeError(
                f"tick_async() of node {self.name!r} contains a yield, so calling it runs nothing; return "
                "instead"
            )
        if not inspect.iscoroutinefunction(self.tick_async):
            raise TypeError(f"tick_async() of node {self.name!r} is not async")
        functions = self._horus.functions
        for phase, own in (("tick_async", ()), ("init", ()), ("shutdown", ()), ("on_error", (None,))):
            method = functions.get(phase) or getattr(self, phase)
            self._check_call(phase, method, (self, *own) if phase in functions else own)

    def _begin(self, phase: str, done: Callable[[bool, Optional[BaseException]], None]) -> Any:
        """Starts a coroutine as a task; gives what cancels it, or None when there is nothing to
        wait for."""
        work = self.tick_async() if phase == "tick" else getattr(self, phase)()
        if not inspect.isawaitable(work):
            return None
        return self._horus.worker.begin(work, done)


class _Worker:
    """The task in which everything that one node awaits runs, so that contextvars last; ticks come
    through a gate. `done` is told once of everything that begins: a tick that is cancelled leaves
    the task alive, one that is cancelled before the task has taken it never begins, and when
    somebody else cancels the task another one goes on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, told: Callable[[], Any]) -> None:
        self._loop, self._told = loop, told
        self._task: Optional["asyncio.Task[None]"] = None
        self._gate: Optional["asyncio.Future[None]"] = None
        self._next: Any = None  # what begins: not yet taken
        self._refused = False  # and it will not be
        self._ending = False

    def begin(self, work: Any, done: Callable[[bool, Optional[BaseException]], None]) -> Any:
        """Runs it, and tells `done` whether it was cancelled, or what it raised. Gives what cancels
        it."""
        self._next, self._refused = (work, done), False
        if self._task is None:
            self._start()
        elif self._gate is not None and not self._gate.done():
            self._gate.set_result(None)
        return self._cancel

    async def end(self) -> None:
        """Nothing is under way, and nothing will be."""
        self._ending = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _start(self) -> None:
        self._task = self._loop.create_task(self._serve())
        self._task.add_done_callback(self._task_ended)

    def _task_ended(self, _: "asyncio.Task[None]") -> None:
        self._task = None
        if self._next is not None:
            self._start()

    def _cancel(self) -> None:
        if self._next is not None:
            self._refused = True
        elif self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        while True:
            (work, done), self._next = self._next, None
            cancelled, error = await self._outcome(work)
            self._gate = self._loop.create_future()
            done(cancelled, error)
            self._told()
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise error
            if self._ending:
                return
            del work, done, error
            await self._gate

    async def _outcome(self, work: Any) -> Tuple[bool, Optional[BaseException]]:
        cancelled, error = self._refused, None
        try:
            if not self._refused:
                await work
            elif inspect.iscoroutine(work):
                work.close()
        except asyncio.CancelledError:
            cancelled = True
        except BaseException as raised:
            error = raised
        while self._task is not None and self._task.cancelling():
            self._task.uncancel()
        return cancelled, error


class AsyncScheduler(Scheduler):
    """A Scheduler inside asyncio's loop, for AsyncNodes and Nodes alike. Several in one loop share
    its reactor.

    scheduler = horus.AsyncScheduler()
    scheduler.add_async(CameraNode())
    await scheduler.run_async()
    """

    def add_async(self, node: N, priority: Optional[int] = None, **options: Any) -> N:
        """The same as add()."""
        return self.add(node, priority, **options)

    async def run_async(self, duration: Optional[float] = None) -> None:
        """Runs until stop() or for `duration` seconds, then calls every node's shutdown().
        Cancelling it does the same and then raises CancelledError; so does Ctrl-C under
        asyncio.run(). Errors: as Scheduler.run()."""
        seconds = _seconds(duration)
        async with Reactor.attach() as reactor:
            loop = asyncio.get_running_loop()
            self._core.begin_run()
            cancelled: Optional[asyncio.CancelledError] = None
            try:
                for node in self._nodes:
                    node._horus.worker = _Worker(loop, reactor._touched)
                ended = loop.create_task(self._core.run_in_loop(seconds))
                while not ended.done():
                    try:
                        await asyncio.shield(ended)
                    except asyncio.CancelledError as error:
                        cancelled = error
                        self._core.stop()
                ended.result()
            finally:
                result = self._core.finish_run()
                for node in self._nodes:
                    if node._horus.worker is not None:
                        await node._horus.worker.end()
                        node._horus.worker = None
        self._finish(result)
        if cancelled is not None:
            raise cancelled

    def run(self, duration: Optional[float] = None) -> None:
        """run_async() on an event loop of its own."""
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self.run_async(_seconds(duration)))

    def tick_once(self) -> None:
        raise TypeError("an AsyncScheduler runs inside asyncio's loop: run_async(duration)")

    def _is_async(self, node: Node) -> bool:
        return isinstance(node, AsyncNode)

    def _check_node(self, node: Any) -> None:
        if not isinstance(node, Node):
            raise TypeError(f"node is a horus.Node or a horus.AsyncNode, not {type(node).__name__}")
        node._check_methods()
