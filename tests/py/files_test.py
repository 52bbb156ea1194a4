# SPDX-License-Identifier: Apache-2.0
"""horus.open beside open(): newlines, positions, refusals and FIFOs, on Horus' own loop and through
threads."""

import asyncio
import fcntl
import io
import os
import random
import struct
import tempfile
import termios
import unittest

import horus


def waiting_bytes(pipe):
    """How many bytes nobody has read yet."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0)))[0]


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = os.path.join(self.folder, "file")

    def everywhere(self, main):
        for run in (horus.run, asyncio.run):
            with self.subTest(run.__module__):
                run(asyncio.wait_for(main(), 60))

    def fill(self, data):
        with open(self.path, "wb") as file:
            file.write(data)


class Text(Files):
    def test_lines_are_those_of_open(self):
        alphabet = ["a", "é", "€", "😀", "\r", "\n", "\r\n", "x" * 999]
        chance = random.Random(7)
        data = "".join(chance.choice(alphabet) for _ in range(3000)).encode()
        self.fill(data + b"\r")

        async def main():
            for newline in (None, "", "\n", "\r", "\r\n"):
                with open(self.path, encoding="utf-8", newline=newline) as file:
                    lines = file.readlines()
                async with horus.open(self.path, newline=newline) as file:
                    self.assertEqual([line async for line in file], lines, newline)
                async with horus.open(self.path, newline=newline) as file:
                    self.assertEqual(await file.read(), "".join(lines))
                async with horus.open(self.path, newline=newline) as file:
                    parts = [part async for part in self.parts(file, chance)]
                    self.assertEqual("".join(parts), "".join(lines))

        self.everywhere(main)

    async def parts(self, file, chance):
        while True:
            size = chance.choice([1, 2, 7, 5000])
            part = await file.read(size)
            if not part:
                return
            self.assertLessEqual(len(part), size)
            yield part

    def test_characters_are_counted_as_open_counts_them(self):
        self.fill(b"a\r\nb\r\n\r\nc")

        async def main():
            for size in range(1, 9):
                with open(self.path) as plain:
                    async with horus.open(self.path) as file:
                        for _ in range(9):
                            self.assertEqual(await file.read(size), plain.read(size))

        self.everywhere(main)

    def test_newlines_are_written_as_open_writes_them(self):
        async def main():
            for newline in (None, "", "\n", "\r", "\r\n"):
                async with horus.open(self.path, "w", newline=newline) as file:
                    self.assertEqual(await file.write("a\nb\r\n"), 5)
                with open(self.path, "rb") as plain:
                    got = plain.read()
                with open(self.path, "w", newline=newline) as plain:
                    plain.write("a\nb\r\n")
                with open(self.path, "rb") as plain:
                    self.assertEqual(got, plain.read())

        self.everywhere(main)

    def test_positions_between_lines_lead_back(self):
        text = "aé\r\n€\n\r😀x\nend"
        for encoding in ("utf-8", "utf-16", "utf-8-sig", "utf-16-le", "latin-1"):
            text = text if encoding != "latin-1" else "aé\r\nx\n\rend"
            self.fill(text.encode(encoding))

            async def main():
                async with horus.open(self.path, encoding=encoding) as file:
                    positions, lines = [file.tell()], []
                    while line := await file.readline():
                        lines.append(line)
                        positions.append(file.tell())
                    self.assertEqual(positions[-1], os.path.getsize(self.path))
                if encoding in ("utf-16", "utf-8-sig"):
                    return  # the mark at the beginning is read from there only
                async with horus.open(self.path, encoding=encoding) as file:
                    for position, line in list(zip(positions, lines))[::-1]:
                        file.seek(position)
                        self.assertEqual(await file.readline(), line)

            self.everywhere(main)

    def test_a_byte_order_mark_is_written_once(self):
        async def main():
            async with horus.open(self.path, "w", encoding="utf-16") as file:
                await file.write("a")
                await file.write("b")
            async with horus.open(self.path, "a", encoding="utf-16") as file:
                await file.write("c")
            with open(self.path, encoding="utf-16") as plain:
                self.assertEqual(plain.read(), "abc")

        self.everywhere(main)

    def test_errors_are_treated_as_asked(self):
        self.fill(b"a\xffb\n")

        async def main():
            async with horus.open(self.path) as file:
                with self.assertRaises(UnicodeDecodeError):
                    await file.read()
            async with horus.open(self.path, errors="replace") as file:
                self.assertEqual(await file.read(), "a\ufffdb\n")
            for wrong in ({"errors": "no such"}, {"encoding": "no such"}):
                with self.assertRaises(LookupError):
                    horus.open(self.path, **wrong)
            with self.assertRaisesRegex(ValueError, "newline is"):
                horus.open(self.path, newline="x")

        self.everywhere(main)


class Positions(Files):
    def test_appending_is_at_the_end(self):
        async def main():
            self.fill(b"123")
            async with horus.open(self.path, "ab") as file:
                self.assertEqual(file.tell(), 3)
                await file.write(b"45")
                self.assertEqual(file.tell(), 5)
                with open(self.path, "ab") as other:
                    other.write(b"somebody else")
                await file.write(b"6")
                self.assertEqual(file.tell(), 19)
            async with horus.open(self.path, "a+b") as file:
                self.assertEqual(await file.read(), b"")
                file.seek(3)
                self.assertEqual(await file.read(2), b"45")
                await file.write(b"!")
                self.assertEqual(file.tell(), 20)

        self.everywhere(main)

    def test_a_write_after_a_line_is_behind_that_line(self):
        async def main():
            self.fill("é1\n22\n33\n".encode())
            async with horus.open(self.path, "r+") as file:
                self.assertEqual(await file.readline(), "é1\n")
                await file.write("XX")
                self.assertEqual(await file.readline(), "\n")
            with open(self.path, "rb") as plain:
                self.assertEqual(plain.read(), "é1\nXX\n33\n".encode())

        self.everywhere(main)


class Refusals(Files):
    def test_what_open_refuses_is_refused_alike(self):
        async def main():
            self.fill(b"x")
            for path, kind in ((self.folder, IsADirectoryError), (self.path + "/x", NotADirectoryError)):
                for mode in ("r", "rb", "w", "a"):
                    with self.assertRaises(kind) as caught:
                        await horus.open(path, mode)
                    self.assertEqual(caught.exception.filename, path)
            with self.assertRaises(ValueError):
                await horus.open(self.path + "\0")
            async with horus.open(self.path, "rb") as file:
                with self.assertRaisesRegex(io.UnsupportedOperation, "not writable"):
                    await file.write(b"x")
            async with horus.open(self.path, "w") as file:
                with self.assertRaisesRegex(io.UnsupportedOperation, "not readable"):
                    await file.read()
                with self.assertRaisesRegex(TypeError, "writes a str, not bytes"):
                    await file.write(b"x")
            async with horus.open(self.path, "wb") as file:
                with self.assertRaisesRegex(TypeError, "writes bytes, not str"):
                    await file.write("x")

        self.everywhere(main)

    def test_everything_of_the_package_leaves_open_alone(self):
        names = {}
        exec("from horus import *", names)
        self.assertNotIn("open", names)
        self.assertIn("EventLoop", names)
        self.assertTrue(callable(horus.open))


class Fifos(Files):
    def setUp(self):
        super().setUp()
        os.mkfifo(self.path)

    def test_waiting_for_the_other_end_can_be_cancelled(self):
        async def main():
            for mode in ("rb", "wb"):
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await horus.open(self.path, mode)

        before = len(os.listdir("/proc/self/fd"))
        self.everywhere(main)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_both_ends_meet_whoever_comes_first(self):
        async def write():
            async with horus.open(self.path, "w") as file:
                await file.write("x" * 200_000)

        async def read():
            async with horus.open(self.path) as file:
                self.assertEqual(len(await file.read()), 200_000)

        async def main():
            for first, second in ((write, read), (read, write)):
                task = asyncio.create_task(first())
                await asyncio.sleep(0.005)
                self.assertFalse(task.done())
                await asyncio.gather(task, second())

        self.everywhere(main)

    def test_a_cancelled_read_leaves_the_bytes(self):
        async def main():
            end = os.open(self.path, os.O_RDWR)
            try:
                async with horus.open(self.path, "rb") as file:
                    for read in (lambda: file.read(10), lambda: file.readinto(bytearray(10))):
                        task = asyncio.create_task(read())
                        await asyncio.sleep(0.002)
                        os.write(end, b"hello")
                        task.cancel()
                        with self.assertRaises(asyncio.CancelledError):
                            await task
                        self.assertEqual(await file.read(10), b"hello")
            finally:
                os.close(end)

        self.everywhere(main)

    def test_a_full_one_waits_for_its_reader(self):
        async def main():
            end = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                async with horus.open(self.path, "wb") as file:
                    task = asyncio.create_task(file.write(bytes(1_000_000)))
                    while waiting_bytes(end) < fcntl.fcntl(end, fcntl.F_GETPIPE_SZ):
                        await asyncio.sleep(0.001)
                    self.assertFalse(task.done())
                    task.cancel()
                    with self.assertRaises(asyncio.CancelledError):
                        await task
                    os.read(end, 4096)
                    self.assertEqual(await asyncio.wait_for(file.write(b"x"), 20), 1)
            finally:
                os.close(end)

        self.everywhere(main)

    def test_it_has_no_position(self):
        async def main():
            end = os.open(self.path, os.O_RDWR)
            try:
                async with horus.open(self.path, "rb") as file:
                    for call in (file.tell, lambda: file.seek(0)):
                        with self.assertRaises(OSError):
                            call()
            finally:
                os.close(end)

        self.everywhere(main)


if __name__ == "__main__":
    unittest.main()
