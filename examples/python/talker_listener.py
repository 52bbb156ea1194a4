#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two processes over shared memory: the talker sends velocities and telemetry, the listener prints
them and answers. Kill either and start it again at will.

    PYTHONPATH=build/horus/py python3 examples/python/talker_listener.py            # both
    PYTHONPATH=build/horus/py python3 examples/python/talker_listener.py talker     # or one each
    PYTHONPATH=build/horus/py python3 examples/python/talker_listener.py listener
"""

import asyncio
import subprocess
import sys

import horus
from horus.messages import Twist, Vector3

MESSAGES = 20


def talker():
    """A node with a rate, and a hub beside it."""
    hub = horus.Hub.shm("python_talker_listener")
    velocity = hub.advertise("cmd_vel", Twist)  # what a C++ Publisher<Twist> sends, too
    telemetry = hub.advertise("telemetry")  # any plain data
    answers = hub.subscribe("answers")

    def tick(node):
        if not velocity.connected:
            return  # what is sent while nobody listens goes nowhere
        velocity.send(Twist(linear=Vector3(x=0.5)))
        telemetry.send({"battery": 11.9, "wheels": ["ok", "ok"]})
        if (answer := answers.try_recv()) is not None:
            print("talker: the listener has heard", answer)
            if answer >= MESSAGES:
                scheduler.stop()

    scheduler = horus.Scheduler()
    scheduler.add(horus.Node("talker", tick=tick, rate=100))
    scheduler.run(duration=20)
    print("talker:", hub.get_metrics()["messages_sent"], "messages sent")


async def listen():
    hub = horus.Hub.shm("python_talker_listener")
    velocity = hub.subscribe("cmd_vel", Twist, overflow="latest")
    telemetry = hub.subscribe("telemetry")
    answers = hub.advertise("answers")
    heard = 0
    async for report in telemetry:
        heard += 1
        speed = velocity.latest()
        if heard == 1:
            print("listener:", report, "at", speed.linear.x if speed else "?", "m/s")
        answers.send(heard)
        if heard >= 2 * MESSAGES:  # the talker has stopped before
            break


def main():
    if sys.argv[1:] == ["talker"]:
        talker()
    elif sys.argv[1:] == ["listener"]:
        asyncio.run(listen())
    else:
        listener = subprocess.Popen([sys.executable, __file__, "listener"])
        try:
            talker()
        finally:
            listener.terminate()
            listener.wait()


if __name__ == "__main__":
    main()
