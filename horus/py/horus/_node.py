# SPDX-License-Identifier: Apache-2.0
"""Node: the base class of users' nodes; a function can become one too. The scheduler calls a node
on the thread that runs; any thread may call `send` and `recv`."""

import inspect
import logging
import re
import time
from typing import Any, Callable, Iterable, List, Optional

from horus import _check
from horus._topics import DEPTH, Board, Inbox, MutePass

_QUIET_SECONDS = 1.0  # between two tracebacks of one node


class _State:
    """What Horus keeps about a node; apart from the attributes of the user's class."""

    def __init__(self) -> None:
        self.name: Optional[str] = None
        self.rate: Optional[float] = None
        self.functions: "dict[str, Callable[..., Any]]" = {}
        self.wanted: "dict[str, tuple[int, str, bool]]" = {}  # subscriptions from before it was added
        self.board: Optional[Board] = None
        self.keeps = False  # it acts on during an emergency stop
        self.logs = True
        self.logged_at: Optional[float] = None
        self.held_back = 0
        self.worker: Any = None  # of an AsyncNode, while it runs


class CppNode:
    """Stands for a node of C++, from a user's own extension module, among the scheduler's."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self._horus = _State()
        self._horus.name = node.cpp_name or None

    @property
    def name(self) -> str:
        return self._horus.name or _class_name(self.node)

    def _attach(self, name: str, board: Board, logs: bool) -> None:
        self._horus.name = name
        self._horus.board = board


def _class_name(node: Any) -> str:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(node).__name__)
    return name.lower()


class Node:
    """A unit of work that the scheduler calls at a rate.

    Derive from it and write `tick()`, or pass a function that takes the node: `Node("blink",
    tick=blink, rate=2)`.

    `init()` runs once before the first tick, `shutdown()` once at the end. `on_error(error)` runs
    after a failed tick, with the exception that it raised. `enter_safe_state()` runs at an
    emergency stop, or when the watchdog isolates the node: put the hardware into a safe state
    there, and wait for nothing. This hook needs the interpreter, so a tick that holds the GIL (a C
    call that does not release it) delays the hook; write hooks that must not wait in C++.

    A tick that raises is a failed tick: it is counted, and logged with its traceback as
    `horus.<name>`, at most once a second.

    `rate` is in Hz, above 0 to 100 000; without one the scheduler's `tick_rate` applies. `subs`
    names topics to subscribe to from the start. `pubs` names the topics that the node sends, for
    readers of the code.
    Errors: TypeError and ValueError for wrong arguments."""

    _horus: _State

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> "Node":
        node = super().__new__(cls)
        node._horus = _State()  # here, so that a class that forgets super().__init__() works
        return node

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        rate = vars(cls).get("rate")
        if isinstance(rate, (int, float)):
            raise TypeError(
                f"rate = {rate!r} in class {cls.__name__} is not looked at: super().__init__(rate={rate!r}), "
                f"or scheduler.add(node, rate={rate!r})"
            )

    def __init__(
        self,
        name: Optional[str] = None,
        tick: Optional[Callable[["Node"], Any]] = None,
        rate: Optional[float] = None,
        *,
        init: Optional[Callable[["Node"], Any]] = None,
        shutdown: Optional[Callable[["Node"], Any]] = None,
        on_error: Optional[Callable[["Node", BaseException], Any]] = None,
        subs: Iterable[str] = (),
        pubs: Iterable[str] = (),
    ) -> None:
        state = self._horus
        if name is not None:
            state.name = _check.text("name", name)
        if rate is not None:
            state.rate = _check.number("rate", rate, 0.001, 100_000, "Hz")
        given = {"tick": tick, "init": init, "shutdown": shutdown, "on_error": on_error}
        for phase, function in given.items():
            if function is not None:
                state.functions[phase] = _check.function(phase, function)
        for topics in (subs, pubs):
            if isinstance(topics, str):
                raise TypeError(f"subs and pubs are lists of topics, not the str {topics!r}")
        for topic in subs:
            self.subscribe(topic)
        for topic in pubs:
            _check.text("topic", topic)

    # --- What users write

    def init(self) -> Any:
        """Runs once before the first tick. An exception ends the run, unless the node restarts."""
        return self._call("init")

    def tick(self) -> Any:
        """Runs once per release. It must return soon, because all other nodes of this scheduler
        wait."""
        return self._call("tick")

    def shutdown(self) -> Any:
        """Runs once at the end, nodes in reverse order, also after Ctrl-C."""
        return self._call("shutdown")

    def enter_safe_state(self) -> Any:
        """Runs at an emergency stop, perhaps on another thread while a tick hangs."""

    def on_error(self, error: BaseException) -> Any:
        """Runs after a failed tick."""
        if "on_error" in self._horus.functions:
            self._horus.functions["on_error"](self, error)

    # --- What users call

    @property
    def name(self) -> str:
        """The given name, or the class's in snake_case; repeated names get _2, _3 appended."""
        return self._horus.name or _class_name(self)

    @name.setter
    def name(self, name: str) -> None:
        if self._horus.board is not None:
            raise RuntimeError(f"node {self.name!r} is in a scheduler; its name stays")
        self._horus.name = _check.text("name", name)

    @property
    def rate(self) -> Optional[float]:
        """Hz as given to the constructor; None: the scheduler's `tick_rate`, or event-driven."""
        return self._horus.rate

    @rate.setter
    def rate(self, rate: Any) -> None:
        raise AttributeError(
            f"rate of node {self.name!r} is set by super().__init__(rate={rate!r}), or "
            f"scheduler.add(node, rate={rate!r})"
        )

    def send(self, topic: str, message: Any) -> bool:
        """Passes the object itself to every node that has subscribed to `topic`. Never blocks. Any
        thread.

        False when a subscriber with overflow="drop_newest" had no room, while the node's watchdog
        has isolated it, and during an emergency stop. (Then only enter_safe_state() and nodes with
        keep_in_emergency can send.) RuntimeError before the node is in a scheduler."""
        return self._board().send(self, _check.text("topic", topic), message)

    def recv(self, topic: str, default: Any = None) -> Any:
        """The oldest waiting message, else `default`. The first call subscribes, unless `subs` or
        connect() did."""
        return self._inbox(topic).take(default)

    def recv_all(self, topic: str) -> List[Any]:
        """All waiting messages, the oldest first."""
        return self._inbox(topic).take_all()

    def has_msg(self, topic: str) -> bool:
        """Whether recv() would give a message."""
        return self._inbox(topic).waits()

    def subscribe(
        self,
        topic: str,
        depth: int = DEPTH,
        overflow: str = "drop_oldest",
        keep_in_emergency: bool = False,
    ) -> None:
        """Subscribes with a queue of `depth` messages, 1 to 65536. A full queue loses its oldest
        message ("drop_oldest"), all but the newest ("latest") or the new one ("drop_newest"). A
        second call changes the existing queue. An emergency stop holds the queue, and the reset
        empties it unless `keep_in_emergency` is set (a map, parameters)."""
        Inbox(depth, overflow)  # checks them
        _check.text("topic", topic)
        keeps = _check.flag("keep_in_emergency", keep_in_emergency)
        if self._horus.board is None:
            self._horus.wanted[topic] = (depth, overflow, keeps)
        else:
            self._inbox(topic).shape(depth, overflow)
            self._inbox(topic).keeps = keeps

    # --- What the scheduler calls

    def _enter_safe_state(self) -> None:
        with MutePass():
            self.enter_safe_state()

    def _call(self, phase: str) -> Any:
        function = self._horus.functions.get(phase)
        return None if function is None else function(self)

    def _mistake(self, phase: str, result: Any) -> Optional[TypeError]:
        """Whatever runs only when it is awaited or iterated has not run."""
        if inspect.iscoroutine(result) or inspect.isgenerator(result):
            result.close()
        elif not (inspect.isawaitable(result) or inspect.isasyncgen(result)):
            return None
        return TypeError(
            f"{phase}() of node {self.name!r} gave a {type(result).__name__}, which nobody awaits: "
            "derive from horus.AsyncNode and await it in tick_async()"
        )

    def _board(self) -> Board:
        if self._horus.board is None:
            raise RuntimeError(
                f"node {self.name!r} is in no scheduler yet; messages begin with Scheduler.add()"
            )
        return self._horus.board

    def _inbox(self, topic: str) -> Inbox:
        return self._board().inbox(self, _check.text("topic", topic))

    def _attach(self, name: str, board: Board, logs: bool) -> None:
        self._horus.name = name
        self._horus.board = board
        self._horus.logs = logs
        for topic, (depth, overflow, keeps) in self._horus.wanted.items():
            board.inbox(self, topic).shape(depth, overflow)
            board.inbox(self, topic).keeps = keeps
        self._horus.wanted.clear()

    def _check_methods(self) -> None:
        kind = type(self)
        functions = self._horus.functions
        if kind.tick is Node.tick and "tick" not in functions and "tick" not in vars(self):
            raise TypeError(
                f"{kind.__name__} has no tick(); write one, or Node(name, tick=function)"
            )
        for phase, own in (("tick", ()), ("init", ()), ("shutdown", ()), ("on_error", (None,))):
            method = functions.get(phase) or getattr(self, phase)
            if inspect.iscoroutinefunction(method):
                raise TypeError(
                    f"{phase}() of node {self.name!r} is async: derive from horus.AsyncNode, write "
                    "tick_async(), and add it to a horus.AsyncScheduler"
                )
            self._check_call(phase, method, (self, *own) if phase in functions else own)

    def _check_call(self, phase: str, method: Any, arguments: "tuple[Any, ...]") -> None:
        """Mistakes that would show only when it is called, or never."""
        if not callable(method):
            raise TypeError(
                f"{phase} of node {self.name!r} is a {type(method).__name__}, not a function"
            )
        if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            raise TypeError(
                f"{phase}() of node {self.name!r} contains a yield, so calling it runs nothing; return "
                "instead, or derive from horus.AsyncNode and await"
            )
        try:
            signature = inspect.signature(method)
        except (TypeError, ValueError):  # a function of C that says nothing
            return
        try:
            signature.bind(*arguments)
        except TypeError as error:
            given = {"on_error": "the error"}.get(phase, "nothing but self")
            if phase in self._horus.functions:
                given = "the node" + (" and the error" if phase == "on_error" else "")
            raise TypeError(
                f"{phase}{signature} of node {self.name!r} is called with {given}: {error}"
            ) from None

    def _report(self, error: BaseException, phase: str) -> str:
        """Logs a failure with its traceback, at most once a second for ticks; gives its line."""
        line = "".join((type(error).__name__, ": " if str(error) else "", str(error)))
        state = self._horus
        if not state.logs:
            return line
        now = time.monotonic()
        if (
            phase == "tick"
            and state.logged_at is not None
            and now - state.logged_at < _QUIET_SECONDS
        ):
            state.held_back += 1
            return line
        more = f" ({state.held_back} more since)" if state.held_back else ""
        if phase == "tick":
            state.logged_at, state.held_back = now, 0
        logging.getLogger(f"horus.{self.name}").error(
            "%s: %s failed: %s%s", self.name, phase, line, more, exc_info=error
        )
        return line
