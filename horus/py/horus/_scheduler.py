# SPDX-License-Identifier: Apache-2.0
"""Scheduler: runs nodes on the thread that calls run(). Any thread and any signal handler may call
the other methods, before or during a run."""

import asyncio
import atexit
import inspect
import os
import signal
import threading
import time
import weakref
from typing import (
    Any,
    Callable,
    Coroutine,
    Dict,
    List,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
    overload,
)

from horus import _check, _core, _recording
from horus import _hub as _hub  # noqa: F401 (before what follows: hubs end after the nodes)
from horus._config import ConfigLike, SchedulerConfig, core_of
from horus._node import CppNode, Node
from horus._topics import Board

T = TypeVar("T")
N = TypeVar("N", bound=Union[Node, _core.NodeBase])
_LONGEST_S = 1e9
_cpp_nodes: "weakref.WeakSet[_core.NodeBase]" = weakref.WeakSet()  # those in schedulers
_EXIT_LIMIT_S = 5.0  # for all that run in daemon threads when the program ends


class _Signals:
    """While it lasts, a signal wakes the loop, and SIGTERM, where it would kill, stops. Main thread
    only; else nothing."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self.fd = -1

    def __enter__(self) -> "_Signals":
        if threading.current_thread() is not threading.main_thread():
            return self
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._former_fd = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self._took_sigterm = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        if self._took_sigterm:
            signal.signal(signal.SIGTERM, lambda number, frame: self._stop())
        return self

    def heard(self) -> None:
        """Called by the loop; the signals' own handlers run on the way and may raise."""
        try:
            os.read(self.fd, 4096)
        except BlockingIOError:
            pass

    def __exit__(self, *_error: Any) -> None:
        if self.fd < 0:
            return
        if self._took_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.set_wakeup_fd(self._former_fd)
        os.close(self.fd)
        os.close(self._write_fd)


class _Running:
    """Those that run when the interpreter ends, in daemon threads, are stopped while it can still
    call their nodes' shutdown()."""

    now: "set[_Running]" = set()

    def __init__(self, scheduler: "Scheduler") -> None:
        self.scheduler = scheduler
        self.ended = threading.Event()

    def __enter__(self) -> None:
        self.now.add(self)

    def __exit__(self, *_error: Any) -> None:
        self.now.discard(self)
        self.ended.set()

    @classmethod
    def stop_all(cls) -> None:
        running = list(cls.now)
        for run in running:
            run.scheduler.stop()
        deadline = time.monotonic() + _EXIT_LIMIT_S
        for run in running:
            run.ended.wait(max(0.0, deadline - time.monotonic()))


atexit.register(_Running.stop_all)


def _seconds(duration: Optional[float]) -> Optional[float]:
    return (
        None if duration is None else _check.number("duration", duration, 0, _LONGEST_S, "seconds")
    )


