# SPDX-License-Identifier: Apache-2.0
"""Recordings: what the publishers of this process send, as a file (docs/recording.md)."""

import os
from types import TracebackType
from typing import Dict, Optional, Sequence, Type, Union

from horus import _check, _core

DEFAULT_WAITING_BYTES = 64 << 20


def patterns(what: str, values: Sequence[str]) -> "list[str]":
    if isinstance(values, str):
        raise TypeError(f"{what} is a list of patterns, not one: [{values!r}]")
    return [_check.text(what, value) for value in values]


class Recording:
    """Records what the hubs' publishers of this process send, on a thread of its own, until stop()
    or the end of a `with` block:

        with horus.Recording("run.mcap", topics=["imu", "camera/*"]):
            scheduler.run()

    Foxglove, PlotJuggler, Rerun and `ros2 bag` open the file. Topics of Python nodes (send, recv)
    stay in their scheduler and are not recorded.

    Arguments: `topics` and `left_out` are patterns in which `*` stands for any characters; without
    `topics` all are recorded. `max_waiting_bytes` may wait for a slow disk; what comes then is lost,
    and counted.
    Errors: OSError with the path (FileExistsError: a file is never written over).
    Any thread."""

    def __init__(
        self,
        path: Union[str, "os.PathLike[str]"],
        *,
        topics: Sequence[str] = (),
        left_out: Sequence[str] = (),
        compressed: bool = True,
        max_waiting_bytes: int = DEFAULT_WAITING_BYTES,
    ) -> None:
        self._core = _core.Recording.start(
            os.fspath(path),
            patterns("topics", topics),
            patterns("left_out", left_out),
            compressed,
            max_waiting_bytes,
        )

    def stop(self) -> None:
        """Writes what was sent until now, and the index. Errors: OSError of the disk. Later calls do
        nothing."""
        self._core.stop()

    @property
    def status(self) -> Dict[str, object]:
        """`path`, `messages` taken, messages `lost`, `bytes` of the file so far, whether it has
        `ended`, and the disk's last `problem` (empty: none)."""
        return self._core.status()

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.stop()
