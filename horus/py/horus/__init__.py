# SPDX-License-Identifier: Apache-2.0
"""Horus: nodes with ticks on a real-time scheduler, from Python. docs/python.md describes
everything.

    import horus

    class Blink(horus.Node):
        def tick(self):
            self.send("led", True)

    horus.run(Blink(), duration=1.0)
"""

import asyncio
import typing

from horus import _core, _loop, aio, messages
from horus._async import AsyncNode, AsyncScheduler
from horus._bag import Bag, BagMessage, BagTopic, read
from horus._config import RobotPreset, SchedulerConfig
from horus._files import File
from horus._files import open  # noqa: F401 (not in __all__)
from horus._hub import Hub, Link, Loan, Publisher, Subscriber, View
from horus._io import Datagram, UdpSocket, Watch, WatchEvent
from horus._loop import EventLoop, new_event_loop
from horus._message import array, boolean, char, enumeration, sequence, stamp, tail, text  # noqa: F401 (not in __all__)
from horus._message import describe, f32, f64, i8, i16, i32, i64, identity, message, u8, u16, u32, u64
from horus._node import Node
from horus._reactor import Reactor
from horus._recording import Recording
from horus._scheduler import Scheduler, run, set_log_level


if typing.TYPE_CHECKING:

    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
        """asyncio.set_event_loop_policy(horus.EventLoopPolicy()): asyncio then makes Horus' loops."""


def __getattr__(name: str) -> object:
    if name == "EventLoopPolicy":
        return _loop.event_loop_policy()
    raise AttributeError(f"module 'horus' has no attribute {name!r}")


__version__: str = _core.version

# Without open, array, text and their like: `from horus import *` leaves Python's own in place.
__all__ = [
    "AsyncNode",
    "AsyncScheduler",
    "Bag",
    "BagMessage",
    "BagTopic",
    "Datagram",
    "EventLoop",
    "File",
    "Hub",
    "Link",
    "Loan",
    "Node",
    "Publisher",
    "Reactor",
    "Recording",
    "RobotPreset",
    "Scheduler",
    "SchedulerConfig",
    "Subscriber",
    "UdpSocket",
    "View",
    "Watch",
    "WatchEvent",
    "aio",
    "describe",
    "f32",
    "f64",
    "i16",
    "i32",
    "i64",
    "i8",
    "identity",
    "message",
    "messages",
    "new_event_loop",
    "read",
    "run",
    "set_log_level",
    "u16",
    "u32",
    "u64",
    "u8",
]