class Scheduler:
    """Releases nodes at their rates, keeps statistics of them, and stops them in order.

    `config`: a SchedulerConfig, or the path of a TOML or YAML file; without it the standard preset.
    As a context manager it closes itself.

        scheduler = horus.Scheduler(horus.SchedulerConfig.high_performance())
        scheduler.add(Camera(), priority=1)
        scheduler.run(duration=10.0)
    """

    def __init__(self, config: ConfigLike = None) -> None:
        self._core = _core.Scheduler(core_of(config))
        self._nodes: List[Union[Node, CppNode]] = []
        self._explicit: List[bool] = []
        self._board = _board_of(self._core)

    @classmethod
    def from_config(cls, config: Union[SchedulerConfig, str, "os.PathLike[str]"]) -> Any:
        """The same as Scheduler(config)."""
        return cls(config)

    # --- Building

    def add(
        self,
        node: N,
        priority: Optional[int] = None,
        logging_enabled: bool = True,
        *,
        rate: Optional[float] = None,
        deadline_ms: Optional[float] = None,
        budget_ms: Optional[float] = None,
        watchdog_ms: Optional[float] = None,
        on_miss: str = "warn",
        on_budget: str = "warn",
        overrun: str = "skip",
        critical: bool = False,
        circuit_breaker: Optional[bool] = None,
        auto_restart: Optional[bool] = None,
        restart_delay_ms: Optional[float] = None,
        restart_longest_delay_ms: Optional[float] = None,
        restart_within_ms: Optional[float] = None,
        max_restarts: Optional[int] = None,
        restart_for_ever: Optional[bool] = None,
        keep_in_emergency: bool = False,
    ) -> N:
        """Adds a node before the run, and returns it.

        priority: 0 first; default 100. rate: Hz, above 0 to 100 000. deadline_ms (grid point to
        end) and budget_ms (execution): 0 to 10 000, 0: none. watchdog_ms: 10 to 60 000, at least 3
        periods. on_miss, on_budget: warn, skip, degrade, cancel (deadlines of AsyncNodes only),
        safe_mode, stop. overrun: skip, queue, cancel. keep_in_emergency: the node only observes,
        and keeps ticking and sending during an emergency stop.

        auto_restart: a node that fails again and again is restarted with shutdown() and init().
        Each of the following settings implies auto_restart, and overrides the scheduler's setting.
        The pause before a restart is restart_delay_ms, doubling up to restart_longest_delay_ms.
        After max_restarts, and restart_within_ms after the first failure, the node stays stopped;
        with restart_for_ever it never does, for a device that is unplugged and comes back. A
        critical node that is not back within 3 x its watchdog (3 s without one) trips the emergency
        stop, and the restarts continue after the reset.

        Errors: TypeError, ValueError (also for a name that is taken), RuntimeError while it
        runs."""
        self._core.check_building("add()")
        kept: Any = node
        if isinstance(node, _core.NodeBase):
            kept = CppNode(node)
            if node in _cpp_nodes:
                raise ValueError(f"node {kept.name!r} is in a scheduler already")
        else:
            self._check_node(node)
        state = kept._horus
        if state.board is not None:
            raise ValueError(f"node {kept.name!r} is in a scheduler already")

        def maybe(
            what: str, value: Optional[float], low: float, high: float, unit: str
        ) -> Optional[float]:
            return None if value is None else _check.number(what, value, low, high, unit)

        explicit = state.name is not None
        options: Dict[str, Any] = {
            "rate": maybe("rate", state.rate if rate is None else rate, 0.001, 100_000, "Hz"),
            "priority": None
            if priority is None
            else _check.integer("priority", priority, -(2**31), 2**31 - 1),
            "deadline_ms": maybe("deadline_ms", deadline_ms, 0, 10_000, "ms"),
            "budget_ms": maybe("budget_ms", budget_ms, 0, 10_000, "ms"),
            "watchdog_ms": maybe("watchdog_ms", watchdog_ms, 10, 60_000, "ms"),
            "on_miss": _check.text("on_miss", on_miss),
            "on_budget": _check.text("on_budget", on_budget),
            "overrun": _check.text("overrun", overrun),
            "critical": _check.flag("critical", critical),
            "circuit_breaker": None
            if circuit_breaker is None
            else _check.flag("circuit_breaker", circuit_breaker),
            "auto_restart": None
            if auto_restart is None
            else _check.flag("auto_restart", auto_restart),
            "restart_delay_ms": maybe("restart_delay_ms", restart_delay_ms, 0, 86_400_000, "ms"),
            "restart_longest_delay_ms": maybe(
                "restart_longest_delay_ms", restart_longest_delay_ms, 0, 86_400_000, "ms"
            ),
            "restart_within_ms": maybe("restart_within_ms", restart_within_ms, 0, 86_400_000, "ms"),
            "max_restarts": None
            if max_restarts is None
            else _check.integer("max_restarts", max_restarts, 0, 1_000_000),
            "restart_for_ever": None
            if restart_for_ever is None
            else _check.flag("restart_for_ever", restart_for_ever),
            "keep_in_emergency": _check.flag("keep_in_emergency", keep_in_emergency),
            "logging": _check.flag("logging_enabled", logging_enabled),
        }
        if on_budget == "cancel":
            raise ValueError(
                "on_budget cannot be 'cancel', which needs a suspension point; use a deadline"
            )
        name = self._free_name(kept.name, explicit)
        self._core.add(node, name, isinstance(node, Node) and self._is_async(node), **options)
        self._nodes.append(kept)
        self._explicit.append(explicit)
        state.keeps = keep_in_emergency
        kept._attach(name, self._board, logging_enabled)
        if isinstance(node, _core.NodeBase):
            _cpp_nodes.add(node)
        return node

    def connect(self, source: str, out: str, target: str, into: str) -> None:
        """Connects the topic `out` of `source` with the topic `into` of `target`, which then
        receives only from topics connected to it. Nodes are given by name. Errors: ValueError for
        an unknown node, TypeError when only one of the two is a C++ node: such nodes meet on a
        hub."""
        source_node, target_node = self._node(source), self._node(target)
        of_cpp = [isinstance(node, CppNode) for node in (source_node, target_node)]
        if all(of_cpp):
            return self._core.connect(source, out, target, into)
        if any(of_cpp):
            raise TypeError(
                f"{source!r} and {target!r}: one is a node of C++ and one of Python. Their topics meet "
                "on a hub: scheduler.use_hub(hub), and hub.advertise() or hub.subscribe() in the "
                "Python node"
            )
        self._board.connect(
            source_node, _check.text("out", out), target_node, _check.text("into", into)
        )

    def use_hub(self, hub: _hub.Hub) -> None:
        """Sets the hub in which the topics of C++ nodes meet others, among them Python's on the
        same hub. Call it before the run. Topics of Python nodes (send, recv) stay in the scheduler,
        where objects are passed by reference. Errors: RuntimeError when the hub is closed or the
        scheduler runs."""
        self._core.use_hub(hub._core)

    def record(
        self,
        path: Union[str, "os.PathLike[str]"],
        *,
        topics: Sequence[str] = (),
        left_out: Sequence[str] = (),
        compressed: bool = True,
        max_waiting_bytes: int = _recording.DEFAULT_WAITING_BYTES,
    ) -> None:
        """Records what the hubs' publishers of this process send during a run, as horus.Recording
        does. Call it before the run, which fails when the file exists or cannot be made. Errors:
        RuntimeError while the scheduler runs."""
        self._core.record(
            os.fspath(path),
            _recording.patterns("topics", topics),
            _recording.patterns("left_out", left_out),
            compressed,
            max_waiting_bytes,
        )

    # --- Running

    def run(self, duration: Optional[float] = None) -> None:
        """Runs until stop(), Ctrl-C, SIGTERM, or for `duration` seconds. Then it calls every node's
        shutdown(), in reverse order.

        Ctrl-C raises KeyboardInterrupt after the shutdown; it also interrupts a tick that takes
        long. A second Ctrl-C calls every enter_safe_state() and interrupts the running shutdown().
        Your own signal handlers run as usual; they may call stop(). When a node's init() raises,
        and the node does not restart, run() raises that exception. Errors: RuntimeError when the
        scheduler cannot start, when one already runs on this thread, or when the end took longer
        than its limits."""
        with _Running(self), _Signals(self.stop) as signals:
            result = self._core.run(_seconds(duration), signals.fd, signals.heard)
        self._finish(result)

    def tick_once(self) -> None:
        """Starts the nodes if that has not been done, ticks each once, in order, and waits for
        them. run() or close() shuts them down, on the same thread. Errors: as run()."""
        self._finish(self._core.tick_once())

    def close(self) -> None:
        """Shuts down the nodes that tick_once() has started; it does nothing else."""
        self._finish(self._core.close())

    def stop(self) -> None:
        """Ends the run gracefully. Any thread, any signal handler. Before a run, it makes that run
        end at once."""
        self._core.stop()

    def emergency_stop(self) -> None:
        """Stops all action until reset_emergency_stop(): only nodes with keep_in_emergency are
        released, messages of the others go nowhere, and every enter_safe_state() is called by
        priority."""
        self._core.emergency_stop()

    def reset_emergency_stop(self) -> None:
        """Releases nodes again; only this call does. Messages sent to them meanwhile are dropped,
        so no command given during the stop is carried out."""
        self._board.reset(self._core.reset_emergency_stop)

    @property
    def emergency_stopped(self) -> bool:
        """Whether an emergency stop is in force."""
        return bool(self._core.emergency_stopped())

    # --- One node; ValueError names those that there are

    def pause(self, name: str) -> None:
        """The node is no longer released."""
        self._core.pause(_check.text("name", name))

    def resume(self, name: str) -> None:
        """Releases the node again. Its queues have kept messages that arrived meanwhile, except
        those with overflow="latest"."""
        node = self._node(name)
        if isinstance(node, Node):
            self._board.forget_latest(node)
        self._core.resume(name)

    def restart(self, name: str) -> None:
        """Calls the node's shutdown(), then init(). Before the run it does nothing."""
        self._core.restart(_check.text("name", name))

    def open_circuit(self, name: str) -> None:
        """Keeps the node from ticking until reset_circuit()."""
        self._core.open_circuit(_check.text("name", name))

    def reset_circuit(self, name: str) -> None:
        """Closes the node's circuit breaker and forgets its failures."""
        self._core.reset_circuit(_check.text("name", name))

    def set_node_deadline(self, name: str, deadline_ms: Optional[float]) -> None:
        """From the grid point to the end of a tick: above 0 to 10 000 ms; 0 or None: none."""
        limit = (
            0.0
            if deadline_ms is None
            else _check.number("deadline_ms", deadline_ms, 0, 10_000, "ms")
        )
        self._core.set_node_deadline(_check.text("name", name), limit)

    def set_node_watchdog(self, name: str, enabled: bool, timeout_ms: float = 1000) -> None:
        """Longest time between two successful ticks: 10 to 60 000 ms, and at least 3 periods."""
        timeout = _check.number("timeout_ms", timeout_ms, 10, 60_000, "ms")
        self._core.set_node_watchdog(
            _check.text("name", name), _check.flag("enabled", enabled), timeout
        )

    # --- Questions

    def get_node_names(self) -> List[str]:
        """In the order of addition."""
        return [node.name for node in self._nodes]

    def get_node_stats(self, name: str) -> Dict[str, Any]:
        """The statistics of one node; docs/python.md lists the keys. ValueError for an unknown
        name."""
        stats = self._core.statistics(self._node(name).name)
        assert stats is not None
        return self._with_messages(stats)

    def get_all_nodes(self) -> List[Dict[str, Any]]:
        """The statistics of all nodes, in the order of addition."""
        return [self._with_messages(node) for node in self._core.all_statistics()]

    def status(self) -> str:
        """A table of all nodes for a person."""
        return str(self._core.status())

    # --- Inside

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_error: Any) -> None:
        self.close()

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None and core.started_here():
            core.close()

    def _is_async(self, node: Node) -> bool:
        return False

    def _check_node(self, node: Any) -> None:
        if not isinstance(node, Node):
            raise TypeError(f"node is a horus.Node, not {type(node).__name__}")
        if hasattr(node, "tick_async"):
            raise TypeError(
                f"node {node.name!r} is a horus.AsyncNode: add it to a horus.AsyncScheduler"
            )
        node._check_methods()

    def _finish(self, result: Tuple[int, Optional[BaseException], str]) -> None:
        code, error, problem = result
        if error is not None:
            raise error
        if code == 75:
            raise RuntimeError(
                "the end of the run took longer than its limits (5 s, shutdown_limit); the log says who"
            )
        if code != 0:
            raise RuntimeError(f"the scheduler could not start: {problem or 'the log says why'}")

    def _free_name(self, name: str, explicit: bool) -> str:
        names = self.get_node_names()
        if name not in names:
            return name
        if not explicit:
            return self._numbered(name, names)
        other = names.index(name)
        if self._explicit[other]:
            raise ValueError(f"a node is named {name!r} already; give one of the two another name")
        renamed = self._numbered(name, names)  # that one has its name from its class
        self._core.rename(other, renamed)
        self._nodes[other]._horus.name = renamed
        return name

    @staticmethod
    def _numbered(name: str, names: List[str]) -> str:
        count = 2
        while f"{name}_{count}" in names:
            count += 1
        return f"{name}_{count}"

    def _node(self, name: str) -> Union[Node, CppNode]:
        _check.text("name", name)
        for node in self._nodes:
            if node.name == name:
                return node
        raise ValueError(
            f"no node is named {name!r}; there are: {', '.join(self.get_node_names()) or 'none'}"
        )

    def _with_messages(self, stats: Dict[str, Any]) -> Dict[str, Any]:
        node = self._node(stats["name"])
        if isinstance(node, Node):
            stats.update(self._board.account(node))
        return stats


