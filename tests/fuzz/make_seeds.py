#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds of the fuzz targets wire and handshake again, after a change of the wire format (horus/msg/tcp/wire.hpp)."""

import pathlib
import struct

FNV_BASIS, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def text(value):
    raw = value.encode()
    return struct.pack("<H", len(raw)) + raw


def layout(name, fields, head, alignment, element):
    """As Layout::settle() and Writer::layout() do."""
    value = FNV_BASIS
    for part in (name, fields):
        for byte in part.encode() + b"\xff":
            value = (value ^ byte) * FNV_PRIME % 2**64
    for byte in struct.pack("<III", head, alignment, element):
        value = (value ^ byte) * FNV_PRIME % 2**64
    return struct.pack("<QIII", value, head, alignment, element) + text(name) + text(fields)


def frame(kind, channel, payload):
    head = struct.pack("<IBBHI", len(payload), kind, 0, 0, channel)
    return head + struct.pack("<I", crc32c(head + payload)) + payload


def data(channel, number, message, stamp_ns=0):
    return frame(6, channel, struct.pack("<QQq", number, 0, stamp_ns) + message)


READING = layout("Reading", "i64", 8, 8, 0)
TEXT = layout("text", "", 0, 1, 1)
BODY = struct.pack("<QII", 2, 1, 1000) + text("peer")
GREETING = b"HORUSHUB" + struct.pack("<HBBII", 1, 1, 0, len(BODY), crc32c(BODY)) + BODY
ADVERTISE_POSE = frame(1, 0, struct.pack("<QBQ", 9, 0, 8) + text("pose") + READING)
ADVERTISE_CHAT = frame(1, 0, struct.pack("<QBQ", 8, 0, 1000) + text("chat") + TEXT)
SUBSCRIBE_IMU = frame(3, 1, struct.pack("<QIB", 1, 16, 0) + READING)
SUBSCRIBE_NEWEST = frame(3, 2, struct.pack("<QIB", 1, 4, 2) + READING)
ACCOUNT = frame(8, 1, struct.pack("<QQQ", 1, 1, 0))
FRAMES = {
    "advertise": ADVERTISE_CHAT,
    "withdraw": frame(2, 0, struct.pack("<Q", 8)),
    "subscribe": SUBSCRIBE_IMU,
    "unsubscribe": frame(4, 1, struct.pack("<QQQ", 3, 1, 2)),
    "refuse": frame(5, 1, text("no")),
    "data": data(1, 0, b"12345678"),
    "end": frame(7, 1, struct.pack("<Q", 0)),
    "account": ACCOUNT,
    "loss": frame(9, 1, struct.pack("<Q", 5)),
    "heartbeat": frame(10, 0, b""),
    "goodbye": frame(11, 0, text("bye")),
}
SESSIONS = {
    "silent": GREETING,
    "receives": GREETING + ADVERTISE_POSE + ADVERTISE_CHAT + data(1, 0, b"12345678") + data(2, 0, b"hello"),
    "stamp_overflows": GREETING + ADVERTISE_POSE + ADVERTISE_CHAT + data(1, 0, b"12345678", -(2**63)),
    "ends": GREETING + ADVERTISE_POSE + data(1, 0, b"12345678") + FRAMES["loss"] + FRAMES["end"],
    "sends": GREETING + SUBSCRIBE_IMU + SUBSCRIBE_NEWEST + FRAMES["heartbeat"] + ACCOUNT,
    "leaves": GREETING + SUBSCRIBE_IMU + frame(4, 1, struct.pack("<QQQ", 0, 0, 0)) + FRAMES["goodbye"],
    "refuses": GREETING + ADVERTISE_POSE + FRAMES["refuse"] + FRAMES["withdraw"],
    "mismatch": GREETING + frame(3, 1, struct.pack("<QIB", 1, 1, 1) + TEXT),
}


def main():
    corpus = pathlib.Path(__file__).parent / "corpus"
    for folder, seeds in (("wire", {"greeting": GREETING, **FRAMES}), ("handshake", SESSIONS)):
        (corpus / folder).mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (corpus / folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
