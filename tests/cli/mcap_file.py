# SPDX-License-Identifier: Apache-2.0
"""Writes small recordings, of any schemas and messages, with a writer that is not Horus'."""

import struct
from pathlib import Path
from typing import Iterable, NamedTuple

MAGIC = b"\x89MCAP0\r\n"


class Channel(NamedTuple):
    topic: str
    encoding: str = "cdr"
    type: str = ""  # empty: no schema
    definition: str = ""
    schema_encoding: str = "ros2msg"


class Message(NamedTuple):
    channel: Channel
    log_ns: int
    data: bytes
    publish_ns: int = -1  # as log_ns


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<I", len(raw)) + raw


def record(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def write(path: Path, messages: Iterable[Message], channels: Iterable[Channel] = ()) -> Path:
    """One chunk without compression and checksum, no index. `channels`: also those without messages."""
    listed = list(messages)
    order = list(dict.fromkeys([*channels, *(message.channel for message in listed)]))
    inner = b""
    for number, channel in enumerate(order, 1):
        if channel.type:
            inner += record(3, struct.pack("<H", number) + text(channel.type) + text(channel.schema_encoding)
                            + text(channel.definition))
        inner += record(4, struct.pack("<HH", number, number if channel.type else 0) + text(channel.topic)
                        + text(channel.encoding) + struct.pack("<I", 0))
    for sequence, message in enumerate(listed):
        publish_ns = message.log_ns if message.publish_ns < 0 else message.publish_ns
        inner += record(5, struct.pack("<HIQQ", order.index(message.channel) + 1, sequence, message.log_ns, publish_ns)
                        + message.data)
    times = [message.log_ns for message in listed] or [0]
    chunk = record(6, struct.pack("<QQQI", min(times), max(times), len(inner), 0) + text("") + struct.pack("<Q", len(inner))
                   + inner)
    head = record(1, text("ros2") + text("test"))
    path.write_bytes(MAGIC + head + chunk + record(15, struct.pack("<I", 0)) + record(2, struct.pack("<QQI", 0, 0, 0)) + MAGIC)
    return path


class Cdr:
    """XCDR1, little end first: Cdr().u8(1).f64(2.5).bytes()."""

    def __init__(self, big: bool = False) -> None:
        self.body = b""
        self.big = big

    def pack(self, code: str, *values: float) -> "Cdr":
        for value in values:
            raw = struct.pack((">" if self.big else "<") + code, value)
            self.body += bytes(-len(self.body) % len(raw)) + raw
        return self

    def text(self, value: str) -> "Cdr":
        raw = value.encode() + b"\0"
        self.pack("I", len(raw))
        self.body += raw
        return self

    def list(self, code: str, values: Iterable[float]) -> "Cdr":
        listed = list(values)
        return self.pack("I", len(listed)).pack(code, *listed)

    def bytes(self) -> bytes:
        return bytes([0, 0 if self.big else 1, 0, 0]) + self.body
