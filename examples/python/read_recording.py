#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records a few messages, and reads them again: as objects, and as a NumPy array where NumPy is there.

    PYTHONPATH=build/horus/py python3 examples/python/read_recording.py [FILE]
"""

import os
import sys
import tempfile

import horus
from horus import messages


def record(path: str) -> None:
    hub = horus.Hub("rover")
    with horus.Recording(path):
        with hub.advertise("cmd_vel", type=messages.Twist) as out:
            for number in range(5):
                twist = messages.Twist()
                twist.linear.x = 0.5 * number
                out.send(twist)


def show(path: str) -> None:
    bag = horus.Bag(path)
    for name, topic in bag.topics.items():
        print(f"{name}: {topic.messages} messages of {topic.type}")
    for one in bag.messages():
        print(f"{(one.log_ns - bag.first_ns) / 1e6:6.1f} ms {one.topic}: {one.message}")
    try:
        table = bag.to_numpy("cmd_vel")  # a column for each field
        print("mean speed", table["linear"]["x"].mean(), "m/s")
    except (ImportError, ValueError) as error:
        print(error)


if len(sys.argv) > 1:
    show(sys.argv[1])
else:
    with tempfile.TemporaryDirectory() as folder:
        record(os.path.join(folder, "run.mcap"))
        show(os.path.join(folder, "run.mcap"))
