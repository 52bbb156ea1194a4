# SPDX-License-Identifier: Apache-2.0
"""The helpers for coroutines: bounds, order, accounts."""

import asyncio
import unittest

import horus
from horus import aio


class Connection:
    made = closed = 0

    def __init__(self):
        Connection.made += 1
        self.good = True

    async def close(self):
        Connection.closed += 1


class Case(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        Connection.made = Connection.closed = 0


class RateLimiterTest(Case):
    async def test_a_burst_passes_and_the_rest_waits_in_order(self):
        limiter = aio.RateLimiter(2, period=0.02)
        loop, order = asyncio.get_running_loop(), []
        start = loop.time()

        async def call(number):
            async with limiter:
                order.append(number)

        await asyncio.gather(*[call(number) for number in range(5)])
        self.assertEqual(order, [0, 1, 2, 3, 4])
        self.assertGreaterEqual(loop.time() - start, 0.03 - 1e-6)
        self.assertEqual(limiter.get_stats()["allowed"], 5)

    async def test_waiting_is_bounded(self):
        limiter = aio.RateLimiter(1, period=3600, max_waiting=1)
        await limiter.acquire()
        waiting = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0)
        with self.assertRaisesRegex(RuntimeError, "slow down"):
            await limiter.acquire()
        waiting.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await waiting
        self.assertEqual(limiter.get_stats()["waiting"], 0)


class ConnectionPoolTest(Case):
    async def test_connections_are_shared_and_bounded(self):
        async with aio.ConnectionPool(Connection, max_connections=2) as pool:
            most = used = 0

            async def use():
                nonlocal most, used
                async with pool.connection():
                    used += 1
                    most = max(most, used)
                    await asyncio.sleep(0.001)
                    used -= 1

            await asyncio.gather(*[use() for _ in range(10)])
            self.assertEqual((most, Connection.made), (2, 2))
            stats = pool.get_stats()
            self.assertEqual(stats["created"], stats["closed"] + stats["idle"] + stats["in_use"])
            first = await pool.acquire()
            second = await pool.acquire()
            with self.assertRaises(TimeoutError):
                await pool.acquire(timeout=0.001)
            await pool.release(first)
            await pool.release(second)
            with self.assertRaisesRegex(ValueError, "not in use"):
                await pool.release(first)
        self.assertEqual(Connection.closed, 2)
        with self.assertRaisesRegex(RuntimeError, "shut down"):
            await pool.acquire()

    async def test_broken_and_unhealthy_ones_are_made_anew(self):
        async def create():
            return Connection()

        pool = aio.ConnectionPool(create, 1, check=lambda connection: connection.good)
        with self.assertRaises(ConnectionResetError):
            async with pool.connection():
                raise ConnectionResetError
        self.assertEqual((Connection.made, Connection.closed), (1, 1))
        connection = await pool.acquire()
        connection.good = False
        await pool.release(connection)

        async def operation(connection, value):
            return connection.good, value

        self.assertEqual(await pool.execute(operation, 5), (True, 5))
        self.assertEqual((Connection.made, Connection.closed), (3, 2))
        await pool.shutdown()

    async def test_a_failed_creation_frees_its_place(self):
        def create():
            raise OSError("no route")

        pool = aio.ConnectionPool(create, 1)
        for _ in range(3):
            with self.assertRaisesRegex(OSError, "no route"):
                await pool.acquire()


class BatchProcessorTest(Case):
    async def test_batches_come_by_size_and_by_time(self):
        processor = aio.BatchProcessor(3, flush_interval=0.01)
        batches = []

        async def consume():
            async for batch in processor:
                batches.append(batch)

        consuming = asyncio.create_task(consume())
        for item in range(7):
            await processor.add(item)
        while processor.get_stats()["buffered"]:
            await asyncio.sleep(0.001)
        processor.add_nowait(7)
        await processor.close()
        await consuming
        self.assertEqual([item for batch in batches for item in batch], list(range(8)))
        self.assertEqual(batches[:2], [[0, 1, 2], [3, 4, 5]])
        stats = processor.get_stats()
        self.assertEqual(stats["added"], stats["processed"] + stats["dropped"] + stats["buffered"])
        with self.assertRaisesRegex(RuntimeError, "closed"):
            await processor.add(1)

    async def test_what_is_too_much_waits_or_goes(self):
        processor = aio.BatchProcessor(2, flush_interval=3600, max_buffered=2)
        self.assertTrue(processor.add_nowait(1))
        await processor.add(2)
        waiting = asyncio.create_task(processor.add(4))
        await asyncio.sleep(0)
        self.assertFalse(waiting.done())
        self.assertFalse(processor.add_nowait(3))
        self.assertEqual(await processor.__anext__(), [2, 3])
        await waiting
        self.assertEqual(processor.get_stats()["dropped"], 1)


class OthersTest(Case):
    async def test_a_helper_bounds_what_runs(self):
        helper = aio.AsyncHelper(max_workers=2, max_pending=5)
        most = running = 0

        async def work(value):
            nonlocal most, running
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1
            return value

        tasks = [asyncio.create_task(helper.run(work, value)) for value in range(5)]
        await asyncio.sleep(0)
        with self.assertRaisesRegex(RuntimeError, "slow down"):
            await helper.run(work, 9)
        self.assertEqual(await asyncio.gather(*tasks), [0, 1, 2, 3, 4])
        self.assertEqual(most, 2)
        self.assertEqual(await helper.run(sum, [1, 2]), 3)
        with self.assertRaises(ZeroDivisionError):
            await helper.run(divmod, 1, 0)
        stats = helper.get_stats()
        self.assertEqual(stats["submitted"], stats["completed"] + stats["failed"])

    async def test_an_aggregator_gathers_values_and_errors(self):
        aggregator = aio.AsyncAggregator()

        async def fails():
            raise ValueError("bad")

        aggregator.add("a", asyncio.sleep(0.001, 1))
        aggregator.add("b", fails())
        aggregator.add("never", asyncio.get_running_loop().create_future())
        with self.assertRaises(ValueError):
            aggregator.add("a", asyncio.get_running_loop().create_future())
        results = await aggregator.get_all_results(timeout=0.02)
        self.assertEqual(results["a"], (1, None))
        self.assertEqual(str(results["b"][1]), "bad")
        self.assertNotIn("never", results)
        self.assertEqual(
            aggregator.get_stats(), {"added": 3, "pending": 1, "completed": 1, "failed": 1}
        )
        aggregator.clear()

    def test_they_run_on_horus_own_loop(self):
        async def main():
            async with aio.RateLimiter(1):
                return await aio.AsyncHelper().run(asyncio.sleep, 0.001, 5)

        self.assertEqual(horus.run(main()), 5)


if __name__ == "__main__":
    unittest.main()
