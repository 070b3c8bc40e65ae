"""A commit that fails, an exhausted pool, an unavailable database: clear errors, and recovery without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.database.engine import create_engine
from messenger.embedded.postgres import EmbeddedPostgres
from messenger.errors import ConcurrentUpdate, DatabaseUnavailable, Overloaded, UsernameTaken
from messenger.testing import Factory
from messenger.testing.folders import memory_folder
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict
from tests.support.units_of_work import (
    PID,
    PUT,
    SLEEP,
    Options,
    Recorder,
    checked_out,
    count_of,
    factory_over,
    until_asleep,
)


@pytest.fixture
async def engine_of(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Creates engines with a pool of one, and disposes of them."""
    made: list[AsyncEngine] = []

    def make(url: str) -> AsyncEngine:
        made.append(create_engine(url, Options()))
        return made[-1]

    yield make
    for engine in made:
        await engine.dispose()


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()


async def _ask(factory: UnitOfWorkFactory, mode: str = "read") -> int:
    async with getattr(factory, mode)() as uow:
        row = await uow.statements.first(PID)
    return int(row.number)


class TestFailedCommit:
    """Constraints that are only checked at COMMIT."""

    @pytest.fixture
    async def fresh(self, fresh_database_url: str, settings: Settings, clock: FixedClock) -> AsyncIterator[Container]:
        container = Container(msgspec.structs.replace(settings, database_url=fresh_database_url), clock=clock)
        yield container
        await container.close()

    async def test_known_constraint_at_commit_is_translated(self, fresh: Container, fresh_database_url: str) -> None:
        recorder = Recorder()
        fresh.uow.announcer = recorder
        await _execute(
            fresh_database_url,
            """
            ALTER TABLE users DROP CONSTRAINT uq_users_username_key;
            ALTER TABLE users ADD CONSTRAINT uq_users_username_key UNIQUE (username_key) DEFERRABLE INITIALLY DEFERRED;
            """,
        )
        await Factory(fresh).person("ada")
        announced = len(recorder.news)
        with pytest.raises(UsernameTaken):
            await Factory(fresh).person("ada")
        assert len(await fresh.services.administration.list_accounts()) == 1
        assert len(recorder.news) == announced > 0
        assert checked_out(fresh.engine) == 0

    async def test_unknown_constraint_at_commit_is_a_fault(self, fresh: Container, fresh_database_url: str) -> None:
        await _execute(
            fresh_database_url,
            "ALTER TABLE rate_buckets ADD CONSTRAINT odd UNIQUE (tokens) DEFERRABLE INITIALLY DEFERRED",
        )

        async def use_case() -> None:
            async with fresh.uow() as uow:
                await uow.statements.execute(PUT, key="one")
                await uow.statements.execute(PUT, key="other")

        with pytest.raises(asyncpg.UniqueViolationError):
            await use_case()
        assert await count_of(fresh.uow, "one") is None
        assert checked_out(fresh.engine) == 0

    @pytest.mark.parametrize("state", ["40001", "40P01"])
    async def test_conflict_at_commit_is_retried(self, fresh: Container, fresh_database_url: str, state: str) -> None:
        await _execute(
            fresh_database_url,
            f"""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.key = 'first' THEN RAISE 'not now' USING ERRCODE = '{state}'; END IF; RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON rate_buckets DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION refuse();
            """,
        )
        keys = iter(["first", "second"])

        @retry_on_conflict
        async def use_case() -> str:
            async with fresh.uow() as uow:
                key = next(keys)
                await uow.statements.execute(PUT, key=key)
            return key

        assert await use_case() == "second"
        assert await count_of(fresh.uow, "first") is None

    async def test_conflict_at_commit_raises_transient_conflict(
        self, fresh: Container, fresh_database_url: str
    ) -> None:
        await _execute(
            fresh_database_url,
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE 'not now' USING ERRCODE = '40001';
            END $$;
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON rate_buckets DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION refuse();
            """,
        )

        async def use_case() -> None:
            async with fresh.uow() as uow:
                await uow.statements.execute(PUT, key="one")

        with pytest.raises(ConcurrentUpdate):
            await use_case()


class TestExhaustedPool:
    async def test_exhausted_pool_raises_overloaded(self, settings: Settings, engine_of: Any) -> None:
        factory = factory_over(engine_of(settings.database_url))
        taken = await factory.pool.acquire()
        with pytest.raises(Overloaded):
            await _ask(factory)
        taken.release()
        assert await _ask(factory) > 0

    async def test_refused_unit_of_work_takes_no_connection(self, settings: Settings, engine_of: Any) -> None:
        engine = engine_of(settings.database_url)
        factory = factory_over(engine)
        taken = await factory.pool.acquire()
        with pytest.raises(Overloaded):
            await _ask(factory, "__call__")
        taken.release()
        assert checked_out(engine) == 0


class TestDatabaseAway:
    @pytest.mark.parametrize("mode", ["__call__", "command", "read"])
    async def test_closed_port_raises_database_unavailable(self, engine_of: Any, mode: str) -> None:
        engine = engine_of("postgresql://nobody:secret@127.0.0.1:1/nothing")
        with pytest.raises(DatabaseUnavailable) as caught:
            await _ask(factory_over(engine), mode)
        assert caught.value.response_headers["Retry-After"] == "1"
        assert checked_out(engine) == 0

    async def test_error_does_not_reveal_database_url(self, engine_of: Any) -> None:
        with pytest.raises(DatabaseUnavailable) as caught:
            await _ask(factory_over(engine_of("postgresql://nobody:secret@127.0.0.1:1/nothing")))
        assert caught.value.detail == DatabaseUnavailable.title

    @pytest.fixture
    def away(self) -> Iterator[EmbeddedPostgres]:
        """A server of this test's own, which it may stop."""
        with memory_folder("unit-of-work") as folder:
            server = EmbeddedPostgres(folder / "postgres", durable=False)
            yield server
            server.stop()

    async def test_factory_recovers_after_database_returns(self, away: EmbeddedPostgres, engine_of: Any) -> None:
        engine = engine_of(away.start())
        factory = factory_over(engine)
        await _ask(factory)
        away.stop()
        for mode in ("read", "__call__"):
            with pytest.raises(DatabaseUnavailable):
                await _ask(factory, mode)
        away.start()
        assert await _ask(factory, "__call__") > 0
        assert checked_out(engine) == 0


class TestTerminatedBackend:
    @pytest.fixture
    def gone(self) -> asyncio.Event:
        return asyncio.Event()

    @pytest.fixture
    async def factory(self, settings: Settings, engine_of: Any, gone: asyncio.Event) -> UnitOfWorkFactory:
        engine = engine_of(settings.database_url)

        def on_connect(connection: Any, _: Any) -> None:
            connection.driver_connection.add_termination_listener(lambda _: gone.set())

        event.listen(engine.sync_engine, "connect", on_connect)
        made: UnitOfWorkFactory = factory_over(engine)
        return made

    async def test_next_request_gets_new_connection(
        self, factory: UnitOfWorkFactory, settings: Settings, gone: asyncio.Event
    ) -> None:
        pid = await _ask(factory)
        await _execute(settings.database_url, f"SELECT pg_terminate_backend({pid})")
        await gone.wait()
        assert await _ask(factory) != pid
        assert checked_out(factory.engine) == 0

    @pytest.mark.parametrize("mode", ["__call__", "command", "read"])
    async def test_terminated_statement_fails_and_next_request_succeeds(
        self, factory: UnitOfWorkFactory, settings: Settings, mode: str
    ) -> None:
        outside = await asyncpg.connect(settings.database_url)
        pid = await _ask(factory)

        async def use_case() -> None:
            async with getattr(factory, mode)() as uow:
                await uow.statements.first(SLEEP)

        task = asyncio.create_task(use_case())
        await until_asleep(outside, settings.database_url.partition("?")[0].rpartition("/")[2])
        await outside.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(DatabaseUnavailable):
            await task
        assert checked_out(factory.engine) == 0
        assert await _ask(factory) != pid
        await outside.close()
