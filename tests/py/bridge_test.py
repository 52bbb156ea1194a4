# SPDX-License-Identifier: Apache-2.0
"""asyncio awaits C++ coroutines, C++ coroutines await asyncio, through a user's extension module."""

import asyncio
import contextvars
import unittest

import bridge
import horus


class PythonAwaitsCpp(unittest.TestCase):
    def test_values_cross(self):
        async def main():
            return (
                await bridge.join(["a", "b", "c"]),
                await bridge.at_once(7),
                await bridge.nothing(),
                await asyncio.gather(*[bridge.join([str(i)]) for i in range(50)]),
            )

        self.assertEqual(horus.run(main()), ("abc", 7, None, [str(i) for i in range(50)]))

    def test_exceptions_cross(self):
        async def main(how):
            await bridge.fail(how)

        with self.assertRaisesRegex(FileNotFoundError, "map.bin"):
            horus.run(main("error"))
        with self.assertRaisesRegex(ValueError, "not like this"):
            horus.run(main("invalid"))
        with self.assertRaisesRegex(RuntimeError, "broken"):
            horus.run(main("other"))

    def test_cancelling_ends_the_coroutine_before_it_raises(self):
        async def main():
            before = bridge.ended()
            task = asyncio.create_task(bridge.sleep_long())
            await asyncio.sleep(0.001)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(bridge.ended(), before + 1)
            with self.assertRaises(TimeoutError):
                await asyncio.wait_for(bridge.sleep_long(), 0.001)
            self.assertEqual(bridge.ended(), before + 2)

        horus.run(main())

    def test_another_loop_is_refused_in_words(self):
        async def main():
            await bridge.at_once(1)

        with self.assertRaisesRegex(RuntimeError, "Horus' own event loop"):
            asyncio.run(main())
        with self.assertRaisesRegex(RuntimeError, "no running event loop"):
            bridge.at_once(1)

    def test_awaiting_twice_is_refused(self):
        async def main():
            operation = bridge.at_once(1)
            await operation
            await operation

        with self.assertRaisesRegex(RuntimeError, "awaited once"):
            horus.run(main())


class CppAwaitsPython(unittest.TestCase):
    def test_values_and_contexts_cross(self):
        variable = contextvars.ContextVar("variable", default=0)

        async def answer():
            await asyncio.sleep(0.001)
            return variable.get()

        async def main():
            variable.set(41)
            self.assertEqual(await bridge.ask_python(answer()), 42)
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.001, future.set_result, 1)
            self.assertEqual(await bridge.ask_python(future), 2)

        horus.run(main())

    def test_exceptions_cross_both_ways(self):
        async def fails():
            await asyncio.sleep(0)
            raise KeyError("lost")

        async def main():
            await bridge.ask_python(fails())

        with self.assertRaisesRegex(KeyError, "lost"):
            horus.run(main())

    def test_cancelling_reaches_the_innermost_coroutine(self):
        seen = []

        async def waits():
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(0.001)
                seen.append("cleaned up")
                raise

        async def main():
            task = asyncio.create_task(bridge.ask_python(waits()))
            await asyncio.sleep(0.001)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        horus.run(main())
        self.assertEqual(seen, ["cleaned up"])

    def test_what_cannot_be_awaited_is_a_type_error(self):
        async def main():
            await bridge.ask_python(5)

        with self.assertRaises(TypeError):
            horus.run(main())


if __name__ == "__main__":
    unittest.main()
