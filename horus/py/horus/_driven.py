# SPDX-License-Identifier: Apache-2.0
"""What programs find that do the work of asyncio's loop by hand (nest_asyncio, debuggers): the
attributes _ready and _selector of asyncio's loops, over Horus' queue and reactor."""

import selectors
from typing import Any, List, Mapping, Optional

from horus import _core


class ReadyQueue:
    """loop._ready: the handles whose turn has come. Of a deque it has what loops use."""

    def __init__(self, loop: _core.LoopCore) -> None:
        self._loop = loop

    def __len__(self) -> int:
        return self._loop._count_ready()

    def append(self, handle: Any) -> None:
        """Behind all others."""
        self._loop._enqueue(handle)

    def popleft(self) -> Any:
        """The first. Errors: IndexError when there is none."""
        return self._loop._take_ready()

    def clear(self) -> None:
        """Nothing: close() forgets them."""

    def __repr__(self) -> str:
        return f"<{len(self)} handles of {self._loop!r}>"


class Turns:
    """loop._selector: select() is a turn of the reactor, whose events are in loop._ready then."""

    def __init__(self, loop: _core.LoopCore) -> None:
        self._loop = loop

    def select(self, timeout: Optional[float] = None) -> List[Any]:
        """Waits for something to call, at most `timeout` seconds; no events are left to process."""
        self._loop._turn(timeout)
        return []

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """As a selector's that has what add_reader() and add_writer() were given. Errors: KeyError for
        a descriptor that nobody watches."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        reader, writer = self._loop._watched(fd) if fd >= 0 else (None, None)
        events = selectors.EVENT_READ if reader is not None else 0
        events |= selectors.EVENT_WRITE if writer is not None else 0
        if events == 0:
            raise KeyError(f"{fileobj!r} is not registered")
        return selectors.SelectorKey(fileobj, fd, events, (reader, writer))

    def get_map(self) -> Mapping[Any, Any]:
        """Empty: descriptors are watched by the loop itself."""
        return {}

    def close(self) -> None:
        """Nothing."""
