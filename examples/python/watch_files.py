# SPDX-License-Identifier: Apache-2.0
"""A configuration that is read again whenever somebody changes or replaces it."""

import asyncio
import os
import tempfile

import horus


async def follow(path: str) -> None:
    async with await horus.Watch.file(path) as watch:
        print("config:", open(path).read())  # after the watch has begun: no change is missed
        async for event in watch:
            if event.kind in ("written", "moved", "overflow"):
                print("config:", open(path).read())


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "robot.conf")
        with open(path, "w") as file:
            file.write("speed = 1")
        following = asyncio.create_task(follow(path))
        await asyncio.sleep(0.05)
        with open(path + "~", "w") as file:
            file.write("speed = 2")
        os.replace(path + "~", path)  # as editors do
        await asyncio.sleep(0.05)
        following.cancel()
        await asyncio.wait([following])


horus.run(main())
