# SPDX-License-Identifier: Apache-2.0
"""horus.Watch: events, cancellation and closing, on Horus' own loop and where a Reactor is attached."""

import asyncio
import os
import tempfile
import unittest

import horus


class Watching(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name):
        with open(self.path(name), "w") as file:
            file.write("x")

    def everywhere(self, main):
        async def attached():
            async with horus.Reactor.attach():
                await main()

        horus.run(asyncio.wait_for(main(), 60))
        asyncio.run(asyncio.wait_for(attached(), 60))

    async def kinds(self, watch, count):
        events = [await watch.next() for _ in range(count)]
        return [(event.kind, event.name) for event in events]

    def test_a_folder_tells_what_happens_in_it(self):
        async def main():
            async with await horus.Watch.folder(self.folder) as watch:
                self.write("a")
                os.rename(self.path("a"), self.path("b"))
                os.mkdir(self.path("d"))
                os.rmdir(self.path("d"))
                os.remove(self.path("b"))
                self.assertEqual(await self.kinds(watch, 2), [("created", "a"), ("written", "a")])
                moved = await watch.next()
                self.assertEqual(moved, horus.WatchEvent("moved", self.folder, "b", "a", False))
                self.assertEqual(moved.path, self.path("b"))
                made = await watch.next()
                self.assertEqual((made.kind, made.name, made.is_folder), ("created", "d", True))
                self.assertEqual(await self.kinds(watch, 2), [("removed", "d"), ("removed", "b")])
                self.assertIsNone(watch.try_next())

        self.everywhere(main)

    def test_a_file_that_is_replaced_is_seen_and_names_of_any_bytes_come_back(self):
        async def main():
            name = b"caf\xe9.conf"
            watch = await horus.Watch.file(os.path.join(os.fsencode(self.folder), name), modifications=True)
            other = os.path.join(os.fsencode(self.folder), b"other")
            with open(other, "w") as file:
                file.write("x")
            os.rename(other, os.path.join(os.fsencode(self.folder), name))
            event = await watch.next()
            self.assertEqual((event.kind, os.fsencode(event.name), event.moved_from), ("moved", name, "other"))
            os.remove(os.path.join(os.fsencode(self.folder), name))
            self.assertEqual((await watch.next()).kind, "removed")
            await watch.close()

        self.everywhere(main)

    def test_several_are_watched_and_the_end_of_all_ends_the_loop(self):
        async def main():
            one, two = self.path("one"), self.path("two")
            os.mkdir(one)
            os.mkdir(two)
            watch = await horus.Watch.folder(one, attributes=True)
            await watch.add_file(os.path.join(two, "x"))
            await watch.add_folder(two)
            self.write("two/y")
            os.chmod(self.path("two/y"), 0o600)
            os.remove(self.path("two/y"))
            os.rmdir(two)
            os.rmdir(one)
            kinds = [(event.kind, event.path) async for event in watch]
            self.assertIn(("created", os.path.join(two, "y")), kinds)
            self.assertIn(("attributes", os.path.join(two, "y")), kinds)
            self.assertEqual([kind for kind in kinds if kind[0] == "gone"], [("gone", two), ("gone", one)])
            with self.assertRaises(EOFError):
                await watch.next()
            await watch.close()

        self.everywhere(main)

    def test_a_cancelled_wait_loses_nothing_and_a_close_ends_one(self):
        async def main():
            watch = await horus.Watch.folder(self.folder)
            for i in range(20):
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await watch.next()
                self.write(f"file{i}")
                self.assertEqual(await self.kinds(watch, 2), [("created", f"file{i}"), ("written", f"file{i}")])
                os.remove(self.path(f"file{i}"))
                self.assertEqual(await self.kinds(watch, 1), [("removed", f"file{i}")])
            waiting = asyncio.create_task(watch.next())
            await asyncio.sleep(0.01)
            with self.assertRaisesRegex(RuntimeError, "another task waits"):
                await watch.next()
            await watch.close()
            with self.assertRaisesRegex(ValueError, "closed"):
                await waiting
            self.assertTrue(watch.closed)
            for call in (watch.next, lambda: watch.add_folder("/tmp")):
                with self.assertRaisesRegex(ValueError, "closed"):
                    await call()
            await watch.close()

        self.everywhere(main)

    def test_refusals_are_the_usual_exceptions(self):
        async def main():
            with self.assertRaisesRegex(FileNotFoundError, "missing"):
                await horus.Watch.folder(self.path("missing"))
            self.write("file")
            with self.assertRaises(NotADirectoryError):
                await horus.Watch.folder(self.path("file"))
            with self.assertRaisesRegex(ValueError, "the name of a file"):
                await horus.Watch.file("/")
            with self.assertRaises(TypeError):
                await horus.Watch.folder(3)
            os.remove(self.path("file"))

        self.everywhere(main)

    def test_a_loop_that_is_not_ours_says_what_is_missing(self):
        async def main():
            with self.assertRaises(RuntimeError):
                await horus.Watch.folder(self.folder)

        asyncio.run(main())

    def test_one_that_is_dropped_while_a_task_waits_does_no_harm(self):
        async def main():
            watch = await horus.Watch.folder(self.folder)
            waiting = asyncio.create_task(watch._core.ready())
            await asyncio.sleep(0.01)
            del watch
            waiting.cancel()
            await asyncio.wait([waiting])

        self.everywhere(main)


if __name__ == "__main__":
    unittest.main()
