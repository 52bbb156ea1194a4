# SPDX-License-Identifier: Apache-2.0
"""Horus: nodes with ticks on a real-time scheduler, from Python. docs/python.md tells the whole
story.

    import horus

    class Blink(horus.Node):
        def tick(self):
            self.send("led", True)

    horus.run(Blink(), duration=1.0)
"""

from horus import _core, messages
from horus._async import AsyncNode, AsyncScheduler
from horus._config import RobotPreset, SchedulerConfig
from horus._hub import Hub, Link, Publisher, Subscriber
from horus._node import Node
from horus._scheduler import Scheduler, run, set_log_level

__version__: str = _core.version

__all__ = [
    "AsyncNode",
    "AsyncScheduler",
    "Hub",
    "Link",
    "Node",
    "Publisher",
    "RobotPreset",
    "Scheduler",
    "SchedulerConfig",
    "Subscriber",
    "messages",
    "run",
    "set_log_level",
]
