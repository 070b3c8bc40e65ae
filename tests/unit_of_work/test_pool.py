"""The pool of connections: bounded, fair, and nothing is lost in it."""

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
from tests.unit_of_work import PID, Options, factory_over


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
    """Somebody who waits already."""
    task = asyncio.create_task(pool.borrow())
    await asyncio.sleep(0)
    return task


class TestLoans:
    async def test_driver_is_asyncpgs_connection(self, pool: ConnectionPool) -> None:
        connection = await pool.borrow()
        assert isinstance(connection.driver, asyncpg.Connection)
        connection.give_back()

    async def test_last_used_is_lent_first(self, pool: ConnectionPool) -> None:
        first, second = await pool.borrow(), await pool.borrow()
        first.give_back()
        second.give_back()
        assert await pool.borrow() is second
        second.give_back()

    async def test_more_than_its_size_is_overload(self, pool: ConnectionPool) -> None:
        lent = [await pool.borrow(), await pool.borrow()]
        with pytest.raises(Overloaded):
            await pool.borrow()
        assert pool.checkedout() == 2
        for connection in lent:
            connection.give_back()
        assert pool.checkedout() == 0

    async def test_engine_s_own_connections_are_apart(self, engine: AsyncEngine, pool: ConnectionPool) -> None:
        lent = [await pool.borrow(), await pool.borrow()]
        async with engine.connect() as connection:
            assert (await connection.exec_driver_sql("SELECT 1")).scalar() == 1
        for connection_ in lent:
            connection_.give_back()

    async def test_closed_one_is_not_lent_again(self, pool: ConnectionPool) -> None:
        connection = await pool.borrow()
        connection.give_back()
        connection.driver.terminate()
        other = await pool.borrow()
        assert other is not connection
        assert not other.driver.is_closed()
        other.give_back()

    async def test_one_that_closed_on_loan_leaves_its_place(self, pool: ConnectionPool) -> None:
        for _ in range(3):
            connection = await pool.borrow()
            connection.driver.terminate()
            connection.give_back()
        assert pool.checkedout() == 0


