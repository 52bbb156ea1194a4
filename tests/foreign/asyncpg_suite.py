# SPDX-License-Identifier: Apache-2.0
"""asyncpg against a real PostgreSQL, over a Unix socket, TCP and TLS."""

import asyncio
import contextlib
import datetime
import decimal
import io
import ssl
import unittest
import uuid
from typing import Any

import asyncpg

import postgres
from bounded import on_a_loop

stack = contextlib.ExitStack()
servers: "list[postgres.Postgres]" = []  # one, while the tests run


def setUpModule() -> None:
    servers.append(stack.enter_context(postgres.running()))


def tearDownModule() -> None:
    stack.close()


def way(over: str) -> "dict[str, Any]":
    server = servers[0]
    common = {"port": server.port, "user": postgres.USER, "database": "postgres", "timeout": 10}
    if over == "unix":
        return {**common, "host": server.folder}
    if over == "tcp":
        return {**common, "host": "127.0.0.1", "ssl": False}
    context = ssl.create_default_context(cafile=server.certificate)
    context.check_hostname = False
    return {**common, "host": "127.0.0.1", "ssl": context}


async def connect(over: str = "unix") -> Any:
    return await asyncpg.connect(**way(over))


class Queries(unittest.TestCase):
    @on_a_loop
    async def test_every_way_carries_a_thousand_queries(self) -> None:
        for over in ("unix", "tcp", "tls"):
            connection = await connect(over)
            try:
                used = await connection.fetchval(
                    "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
                )
                self.assertEqual(used, over == "tls")
                for number in range(1000):
                    self.assertEqual(
                        await connection.fetchval("select $1::int + 1", number), number + 1
                    )
            finally:
                await connection.close()

    @on_a_loop
    async def test_types_come_back(self) -> None:
        values = {
            "int8": -(2**62),
            "float8": 0.1,
            "text": "ünïcödé \N{SNOWMAN}",
            "bytea": bytes(range(256)),
            "numeric": decimal.Decimal("12345678901234567890.123456789"),
            "timestamptz": datetime.datetime(2020, 2, 29, 12, tzinfo=datetime.timezone.utc),
            "interval": datetime.timedelta(days=3, seconds=4, microseconds=5),
            "uuid": uuid.uuid4(),
            "bool": True,
            "int4[]": [1, None, 3],
        }
        connection = await connect()
        for kind, value in values.items():
            self.assertEqual(await connection.fetchval(f"select $1::{kind}", value), value)
        self.assertIsNone(await connection.fetchval("select null"))
        await connection.close()

    @on_a_loop
    async def test_large_results_and_arguments(self) -> None:
        for over in ("unix", "tls"):
            connection = await connect(over)
            text = "x" * (8 << 20)
            self.assertEqual(await connection.fetchval("select length($1::text)", text), len(text))
            self.assertEqual(await connection.fetchval("select repeat('x', $1)", len(text)), text)
            rows = await connection.fetch(
                "select n, repeat('y', 100) from generate_series(1, 50000) n"
            )
            self.assertEqual((len(rows), rows[-1]["n"]), (50000, 50000))
            await connection.close()

    @on_a_loop
    async def test_prepared_statements_cursors_and_transactions(self) -> None:
        connection = await connect()
        await connection.execute("create temp table t (n int primary key, s text)")
        await connection.executemany(
            "insert into t values ($1, $2)", [(number, str(number)) for number in range(5000)]
        )
        statement = await connection.prepare("select s from t where n = $1")
        self.assertEqual(
            [await statement.fetchval(n) for n in (1, 4999, 5000)], ["1", "4999", None]
        )
        async with connection.transaction():
            seen = [
                row["n"]
                async for row in connection.cursor("select n from t order by n", prefetch=77)
            ]
        self.assertEqual(seen, list(range(5000)))
        with self.assertRaises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute("delete from t where n > 10")
                await connection.execute("insert into t values (1, '')")
        async with connection.transaction():
            await connection.execute("delete from t where n < 1000")
            with contextlib.suppress(ZeroDivisionError):
                async with connection.transaction():
                    await connection.execute("delete from t")
                    raise ZeroDivisionError
        self.assertEqual(await connection.fetchval("select count(*) from t"), 4000)
        await connection.close()

    @on_a_loop
    async def test_copy_in_and_out(self) -> None:
        connection = await connect()
        await connection.execute("create temp table t (n int, s text)")
        records = [(number, f"row {number}") for number in range(20000)]
        self.assertEqual(await connection.copy_records_to_table("t", records=records), "COPY 20000")
        out = io.BytesIO()
        await connection.copy_from_table("t", output=out, format="csv")
        self.assertEqual(out.getvalue().count(b"\n"), 20000)
        out.seek(0)
        self.assertEqual(
            await connection.copy_to_table("t", source=out, format="csv"), "COPY 20000"
        )
        self.assertEqual(await connection.fetchval("select count(*) from t"), 40000)
        await connection.close()

    @on_a_loop
    async def test_errors_leave_the_connection_usable(self) -> None:
        connection = await connect("tcp")
        for _ in range(50):
            with self.assertRaises(asyncpg.PostgresSyntaxError):
                await connection.execute("selekt 1")
            with self.assertRaises(asyncpg.DivisionByZeroError):
                await connection.fetchval("select 1 / 0")
            self.assertEqual(await connection.fetchval("select 1"), 1)
        await connection.close()


