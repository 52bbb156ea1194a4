# SPDX-License-Identifier: Apache-2.0
"""Messages between the Python nodes of one scheduler: objects by reference, bounded queues. Any
thread may send and receive. Per queue `sent = delivered + dropped + queued` holds at every
moment.

An emergency stop means the same here as for nodes of C++: what a node sends goes nowhere, what it
is sent waits, and at the reset its queues are empty. What a node sends that its watchdog has
isolated goes nowhere either."""

import threading
from collections import deque
from typing import Any, Callable, Dict, Optional, Tuple

from horus import _check

DEPTH = 16
MAX_DEPTH = 65_536
OVERFLOWS = ("drop_oldest", "latest", "drop_newest")
# Reentrant: a signal handler may send while its thread is inside.
_lock = threading.RLock()


class _Passes(threading.local):
    """Of the thread: whether it is in a safe-state hook, which may tell the motor to stand still."""

    hooks = 0


_passes = _Passes()


class MutePass:
    """While it lasts, what this thread sends passes the mute of its node."""

    def __enter__(self) -> None:
        _passes.hooks += 1

    def __exit__(self, *_: Any) -> None:
        _passes.hooks -= 1


def _never() -> bool:
    return False


class Inbox:
    """One subscriber's queue of one topic."""

    def __init__(
        self, depth: int = DEPTH, overflow: str = "drop_oldest", keeps: bool = False
    ) -> None:
        self.keeps = keeps  # an emergency stop neither holds nor empties it
        self.owner_is_held: Callable[[], bool] = _never
        self.queue: "deque[Any]" = deque()
        self.sent = self.delivered = self.dropped = 0
        self.on_message: Optional[Callable[[], None]] = None
        self.shape(depth, overflow)

    def shape(self, depth: int, overflow: str) -> None:
        """Sets what it holds; what is too much goes, the oldest first."""
        if overflow not in OVERFLOWS:
            raise ValueError(f"overflow is one of {', '.join(OVERFLOWS)}, not {overflow!r}")
        _check.integer("depth", depth, 1, MAX_DEPTH)
        with _lock:
            self.depth = 1 if overflow == "latest" else depth
            self.overflow = overflow
            while len(self.queue) > self.depth:
                self.queue.popleft()
                self.dropped += 1

    def put(self, message: Any) -> bool:
        with _lock:
            self.sent += 1
            if len(self.queue) >= self.depth:
                self.dropped += 1
                if self.overflow == "drop_newest":
                    return False
                self.queue.popleft()
            self.queue.append(message)
            tell = self.on_message
        if tell is not None:
            tell()
        return True

    def waits(self) -> bool:
        """Whether take() gives a message."""
        return bool(self.queue) and (self.keeps or not self.owner_is_held())

    def discard(self) -> None:
        with _lock:
            self.dropped += len(self.queue)
            self.queue.clear()

    def take(self, default: Any = None) -> Any:
        with _lock:
            if not self.waits():
                return default
            self.delivered += 1
            return self.queue.popleft()

    def take_all(self) -> "list[Any]":
        with _lock:
            if not self.waits():
                return []
            messages = list(self.queue)
            self.queue.clear()
            self.delivered += len(messages)
            return messages


class Board:
    """The topics of one scheduler and what connects its nodes. Nodes are told apart by what is
    given as `node`. `stopped`: whether an emergency stop is in force; `keeps_on`: whether it leaves
    that node alone; `isolated`: whether its watchdog has isolated that node."""

    def __init__(
        self,
        stopped: Callable[[], bool] = _never,
        keeps_on: Callable[[Any], bool] = lambda _: True,
        isolated: Callable[[Any], bool] = lambda _: False,
    ) -> None:
        self._stopped, self._keeps_on, self._isolated = stopped, keeps_on, isolated
        self._topics: Dict[str, Tuple[Inbox, ...]] = {}
        self._inboxes: Dict[Tuple[Any, str], Inbox] = {}
        self._wires: Dict[Tuple[Any, str], Tuple[Inbox, ...]] = {}
        self._wired: "set[Tuple[Any, str]]" = set()
        self._sent: Dict[Any, int] = {}

    def send(self, node: Any, topic: str, message: Any) -> bool:
        if not _passes.hooks and self._is_muted(node):
            return False
        with _lock:
            self._sent[node] = self._sent.get(node, 0) + 1
            inboxes = self._topics.get(topic, ()) + self._wires.get((node, topic), ())
        queued = True
        for inbox in inboxes:
            queued = inbox.put(message) and queued
        return queued

    def _is_muted(self, node: Any) -> bool:
        return self._isolated(node) or (self._stopped() and not self._keeps_on(node))

    def inbox(self, node: Any, topic: str) -> Inbox:
        """The queue of a node for a topic, made by the first who asks."""
        with _lock:
            found = self._inboxes.get((node, topic))
            if found is not None:
                return found
            inbox = self._inboxes[node, topic] = Inbox()
            inbox.owner_is_held = lambda: self._stopped() and not self._keeps_on(node)
            self._topics[topic] = self._topics.get(topic, ()) + (inbox,)
            return inbox

    def connect(self, source: Any, out: str, target: Any, into: str) -> None:
        """`into` then hears only what is connected to it."""
        with _lock:
            inbox = self.inbox(target, into)
            if (target, into) not in self._wired:
                self._wired.add((target, into))
                self._topics[into] = tuple(box for box in self._topics[into] if box is not inbox)
            wires = self._wires.get((source, out), ())
            if inbox not in wires:
                self._wires[source, out] = wires + (inbox,)

    def reset(self, reset: Callable[[], None]) -> None:
        """Ends an emergency stop. What came during it is gone before anybody may take it."""
        with _lock:
            reset()
            for (node, _), inbox in self._inboxes.items():
                if not inbox.keeps and not self._keeps_on(node):
                    inbox.discard()

    def forget_latest(self, node: Any) -> None:
        """What is worth only as long as it is new: the node was paused."""
        with _lock:
            for (owner, _), inbox in self._inboxes.items():
                if owner is node and inbox.overflow == "latest":
                    inbox.discard()

    def account(self, node: Any) -> "dict[str, int]":
        """What a node has sent and received."""
        with _lock:
            own = [inbox for (owner, _), inbox in self._inboxes.items() if owner is node]
            return {
                "messages_sent": self._sent.get(node, 0),
                "messages_received": sum(inbox.delivered for inbox in own),
                "messages_queued": sum(len(inbox.queue) for inbox in own),
                "messages_dropped": sum(inbox.dropped for inbox in own),
            }
