"""The pool of connections: bounded, fair, and without leaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf
from time import perf_counter

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.config import Settings
from messenger.database import pool as connection_pool
from messenger.database.engine import create_engine, translate
from messenger.database.pool import ConnectionPool, PooledConnection
from messenger.errors import DatabaseUnavailable, Overloaded
from tests.support.units_of_work import PID, Options, factory_over


@pytest_asyncio.fixture(loop_scope="session")
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(settings.database_url, Options(pool_size=2, pool_timeout=0.1))
    yield engine
    await engine.dispose()


@pytest.fixture
def pool(engine: AsyncEngine) -> ConnectionPool:
    pool = engine.sync_engine.pool
    assert isinstance(pool, ConnectionPool)
    return pool


async def _patient(pool: ConnectionPool) -> asyncio.Task[PooledConnection]:
    """A waiter that is already waiting."""
    task = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    return task


class TestLoans:
    async def test_driver_is_asyncpg_connection(self, pool: ConnectionPool) -> None:
        connection = await pool.acquire()
        assert isinstance(connection.driver, asyncpg.Connection)
        connection.release()

    async def test_last_used_is_acquired_first(self, pool: ConnectionPool) -> None:
        first, second = await pool.acquire(), await pool.acquire()
        first.release()
        second.release()
        assert await pool.acquire() is second
        second.release()

    async def test_acquiring_beyond_size_raises_overloaded(self, pool: ConnectionPool) -> None:
        acquired = [await pool.acquire(), await pool.acquire()]
        with pytest.raises(Overloaded):
            await pool.acquire()
        assert pool.checkedout() == 2
        for connection in acquired:
            connection.release()
        assert pool.checkedout() == 0

    async def test_engine_connections_are_separate(self, engine: AsyncEngine, pool: ConnectionPool) -> None:
        acquired = [await pool.acquire(), await pool.acquire()]
        async with engine.connect() as connection:
            assert (await connection.exec_driver_sql("SELECT 1")).scalar() == 1
        for connection_ in acquired:
            connection_.release()

    async def test_closed_connection_is_not_acquired_again(self, pool: ConnectionPool) -> None:
        connection = await pool.acquire()
        connection.release()
        connection.driver.terminate()
        other = await pool.acquire()
        assert other is not connection
        assert not other.driver.is_closed()
        other.release()

    async def test_connection_closed_on_loan_frees_place(self, pool: ConnectionPool) -> None:
        for _ in range(3):
            connection = await pool.acquire()
            connection.driver.terminate()
            connection.release()
        assert pool.checkedout() == 0


class TestPoolWaiting:
    async def test_longest_wait_is_served_first(self, pool: ConnectionPool) -> None:
        acquired = [await pool.acquire(), await pool.acquire()]
        first, second = await _patient(pool), await _patient(pool)
        acquired[0].release()
        assert await first is acquired[0]
        assert not second.done()
        acquired[1].release()
        assert await second is acquired[1]
        for connection in acquired:
            connection.release()

    async def test_place_of_discarded_connection_goes_to_waiter(self, pool: ConnectionPool) -> None:
        acquired = [await pool.acquire(), await pool.acquire()]
        waiting = await _patient(pool)
        acquired[0].discard()
        fresh = await waiting
        assert fresh not in acquired
        fresh.release()
        acquired[1].release()
        assert pool.checkedout() == 0

    @pytest.mark.parametrize("handed", ["a connection", "a place"])
    async def test_waiter_cancelled_after_being_served_passes_connection_on(
        self, pool: ConnectionPool, handed: str
    ) -> None:
        acquired = [await pool.acquire(), await pool.acquire()]
        waiting = await _patient(pool)
        if handed == "a place":
            acquired[0].discard()
        else:
            acquired[0].release()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.checkedout() == 1
        acquired[1].release()

    async def test_connection_closing_during_hand_over_is_replaced(self, pool: ConnectionPool) -> None:
        acquired = [await pool.acquire(), await pool.acquire()]
        waiter = await _patient(pool)
        acquired[0].release()
        # In the same turn of the loop: the waiter resumes in the next one.
        acquired[0].driver.terminate()
        handed = await waiter
        assert not handed.driver.is_closed()
        assert await handed.driver.fetchval("SELECT 1") == 1
        for connection in (handed, acquired[1]):
            connection.release()
        assert pool.checkedout() == 0

    async def test_cancelled_waiter_is_skipped(self, pool: ConnectionPool) -> None:
        acquired = [await pool.acquire(), await pool.acquire()]
        gone, waiting = await _patient(pool), await _patient(pool)
        gone.cancel()
        await asyncio.sleep(0)
        acquired[0].release()
        assert await waiting is acquired[0]
        for connection in acquired:
            connection.release()

    async def test_waiter_cancelled_while_connecting_frees_place(self, pool: ConnectionPool) -> None:
        connecting = await _patient(pool)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert pool.checkedout() == 0

    async def test_waiting_and_connecting_share_timeout(
        self, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        acquired = [await pool.acquire(), await pool.acquire()]
        waiting = await _patient(pool)
        monkeypatch.setattr(connection_pool, "_MIN_CONNECT_SECONDS", 0.01)
        monkeypatch.setattr(pool, "_timeout", 0.01)
        monkeypatch.setattr(connection_pool, "greenlet_spawn", _never)
        acquired[0].discard()
        with pytest.raises(TimeoutError):
            await waiting
        acquired[1].release()
        assert pool.checkedout() == 0

    async def test_failed_connection_attempt_lets_next_waiter_try(self) -> None:
        nowhere = create_engine("postgresql://nobody@127.0.0.1:1/nothing", Options(pool_size=1, pool_timeout=5))
        pool = nowhere.sync_engine.pool
        assert isinstance(pool, ConnectionPool)
        tries = [await _patient(pool) for _ in range(3)]
        for each in tries:
            with pytest.raises(OSError, match="Connect"):
                await each
        assert pool.checkedout() == 0


class TestUnresponsiveConnections:
    """An unreachable server does not close its connections."""

    async def test_unresponsive_connection_is_closed(
        self, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_pool, "_CHECK_SECONDS", 0.01)
        monkeypatch.setattr(pool, "_silence", 0.02)
        connection = await pool.acquire()
        with pytest.raises(asyncpg.PostgresConnectionError) as caught:
            await connection.driver.execute("SELECT pg_sleep(1)")
        assert isinstance(translate(caught.value), DatabaseUnavailable)
        connection.discard()
        assert pool.checkedout() == 0

    async def test_recently_used_connection_is_not_closed(self, pool: ConnectionPool) -> None:
        old, fresh = await pool.acquire(), await pool.acquire()
        old.since -= 3600
        pool._check(inf)
        assert (old.driver.is_closed(), fresh.driver.is_closed()) == (True, False)
        old.discard()
        fresh.release()

    async def test_connection_is_not_closed_while_process_was_stopped(self, pool: ConnectionPool) -> None:
        connection = await pool.acquire()
        connection.since -= 3600
        # The process was stopped, and this is the first thing that it does.
        pool._check(perf_counter() - 0.001)
        assert not connection.driver.is_closed()
        connection.release()

    async def test_delayed_check_is_tolerated_once(self, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection_pool, "_CHECK_SECONDS", 0.01)
        # Makes every check late.
        monkeypatch.setattr(connection_pool, "_LATE_SECONDS", -inf)
        monkeypatch.setattr(pool, "_silence", 0.02)
        connection = await pool.acquire()
        with pytest.raises(asyncpg.PostgresConnectionError):
            await connection.driver.execute("SELECT pg_sleep(1)")
        connection.discard()

    async def test_delayed_check_still_refuses_waiters(self, pool: ConnectionPool) -> None:
        acquired = [await pool.acquire(), await pool.acquire()]
        waiting = await _patient(pool)
        waiter, asked = pool._waiters[0]
        pool._waiters[0] = waiter, asked - 3600
        pool._check(perf_counter() - 0.001)
        with pytest.raises(Overloaded):
            await waiting
        for each in acquired:
            each.release()

    async def test_idle_connection_is_not_closed(self, pool: ConnectionPool) -> None:
        connection = await pool.acquire()
        connection.release()
        connection.since -= 3600
        pool._check(inf)
        assert await pool.acquire() is connection
        connection.release()

    async def test_statement_marks_connection_as_used(self, engine: AsyncEngine) -> None:
        async with factory_over(engine).read() as uow:
            uow._checkout.connection.since = 0.0
            await uow.statements.first(PID)
            assert uow._checkout.connection.since > 0


class TestPoolShutdown:
    async def test_shutdown_closes_idle_and_returned_connections(
        self, engine: AsyncEngine, pool: ConnectionPool
    ) -> None:
        resting, acquired = await pool.acquire(), await pool.acquire()
        resting.release()
        await engine.dispose()
        assert (resting.driver.is_closed(), acquired.driver.is_closed()) == (True, False)
        acquired.release()
        assert acquired.driver.is_closed()
        assert pool.checkedout() == 0

    async def test_shutdown_refuses_waiters(self, engine: AsyncEngine, pool: ConnectionPool) -> None:
        acquired = [await pool.acquire(), await pool.acquire()]
        waiting = await _patient(pool)
        await engine.dispose()
        with pytest.raises(Overloaded):
            await waiting
        for connection in acquired:
            connection.release()


async def _never(*_: object) -> None:
    """A server that accepts a connection and never responds."""
    await asyncio.Event().wait()