class Many(unittest.TestCase):
    @on_a_loop
    async def test_a_pool_serves_many_tasks(self) -> None:
        for over in ("unix", "tls"):
            async with asyncpg.create_pool(**way(over), min_size=2, max_size=10) as pool:

                async def ask(number: int) -> int:
                    async with pool.acquire() as connection:
                        return int(await connection.fetchval("select $1::int * 2", number))

                found = await asyncio.gather(*(ask(number) for number in range(1000)))
                self.assertEqual(found, [2 * number for number in range(1000)])
                self.assertLessEqual(pool.get_size(), 10)

    @on_a_loop
    async def test_locks_between_connections(self) -> None:
        async with asyncpg.create_pool(**way("unix"), min_size=5, max_size=5) as pool:
            await pool.execute("create table if not exists account (total int)")
            await pool.execute("truncate account")
            await pool.execute("insert into account values (0)")

            async def add() -> None:
                async with pool.acquire() as connection, connection.transaction():
                    total = await connection.fetchval("select total from account for update")
                    await connection.execute("update account set total = $1", total + 1)

            await asyncio.gather(*(add() for _ in range(200)))
            self.assertEqual(await pool.fetchval("select total from account"), 200)

    @on_a_loop
    async def test_notifications_arrive_in_order(self) -> None:
        heard: "list[str]" = []
        complete = asyncio.Event()

        def listen(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
            heard.append(payload)
            if len(heard) == 500:
                complete.set()

        listener, speaker = await connect("tcp"), await connect("unix")
        await listener.add_listener("news", listen)
        for number in range(500):
            await speaker.execute(f"notify news, '{number}'")
        await complete.wait()
        self.assertEqual(heard, [str(number) for number in range(500)])
        await listener.close()
        await speaker.close()

    @on_a_loop
    async def test_pipelined_use_of_one_connection_is_refused(self) -> None:
        connection = await connect()
        first = asyncio.ensure_future(connection.fetchval("select pg_sleep(0.05)"))
        await asyncio.sleep(0)
        with self.assertRaises(asyncpg.InterfaceError):
            await connection.fetchval("select 1")
        await first
        await connection.close()


class Ends(unittest.TestCase):
    @on_a_loop
    async def test_a_timeout_cancels_the_query_in_the_server(self) -> None:
        for over in ("unix", "tcp", "tls"):
            connection = await connect(over)
            for _ in range(5):
                with self.assertRaises(asyncio.TimeoutError):
                    await connection.fetchval("select pg_sleep(60)", timeout=0.05)
                self.assertEqual(await connection.fetchval("select 1"), 1)
            await connection.close()

    @on_a_loop
    async def test_cancelling_the_task_frees_the_connection(self) -> None:
        async with asyncpg.create_pool(**way("tcp"), min_size=3, max_size=3) as pool:
            for _ in range(5):
                tasks = [
                    asyncio.ensure_future(pool.fetchval("select pg_sleep(60)")) for _ in range(6)
                ]
                while await self.sleeping() < 3:
                    await asyncio.sleep(0.01)
                for task in tasks:
                    task.cancel()
                ends = await asyncio.gather(*tasks, return_exceptions=True)
                self.assertTrue(all(isinstance(end, asyncio.CancelledError) for end in ends))
            self.assertEqual(await pool.fetchval("select 1"), 1)

    @staticmethod
    async def sleeping() -> int:
        connection = await connect()
        try:
            return int(
                await connection.fetchval(
                    "select count(*) from pg_stat_activity where state = 'active' "
                    "and query = 'select pg_sleep(60)'"
                )
            )
        finally:
            await connection.close()

    @on_a_loop
    async def test_a_killed_backend_is_noticed(self) -> None:
        for over in ("unix", "tls"):
            victim, other = await connect(over), await connect()
            gone = asyncio.Event()
            victim.add_termination_listener(lambda _connection: gone.set())
            query = asyncio.ensure_future(victim.fetchval("select pg_sleep(60)"))
            pid = victim.get_server_pid()
            while not await other.fetchval(
                "select count(*) from pg_stat_activity where pid = $1 and state = 'active'", pid
            ):
                await asyncio.sleep(0.01)
            await other.fetchval("select pg_terminate_backend($1)", pid)
            with self.assertRaises(
                (asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError)
            ):
                await query
            await gone.wait()
            self.assertTrue(victim.is_closed())
            await other.close()

    @on_a_loop
    async def test_nobody_listens(self) -> None:
        with self.assertRaises(OSError):
            await asyncpg.connect(host="/nowhere", user="x", database="x", timeout=5)


if __name__ == "__main__":
    unittest.main()
