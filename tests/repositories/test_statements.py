"""Hot statements: how they are compiled, run, checked and observed."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.actor import Actor, Bearer, Caller
from messenger.clock import FixedClock
from messenger.database.rows import columns_of
from messenger.database.statements import STATEMENTS, Statement
from messenger.errors import Overloaded
from messenger.security.tokens import token_hash
from messenger.testing import Factory, Person
from messenger.unit_of_work import UnitOfWorkFactory
from tests.support.units_of_work import Number, Recorder, factory_over, probe

NOBODY = Actor(1, UUID(int=1))


class Pair(msgspec.Struct, frozen=True):
    one: str
    other: str


class Outer(msgspec.Struct, frozen=True):
    first: int
    pair: Pair | None
    last: int
    always: Mine


class Mine(msgspec.Struct, frozen=True):
    user_id: int
    number: int | None


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def factory(engine: AsyncEngine, recorder: Recorder) -> Any:
    return factory_over(engine, recorder)


def sql(text: str) -> tuple[str, tuple[str, ...]]:
    """The SQL that asyncpg gets for a known caller."""
    compiled = probe("shape", text).compiled_for(NOBODY)
    return compiled.sql, compiled.parameters


class TestCompile:
    @pytest.mark.parametrize(
        ("text", "compiled", "parameters"),
        [
            ("SELECT 1", "SELECT 1", ()),
            ("SELECT :a, :b", "SELECT $1, $2", ("a", "b")),
            ("SELECT :b, :a, :b", "SELECT $1, $2, $1", ("b", "a")),
            ("SELECT :a::text", "SELECT $1::text", ("a",)),
            ("SELECT :long_name + :long", "SELECT $1 + $2", ("long_name", "long")),
            ("SELECT x::text, 'a:b'", "SELECT x::text, 'a:b'", ()),
            ("SELECT :now, :now", "SELECT $1::timestamptz, $1::timestamptz", ("now",)),
            ("SELECT :now::date", "SELECT $1::date", ("now",)),
            ("SELECT :user_id, :device_id", "SELECT $1::bigint, $2::uuid", ("user_id", "device_id")),
        ],
    )
    def test_named_parameters_become_numbered(self, text: str, compiled: str, parameters: tuple[str, ...]) -> None:
        assert sql(text) == (compiled, parameters)

    def test_token_and_device_forms_differ_in_caller_lookup(self) -> None:
        statement = probe("forms", "WITH <<actor>> SELECT <<actor_columns>> FROM actor")
        by_token, by_device = statement.compiled_for(Bearer(b"")), statement.compiled_for(NOBODY)
        assert set(by_token.parameters) == {"stale_before", "token_hash", "now"}
        assert set(by_device.parameters) == {"stale_before", "device_id", "user_id"}
        assert "{" not in by_token.sql + by_device.sql

    def test_every_statement_is_registered_by_name(self) -> None:
        assert len(STATEMENTS) > 40
        assert all(statement.name == name for name, statement in STATEMENTS.items())

    def test_no_statement_keeps_unnumbered_parameter(self) -> None:
        for statement in STATEMENTS.values():
            for caller in (Bearer(b""), NOBODY):
                # Neither a comment nor a cast nor quoted text is a parameter.
                text = re.sub(r"--[^\n]*|'[^']*'|::", "", statement.compiled_for(caller).sql)
                assert ":" not in text, statement.name

    @pytest.mark.parametrize("caller", [Bearer(b""), NOBODY], ids=["token", "device"])
    async def test_every_statement_prepares_and_returns_columns_of_row_struct(
        self, engine: AsyncEngine, caller: Caller
    ) -> None:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            for statement in STATEMENTS.values():
                prepared = await driver.prepare(statement.compiled_for(caller).sql)
                columns = [attribute.name for attribute in prepared.get_attributes()]
                shown = columns[statement.skip :]
                assert shown == list(columns_of(statement.row) if statement.row else []), statement.name
                assert (statement.skip == 0) == ("actor_user_id" not in columns), statement.name


class TestRow:
    @pytest.fixture
    def wrong(self) -> Statement[Any]:
        return probe("wrong", "SELECT 'a' AS other, 'b' AS one", Pair)

    @pytest.mark.parametrize("how", ["first", "all"])
    async def test_columns_in_wrong_order_raise_type_error(self, factory: Any, wrong: Statement[Any], how: str) -> None:
        async with factory.read() as uow:
            with pytest.raises(TypeError, match=r"probe\.wrong: columns \('other', 'one'\) are not \('one', 'other'\)"):
                await getattr(uow.statements, how)(wrong)

    async def test_missing_column_raises_type_error(self, factory: Any) -> None:
        async with factory.read() as uow:
            with pytest.raises(TypeError, match="columns"):
                await uow.statements.first(probe("few", "SELECT 'a' AS one", Pair))

    async def test_columns_after_actor_columns_are_checked(self, factory: Any, make: Factory) -> None:
        ada = await make.person()
        statement = probe("mine", "WITH <<actor>> SELECT <<actor_columns>>, 1 AS number, 2 AS user_id FROM actor", Mine)
        async with factory.read() as uow:
            with pytest.raises(TypeError, match="columns"):
                await uow.statements.first(statement, ada.actor)

    async def test_row_is_decoded_to_struct(self, factory: Any) -> None:
        async with factory.read() as uow:
            rows = await uow.statements.all(probe("rows", "SELECT n AS number FROM generate_series(1, 3) AS n", Number))
        assert rows == [Number(1), Number(2), Number(3)]

    async def test_nested_struct_takes_column_per_field(self, factory: Any) -> None:
        text = "SELECT 1 AS first, 'a' AS one, 'b' AS other, 2 AS last, 3 AS user_id, NULL::int AS number"
        nested = probe("nested", text, Outer)
        async with factory.read() as uow:
            assert await uow.statements.first(nested) == Outer(1, Pair("a", "b"), 2, Mine(3, None))
            assert await uow.statements.all(nested) == [Outer(1, Pair("a", "b"), 2, Mine(3, None))]

    async def test_nested_struct_is_null_when_first_column_is_null(self, factory: Any) -> None:
        text = "SELECT 1 AS first, NULL AS one, 'b' AS other, 2 AS last, NULL::int AS user_id, 4 AS number"
        async with factory.read() as uow:
            row = await uow.statements.first(probe("nested_null", text, Outer))
        # `always` may not be None: it is created whatever its columns contain.
        assert (row.pair, row.always.number) == (None, 4)

    async def test_columns_of_nested_struct_are_checked(self, factory: Any) -> None:
        text = "SELECT 1 AS first, 'a' AS other, 'b' AS one, 2 AS last, 3 AS user_id, 4 AS number"
        async with factory.read() as uow:
            with pytest.raises(TypeError, match=r"'other', 'one', .* are not \('first', 'one', 'other', 'last'"):
                await uow.statements.first(probe("nested_order", text, Outer))

    async def test_missing_row_returns_null(self, factory: Any) -> None:
        none = probe("none", "SELECT 1 AS number WHERE false", Number)
        async with factory.read() as uow:
            assert await uow.statements.first(none) is None
            assert await uow.statements.all(none) == []


class TestRun:
    @pytest.fixture
    async def ada(self, make: Factory) -> Person:
        return await make.person()

    @pytest.mark.parametrize("by", ["token", "device"])
    async def test_statement_runs_for_caller(self, factory: Any, ada: Person, by: str) -> None:
        caller = Bearer(token_hash(ada.access_token)) if by == "token" else ada.actor
        mine = probe(
            "mine", "WITH <<actor>> SELECT <<actor_columns>>, actor.user_id, :n::int AS number FROM actor", Mine
        )
        async with factory.read() as uow:
            assert await uow.statements.first(mine, caller, n=7) == Mine(ada.id, 7)
            assert await uow.statements.all(mine, caller, n=7) == [Mine(ada.id, 7)]

    async def test_statements_of_unit_of_work_share_time(self, engine: AsyncEngine, clock: FixedClock) -> None:
        recorder, started = Recorder(), clock.now()
        now = probe("now", "SELECT extract(epoch FROM :now)::bigint AS number", Number)
        async with UnitOfWorkFactory(engine, clock, recorder, recorder).read() as uow:
            first = await uow.statements.first(now)
            clock.advance(seconds=5)
            assert await uow.statements.first(now) == first == Number(int(started.timestamp()))

    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("UPDATE rate_buckets SET tokens = 1 WHERE false", 0),
            ("INSERT INTO rate_buckets SELECT gen_random_uuid()::text, 1, :now FROM generate_series(1, 3)", 3),
            ("SELECT generate_series(1, 4)", 4),
            ("SET LOCAL jit = off", 0),
        ],
    )
    async def test_execute_returns_row_count(self, factory: Any, text: str, count: int) -> None:
        async with factory() as uow:
            assert await uow.statements.execute(probe("count", text, writes=True)) == count

    async def test_missing_parameter_raises_key_error(self, factory: Any) -> None:
        async with factory.read() as uow:
            with pytest.raises(KeyError, match="absent"):
                await uow.statements.first(probe("absent", "SELECT :absent::int AS number", Number))


class TestObserver:
    async def test_observer_is_notified_of_each_statement(self, factory: Any, recorder: Recorder) -> None:
        async with factory.read() as uow:
            await uow.statements.first(probe("one", "SELECT 1 AS number", Number))
            await uow.statements.all(probe("two", "SELECT 2 AS number", Number))
        assert recorder.seen == [("probe.one", False), ("probe.two", False)]

    async def test_observer_is_notified_of_failure(self, factory: Any, recorder: Recorder) -> None:
        async with factory.read() as uow:
            with pytest.raises(asyncpg.DivisionByZeroError):
                await uow.statements.first(probe("fault", "SELECT 1 / 0 AS number", Number))
        assert recorder.seen == [("probe.fault", True)]

    async def test_failure_is_translated(self, factory: Any) -> None:
        busy = probe("busy", "DO $$ BEGIN RAISE 'no room' USING ERRCODE = '53300'; END $$")
        async with factory.read() as uow:
            with pytest.raises(Overloaded):
                await uow.statements.execute(busy)

    async def test_statement_refused_by_mode_is_not_observed(self, factory: Any, recorder: Recorder) -> None:
        async with factory.read() as uow:
            with pytest.raises(RuntimeError, match="read-only"):
                await uow.statements.execute(probe("write", "SELECT 1", writes=True))
        assert recorder.seen == []


class TestInstants:
    def test_resolution_reports_stale_stamps(self, engine: AsyncEngine) -> None:
        instants = factory_over(engine, resolution=30).instants()
        assert instants.now - instants.stale_before == timedelta(seconds=30)