def _board_of(core: Any) -> Board:
    """Nodes hold the board, and must not hold the scheduler."""
    behind = weakref.ref(core)

    def stopped() -> bool:
        scheduler = behind()
        return scheduler is not None and scheduler.emergency_stopped()

    def keeps_on(node: Any) -> bool:
        scheduler = behind()
        return scheduler is None or scheduler.keeps_in_emergency(node.name, node._horus.keeps)

    def isolated(node: Any) -> bool:
        scheduler = behind()
        return scheduler is not None and scheduler.is_isolated(node.name)

    return Board(stopped, keeps_on, isolated)


def _check_runnable(node: Any) -> None:
    """What can be mistaken for a coroutine."""
    name = getattr(node, "__qualname__", type(node).__qualname__)
    if inspect.isasyncgen(node) or inspect.isasyncgenfunction(node):
        raise TypeError(
            f"{name} has a yield: it is an asynchronous generator, and run() takes a coroutine"
        )
    if inspect.isawaitable(node) and not inspect.iscoroutine(node):
        raise TypeError(
            f"run() takes a coroutine, not a {type(node).__name__}: await it in an async def main(), "
            "and write horus.run(main())"
        )


@overload
def run(main: Coroutine[Any, Any, T], /) -> T: ...


@overload
def run(
    *nodes: Union[Node, _core.NodeBase], duration: Optional[float] = None, config: ConfigLike = None
) -> None: ...


