# SPDX-License-Identifier: Apache-2.0
"""What a user's type checker makes of the package: `mypy --strict` looks at this file (./dev lint); nothing runs it."""

import asyncio
from typing import Any, Dict, Optional, Union, assert_type

import horus
from horus.messages import Twist


class Camera(horus.Node):
    def tick(self) -> None:
        self.send("frames", 1)


class Radio(horus.AsyncNode):
    async def tick_async(self) -> None:
        await asyncio.sleep(0)


async def answer() -> int:
    return 42


asyncio.set_event_loop_policy(horus.EventLoopPolicy())
assert_type(horus.new_event_loop(), horus.EventLoop)

assert_type(horus.run(answer()), int)
horus.run(Camera(), duration=1.0, config="robot.toml")

config = horus.SchedulerConfig.low_latency()
assert_type(config.tick_rate, float)
assert_type(config.circuit_breaker, bool)
assert_type(config.policy, str)
assert_type(config.max_failures, int)
assert_type(config.cpu, Optional[int])
config.tick_rate = 50
config.cpu = None
config.tick_rate = "fast"  # type: ignore[assignment]

scheduler = horus.Scheduler(config)
assert_type(scheduler.add(Camera(), rate=10), Camera)
assert_type(scheduler.run(duration=1), None)
assert_type(scheduler.get_node_stats("camera"), Dict[str, Any])
assert_type(horus.AsyncScheduler().add_async(Radio()), Radio)

with horus.Hub.shm("rover") as hub:
    out = hub.advertise("cmd_vel", Twist)
    assert_type(out, horus.Publisher[Twist])
    assert_type(out.send(Twist()), bool)
    out.send("left")  # type: ignore[arg-type]
    into = hub.subscribe("cmd_vel", Twist, depth=4)
    assert_type(into.recv(timeout=1), Twist)
    assert_type(into.latest(), Optional[Twist])
    assert_type(into.latest(Twist()), Twist)
    assert_type(hub.subscribe("cmd_vel", Twist, stale_after=0.5).latest(), Optional[Twist])
    assert_type(into.try_recv(0), Union[Twist, int])
    link = hub.create_link("data", "base", bytes)
    assert_type(link.recv(), bytes)
    assert_type(hub.subscribe("anything").recv(), Any)


async def listen() -> None:
    assert_type(await into.recv_async(), Twist)
    async for message in into:
        assert_type(message, Twist)
