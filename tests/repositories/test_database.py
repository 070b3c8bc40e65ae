"""Errors as the database raises them, and how they are translated."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import exc as sa_exc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.config import Settings
from messenger.database.engine import CONSTRAINTS, REPEATABLE, translate
from messenger.errors import (
    ConcurrentUpdate,
    DatabaseUnavailable,
    MessengerError,
    Overloaded,
    PeerNotFound,
    StorageFull,
    UsernameTaken,
    ValidationFailed,
)


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[Any]:
    """A connection whose changes are rolled back."""
    connection = await asyncpg.connect(settings.database_url)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def error_of(connection: Any, sql: str, *args: Any) -> Exception:
    """The error that the driver raises."""
    try:
        await connection.execute(sql, *args)
    except Exception as error:
        return error
    raise AssertionError("it was taken")


async def raised(connection: Any, state: str, constraint: str = "") -> Exception:
    """An error with this SQLSTATE, raised by the server itself."""
    named = f", CONSTRAINT = '{constraint}'" if constraint else ""
    return await error_of(connection, f"DO $$ BEGIN RAISE 'no' USING ERRCODE = '{state}'{named}; END $$")


class TestViolations:
    async def test_known_unique_constraint_is_translated(self, connection: Any) -> None:
        sql = """
            WITH peer AS (INSERT INTO peers VALUES ($1, 'user'), ($2, 'user'))
            INSERT INTO users (id, username_key, name, last_activity, created_at)
            VALUES ($1, $3, 'Ada', now(), now()), ($2, $3, 'Eve', now(), now())
        """
        number = secrets.randbelow(2**50)
        error = await error_of(connection, sql, number, number + 1, secrets.token_hex(8))
        assert isinstance(translate(error), UsernameTaken)

    async def test_unknown_unique_constraint_is_a_fault(self, connection: Any) -> None:
        error = await error_of(connection, "INSERT INTO peers VALUES ($1, 'user'), ($1, 'user')", 2**51)
        assert isinstance(error, asyncpg.UniqueViolationError)
        assert translate(error) is None

    @pytest.mark.parametrize("constraint", sorted(REPEATABLE))
    async def test_lost_race_is_retryable(self, connection: Any, constraint: str) -> None:
        assert isinstance(translate(await raised(connection, "23505", constraint)), ConcurrentUpdate)

    @pytest.mark.parametrize("constraint", sorted({*REPEATABLE, *CONSTRAINTS}))
    async def test_translated_constraint_exists(self, connection: Any, constraint: str) -> None:
        found = await connection.fetchval("SELECT count(*) FROM pg_constraint WHERE conname = $1", constraint)
        assert found == 1

    @pytest.mark.parametrize(
        "sql",
        [
            "INSERT INTO peers VALUES (1, 'ghost')",
            "INSERT INTO streams (user_id) VALUES (1)",
            "INSERT INTO peers VALUES (1, NULL)",
        ],
        ids=["check", "foreign key", "not null"],
    )
    async def test_other_violation_is_a_fault(self, connection: Any, sql: str) -> None:
        assert translate(await error_of(connection, sql)) is None


class TestOverload:
    async def test_lock_timeout_is_overload(self, connection: Any, settings: Settings) -> None:
        holder = await asyncpg.connect(settings.database_url)
        await holder.execute("SELECT pg_advisory_lock(4711)")
        await connection.execute("SET LOCAL lock_timeout = 10")
        error = await error_of(connection, "SELECT pg_advisory_xact_lock(4711)")
        await holder.close()
        assert isinstance(error, asyncpg.LockNotAvailableError)
        assert isinstance(translate(error), Overloaded)

    async def test_statement_timeout_is_overload(self, connection: Any) -> None:
        await connection.execute("SET LOCAL statement_timeout = 10")
        error = await error_of(connection, "SELECT pg_sleep(10)")
        assert isinstance(error, asyncpg.QueryCanceledError)
        assert isinstance(translate(error), Overloaded)

    async def test_exhausted_connections_are_overload(self, connection: Any) -> None:
        assert isinstance(translate(await raised(connection, "53300")), Overloaded)

    @pytest.mark.parametrize("state", ["40001", "40P01"])
    async def test_conflict_is_retryable(self, connection: Any, state: str) -> None:
        assert isinstance(translate(await raised(connection, state)), ConcurrentUpdate)

    async def test_full_disk_is_storage_full_error(self, connection: Any) -> None:
        assert isinstance(translate(await raised(connection, "53100")), StorageFull)


class TestValues:
    async def test_overlong_text_is_a_fault(self, connection: Any) -> None:
        # Every length is checked when the request is read: a text that is too long here has passed that check.
        error = await error_of(connection, "INSERT INTO peers VALUES (1, 'far too long')")
        assert isinstance(error, asyncpg.StringDataRightTruncationError)
        assert translate(error) is None

    @pytest.mark.parametrize(("kind", "value"), [("bigint", 2**63), ("bigint", -(2**63) - 1), ("int", 2**31)])
    async def test_number_out_of_range_is_not_valid(self, connection: Any, kind: str, value: int) -> None:
        assert isinstance(translate(await error_of(connection, f"SELECT $1::{kind}", value)), ValidationFailed)

    async def test_value_of_wrong_type_is_not_valid(self, connection: Any) -> None:
        assert isinstance(translate(await error_of(connection, "SELECT $1::uuid", "no uuid")), ValidationFailed)

    async def test_nul_in_text_is_not_valid(self, connection: Any) -> None:
        assert isinstance(translate(await error_of(connection, "SELECT $1::text", "a\0b")), ValidationFailed)

    async def test_nul_in_json_is_not_valid(self, connection: Any) -> None:
        error = await error_of(connection, "SELECT $1::jsonb ->> 'a'", '{"a": "\\u0000"}')
        assert isinstance(translate(error), ValidationFailed)

    async def test_lone_surrogate_is_not_valid(self, connection: Any) -> None:
        assert isinstance(translate(await error_of(connection, "SELECT $1::text", "\ud800")), ValidationFailed)

    async def test_refusal_does_not_repeat_value(self, connection: Any) -> None:
        refusal = translate(await error_of(connection, "SELECT $1::uuid", "canary"))
        assert isinstance(refusal, MessengerError)
        assert "canary" not in f"{refusal} {refusal.detail} {refusal.errors}"


class TestDatabaseUnavailable:
    @pytest.mark.parametrize("state", ["08000", "08006", "57P01", "57P02", "57P03", "53200"])
    async def test_server_shutting_down_is_unavailable(self, connection: Any, state: str) -> None:
        error = translate(await raised(connection, state))
        assert isinstance(error, DatabaseUnavailable)
        assert error.response_headers["Retry-After"] == "1"

    async def test_read_only_server_is_unavailable(self, connection: Any) -> None:
        await connection.execute("SET TRANSACTION READ ONLY")
        error = await error_of(connection, "INSERT INTO peers VALUES (1, 'user')")
        assert isinstance(error, asyncpg.ReadOnlySQLTransactionError)
        assert isinstance(translate(error), DatabaseUnavailable)

    async def test_closed_connection_is_unavailable(self, settings: Settings) -> None:
        connection = await asyncpg.connect(settings.database_url)
        await connection.close()
        assert isinstance(translate(await error_of(connection, "SELECT 1")), DatabaseUnavailable)

    @pytest.mark.parametrize("error", [ConnectionRefusedError(), FileNotFoundError(), TimeoutError()])
    def test_network_error_is_unavailable(self, error: Exception) -> None:
        assert isinstance(translate(error), DatabaseUnavailable)


class TestFaults:
    async def test_unknown_table_is_a_fault(self, connection: Any) -> None:
        error = await error_of(connection, "SELECT * FROM nowhere")
        assert isinstance(error, asyncpg.UndefinedTableError)
        assert translate(error) is None

    @pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), RuntimeError("x"), PeerNotFound()])
    def test_non_database_error_is_not_translated(self, error: Exception) -> None:
        assert translate(error) is None


class TestThroughSqlalchemy:
    """The same errors, wrapped twice."""

    async def test_violation_is_unwrapped(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            with pytest.raises(sa_exc.IntegrityError) as caught:
                await connection.execute(
                    text("DO $$ BEGIN RAISE 'no' USING ERRCODE = '23505', CONSTRAINT = 'uq_users_username_key'; END $$")
                )
        assert isinstance(translate(caught.value), UsernameTaken)

    async def test_fault_stays_unwrapped(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            with pytest.raises(sa_exc.ProgrammingError) as caught:
                await connection.execute(text("SELECT * FROM nowhere"))
        assert translate(caught.value) is None


class TestConnection:
    async def test_connection_sets_application_name_and_session_settings(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            names = ("application_name", "timezone", "jit", "idle_in_transaction_session_timeout")
            shown = [(await connection.execute(text(f"SHOW {name}"))).scalar() for name in names]
        assert shown == ["messenger", "UTC", "off", "30s"]