def run(*nodes: Any, duration: Optional[float] = None, config: ConfigLike = None) -> Any:
    """Runs these nodes together: it makes a Scheduler (an AsyncScheduler if one of them is an
    AsyncNode), adds them and runs it. With a coroutine instead of nodes, it works like
    asyncio.run() on Horus' own event loop, and returns the coroutine's value."""
    from horus._async import AsyncNode, AsyncScheduler
    from horus._loop import new_event_loop

    for function in nodes:
        _check_runnable(function)
        if inspect.isroutine(function) or isinstance(function, type):
            name = function.__name__
            what = "a class" if isinstance(function, type) else "a function"
            raise TypeError(f"{name} is {what}; call it: horus.run({name}())")
    if len(nodes) == 1 and inspect.iscoroutine(nodes[0]):
        if duration is not None or config is not None:
            nodes[0].close()
            raise TypeError("duration and config are for nodes; a coroutine runs until it returns")
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(nodes[0])
    if not nodes:
        raise TypeError("run() needs at least one node, or a coroutine")
    coroutines = [node for node in nodes if inspect.iscoroutine(node)]
    for coroutine in coroutines:
        coroutine.close()
    if coroutines:
        raise TypeError(
            "run() takes one coroutine, or nodes: start further ones in it, with asyncio.TaskGroup()"
        )
    kind = AsyncScheduler if any(isinstance(node, AsyncNode) for node in nodes) else Scheduler
    scheduler = kind(config)
    for node in nodes:
        scheduler.add(node)
    scheduler.run(duration)
    return None


def set_log_level(level: int) -> None:
    """Sets the lowest level of Horus' own lines on stderr, as in `logging`: logging.WARNING.
    Default: INFO, or HORUS_LOG."""
    _core.set_log_level(_check.integer("level", level, 0, 100))