class TestWaiting:
    async def test_longest_wait_is_served_first(self, pool: ConnectionPool) -> None:
        lent = [await pool.borrow(), await pool.borrow()]
        first, second = await _patient(pool), await _patient(pool)
        lent[0].give_back()
        assert await first is lent[0]
        assert not second.done()
        lent[1].give_back()
        assert await second is lent[1]
        for connection in lent:
            connection.give_back()

    async def test_place_of_a_discarded_one_goes_to_who_waits(self, pool: ConnectionPool) -> None:
        lent = [await pool.borrow(), await pool.borrow()]
        waiting = await _patient(pool)
        lent[0].discard()
        fresh = await waiting
        assert fresh not in lent
        fresh.give_back()
        lent[1].give_back()
        assert pool.checkedout() == 0

    @pytest.mark.parametrize("handed", ["a connection", "a place"])
    async def test_cancelled_after_it_was_served_it_passes_it_on(self, pool: ConnectionPool, handed: str) -> None:
        lent = [await pool.borrow(), await pool.borrow()]
        waiting = await _patient(pool)
        if handed == "a place":
            lent[0].discard()
        else:
            lent[0].give_back()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.checkedout() == 1
        lent[1].give_back()

    async def test_one_that_closes_while_it_is_handed_over_is_replaced(self, pool: ConnectionPool) -> None:
        lent = [await pool.borrow(), await pool.borrow()]
        waiter = await _patient(pool)
        lent[0].give_back()
        # In the same turn of the loop: who waits hears of it in the next one.
        lent[0].driver.terminate()
        handed = await waiter
        assert not handed.driver.is_closed()
        assert await handed.driver.fetchval("SELECT 1") == 1
        for connection in (handed, lent[1]):
            connection.give_back()
        assert pool.checkedout() == 0

    async def test_cancelled_while_it_waits_it_is_passed_over(self, pool: ConnectionPool) -> None:
        lent = [await pool.borrow(), await pool.borrow()]
        gone, waiting = await _patient(pool), await _patient(pool)
        gone.cancel()
        await asyncio.sleep(0)
        lent[0].give_back()
        assert await waiting is lent[0]
        for connection in lent:
            connection.give_back()

    async def test_cancelled_while_it_connects_it_leaves_its_place(self, pool: ConnectionPool) -> None:
        connecting = await _patient(pool)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert pool.checkedout() == 0

    async def test_waiting_and_connecting_last_no_longer_than_waiting_may(
        self, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lent = [await pool.borrow(), await pool.borrow()]
        waiting = await _patient(pool)
        monkeypatch.setattr(connection_pool, "_LEAST_SECONDS", 0.01)
        monkeypatch.setattr(pool, "_timeout", 0.01)
        monkeypatch.setattr(connection_pool, "greenlet_spawn", _never)
        lent[0].discard()
        with pytest.raises(TimeoutError):
            await waiting
        lent[1].give_back()
        assert pool.checkedout() == 0

    async def test_failed_connection_lets_the_next_one_try(self) -> None:
        nowhere = create_engine("postgresql://nobody@127.0.0.1:1/nothing", Options(pool_size=1, pool_timeout=5))
        pool = nowhere.sync_engine.pool
        assert isinstance(pool, ConnectionPool)
        tries = [await _patient(pool) for _ in range(3)]
        for each in tries:
            with pytest.raises(OSError, match="Connect"):
                await each
        assert pool.checkedout() == 0


class TestSilence:
    """A server that can't be reached any more doesn't close its connections."""

    async def test_connection_that_hears_nothing_is_cut_off(
        self, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_pool, "_WATCH_SECONDS", 0.01)
        monkeypatch.setattr(pool, "_silence", 0.02)
        connection = await pool.borrow()
        with pytest.raises(asyncpg.PostgresConnectionError) as caught:
            await connection.driver.execute("SELECT pg_sleep(1)")
        assert isinstance(translate(caught.value), DatabaseUnavailable)
        connection.discard()
        assert pool.checkedout() == 0

    async def test_one_that_is_set_to_work_again_is_not(self, pool: ConnectionPool) -> None:
        old, fresh = await pool.borrow(), await pool.borrow()
        old.since -= 3600
        pool._look(inf)
        assert (old.driver.is_closed(), fresh.driver.is_closed()) == (True, False)
        old.discard()
        fresh.give_back()

    async def test_one_whose_answer_nobody_could_read_is_not(self, pool: ConnectionPool) -> None:
        connection = await pool.borrow()
        connection.since -= 3600
        # The process was stopped, and this is the first that it does.
        pool._look(perf_counter() - 0.001)
        assert not connection.driver.is_closed()
        connection.give_back()

    async def test_lateness_is_borne_once(self, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection_pool, "_WATCH_SECONDS", 0.01)
        # By this every look comes late.
        monkeypatch.setattr(connection_pool, "_LATE_SECONDS", -inf)
        monkeypatch.setattr(pool, "_silence", 0.02)
        connection = await pool.borrow()
        with pytest.raises(asyncpg.PostgresConnectionError):
            await connection.driver.execute("SELECT pg_sleep(1)")
        connection.discard()

    async def test_who_waits_is_refused_by_a_late_look_too(self, pool: ConnectionPool) -> None:
        lent = [await pool.borrow(), await pool.borrow()]
        waiting = await _patient(pool)
        waiter, asked = pool._waiters[0]
        pool._waiters[0] = waiter, asked - 3600
        pool._look(perf_counter() - 0.001)
        with pytest.raises(Overloaded):
            await waiting
        for each in lent:
            each.give_back()

    async def test_resting_one_is_left_alone(self, pool: ConnectionPool) -> None:
        connection = await pool.borrow()
        connection.give_back()
        connection.since -= 3600
        pool._look(inf)
        assert await pool.borrow() is connection
        connection.give_back()

    async def test_statement_sets_it_to_work(self, engine: AsyncEngine) -> None:
        async with factory_over(engine).read() as uow:
            uow._connection.since = 0.0
            await uow.statements.first(PID)
            assert uow._connection.since > 0


class TestEnd:
    async def test_resting_ones_are_closed_and_lent_ones_when_they_come_back(
        self, engine: AsyncEngine, pool: ConnectionPool
    ) -> None:
        resting, lent = await pool.borrow(), await pool.borrow()
        resting.give_back()
        await engine.dispose()
        assert (resting.driver.is_closed(), lent.driver.is_closed()) == (True, False)
        lent.give_back()
        assert lent.driver.is_closed()
        assert pool.checkedout() == 0

    async def test_who_waits_is_told(self, engine: AsyncEngine, pool: ConnectionPool) -> None:
        lent = [await pool.borrow(), await pool.borrow()]
        waiting = await _patient(pool)
        await engine.dispose()
        with pytest.raises(Overloaded):
            await waiting
        for connection in lent:
            connection.give_back()


async def _never(*_: object) -> None:
    """A server that takes a connection and says nothing."""
    await asyncio.Event().wait()
