# SPDX-License-Identifier: Apache-2.0
"""horus_async_helpers: what blocks runs in threads, and every class keeps its account."""

import threading
import time
import unittest
from concurrent.futures import Future, wait

from horus_async_helpers import (
    AsyncAggregator,
    AsyncHelper,
    BatchProcessor,
    ConnectionPool,
    RateLimiter,
)


class Helpers(unittest.TestCase):
    def test_async_helper_gives_each_result_once(self):
        def fail():
            raise OSError("unplugged")

        with AsyncHelper(max_workers=2) as helper:
            wait([helper.submit("sum", sum, [1, 2]), helper.submit("bad", fail)])
            self.assertEqual((helper.pending_count(), helper.is_pending("sum")), (2, True))
            completed = {name: (result, error) for name, result, error in helper.check_completed()}
            self.assertEqual(completed["sum"], (3, None))
            self.assertIsInstance(completed["bad"][1], OSError)
            self.assertEqual((helper.check_completed(), helper.is_pending("sum")), ([], False))
            stats = helper.get_stats()
        self.assertEqual(
            (stats["submitted"], stats["completed"], stats["failed"], stats["pending"]),
            (2, 1, 1, 0),
        )

    def test_async_helper_is_bounded(self):
        gate = threading.Event()
        with AsyncHelper(max_workers=1, max_pending=2) as helper:
            helper.submit("a", gate.wait)
            helper.submit("a", gate.wait)  # the documents' sample does so
            with self.assertRaisesRegex(RuntimeError, "2 operations are pending"):
                helper.submit("c", gate.wait)
            gate.set()
            wait([*helper.futures.values(), *(future for _, future in helper._replaced)])
            self.assertEqual(helper.check_completed(), [("a", True, None)] * 2)
        with self.assertRaisesRegex(TypeError, "max_workers is a whole number"):
            AsyncHelper(max_workers="4")

    def test_async_helper_has_the_attributes_of_the_documents(self):
        with AsyncHelper() as helper:
            first = helper.submit("read", sum, [1])
            self.assertEqual(helper.futures, {"read": first})
            wait([first])
            helper.results_queue.put(("own", 7, None))
            self.assertEqual(helper.check_completed(), [("own", 7, None), ("read", 1, None)])
            self.assertEqual((helper.futures, helper.results_queue.qsize()), ({}, 0))
            with self.assertRaises(TypeError):  # no id, and nothing was begun
                helper.submit([], sum, [1])
            self.assertEqual(helper.get_stats()["submitted"], 1)

    def test_batch_processor_has_the_attributes_of_the_documents(self):
        before = time.time()
        with BatchProcessor(2, 60.0, len) as batch:
            self.assertLessEqual(before, batch.last_flush)
            self.assertLessEqual(batch.last_flush, time.time())
            batch.add("line")
            self.assertEqual(batch.buffer, ["line"])
            self.assertIsNone(batch.pending_future)

    def test_connection_pool_lends_each_connection_to_one_operation_at_a_time(self):
        class Connection:
            made = []

            def __init__(self):
                self.users, self.closed = 0, False
                self.made.append(self)

            def close(self):
                self.closed = True

        def use(connection, value):
            connection.users += 1
            alone = connection.users == 1
            connection.users -= 1
            return value, alone

        def break_it(connection):
            raise ConnectionError("reset")

        with ConnectionPool(Connection, max_connections=3) as pool:
            self.assertEqual(len(Connection.made), 3)
            results = [pool.execute_async(use, i) for i in range(30)]
            self.assertEqual(
                [future.result() for future in results], [(i, True) for i in range(30)]
            )
            with self.assertRaises(ConnectionError):
                pool.execute_async(break_it).result()
            wait([pool.execute_async(use, i) for i in range(9)])
        stats = pool.get_stats()
        self.assertEqual((stats["submitted"], stats["completed"], stats["failed"]), (40, 39, 1))
        self.assertEqual((stats["replaced"], stats["pending"]), (1, 0))
        self.assertTrue(all(connection.closed for connection in Connection.made))

    def test_batch_processor_flushes_by_size_and_by_time(self):
        batches = []
        with BatchProcessor(
            batch_size=3, flush_interval=1000.0, process_batch=batches.append
        ) as batch:
            for item in range(3):
                self.assertFalse(batch.should_flush())
                batch.add(item)
            self.assertTrue(batch.should_flush())
            batch.tick()
            batch.add(3)
            wait([batch.pending_future])
            batch.check_completed()
            self.assertEqual(batches, [[0, 1, 2]])
            batch.force_flush()
            self.assertEqual(batches, [[0, 1, 2], [3]])
            batch.add(4)
            self.assertFalse(batch.should_flush())
        self.assertEqual(batches[-1], [4])
        stats = batch.get_stats()
        self.assertEqual((stats["added"], stats["processed"], stats["batches"]), (5, 5, 3))

        timed = BatchProcessor(batch_size=100, flush_interval=1e-9, process_batch=len)
        self.assertFalse(timed.should_flush())
        timed.add(1)
        self.assertTrue(timed.should_flush())
        self.assertEqual(timed.force_flush(), [1])
        timed.shutdown()

    def test_batch_processor_drops_the_oldest_and_raises_what_failed(self):
        def fail(items):
            raise OSError("disk full")

        batch = BatchProcessor(batch_size=2, flush_interval=60, process_batch=fail, max_buffered=3)
        self.assertEqual([batch.add(i) for i in range(4)], [True, True, True, False])
        wait([batch.flush_async()])
        with self.assertRaisesRegex(OSError, "disk full"):
            batch.check_completed()
        self.assertIsNone(batch.check_completed())
        stats = batch.get_stats()
        self.assertEqual((stats["dropped"], stats["failed"], stats["buffered"]), (1, 3, 0))
        batch.shutdown()

    def test_rate_limiter_allows_a_burst_and_then_says_how_long(self):
        limiter = RateLimiter(max_calls=3, period=1000.0)
        self.assertEqual([limiter.allow() for _ in range(4)], [True, True, True, False])
        self.assertTrue(300 < limiter.wait_time() < 334)
        stats = limiter.get_stats()
        self.assertEqual((stats["allowed"], stats["refused"]), (3, 1))
        fast = RateLimiter(1e9)
        self.assertTrue(fast.allow())
        with self.assertRaisesRegex(ValueError, "max_calls is above 0"):
            RateLimiter(0)

    def test_aggregator_knows_when_all_have_ended(self):
        aggregator, one, two = AsyncAggregator(), Future(), Future()
        aggregator.add("one", one)
        aggregator.add("two", two)
        one.set_result(1)
        self.assertFalse(aggregator.all_completed())
        self.assertEqual(aggregator.get_all_results(), {"one": (1, None)})
        two.set_exception(ValueError("bad"))
        self.assertTrue(aggregator.all_completed())
        self.assertIsInstance(aggregator.get_all_results()["two"][1], ValueError)
        self.assertEqual(
            aggregator.get_stats(), {"added": 2, "pending": 0, "completed": 1, "failed": 1}
        )
        with self.assertRaisesRegex(ValueError, "there already"):
            aggregator.add("one", one)
        with self.assertRaisesRegex(TypeError, "concurrent.futures.Future"):
            aggregator.add("three", 3)
        aggregator.clear()
        self.assertEqual(aggregator.get_all_results(), {})


if __name__ == "__main__":
    unittest.main()
