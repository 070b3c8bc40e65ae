"""Statements, recorders and factories for tests of the unit of work, each on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.clock import FixedClock
from messenger.database.statements import STATEMENTS, Statement
from messenger.events import WakeUp
from messenger.unit_of_work import UnitOfWorkFactory


class Options(msgspec.Struct, frozen=True):
    """A pool of the size that a test needs."""

    pool_size: int = 1
    pool_timeout: float = 0.1
    statement_timeout: float = 10.0


class Recorder:
    """An announcer and an observer that record their calls."""

    def __init__(self) -> None:
        self.news: list[WakeUp] = []
        self.groups_read: list[int] = []
        self.seen: list[tuple[str, bool]] = []

    async def announce(self, news: list[WakeUp]) -> None:
        self.news.extend(news)

    def announce_receipts(self, group_ids: Iterable[int]) -> None:
        self.groups_read = list(group_ids)

    def statement(self, name: str, seconds: float, failed: bool) -> None:
        assert seconds >= 0
        self.seen.append((name, failed))


def probe(name: str, text: Any, row: Any = None, *, writes: bool = False) -> Statement[Any]:
    """A statement of a test, hidden from tests that iterate over all statements."""
    statement: Statement[Any] = Statement(f"probe.{name}", text, row, writes=writes)
    del STATEMENTS[statement.name]
    return statement


class Text(msgspec.Struct, frozen=True):
    text: str


class Number(msgspec.Struct, frozen=True):
    number: int


PUT = probe("put", "INSERT INTO rate_buckets (key, tokens, updated_at) VALUES (:key, 1, :now)", writes=True)
BUMP = probe("bump", "UPDATE rate_buckets SET tokens = tokens + 1 WHERE key = :key", writes=True)
GET = probe("get", "SELECT tokens::int AS number FROM rate_buckets WHERE key = :key", Number)
PID = probe("pid", "SELECT pg_backend_pid() AS number", Number)
SLEEP = probe("sleep", "SELECT pg_sleep(30)::text AS text", Text)


def factory_over(engine: AsyncEngine, recorder: Recorder | None = None, *, resolution: float = 30.0) -> Any:
    """A factory over this engine, at the time of the test clocks."""
    recorder = recorder or Recorder()
    return UnitOfWorkFactory(engine, FixedClock(), recorder, recorder, resolution=resolution)


def checked_out(engine: AsyncEngine) -> int:
    """The number of connections that are checked out of the pool."""
    count: int = engine.pool.checkedout()  # type: ignore[attr-defined]
    return count


async def count_of(factory: UnitOfWorkFactory, key: str) -> int | None:
    """The value stored under a key, read in a separate unit of work."""
    async with factory.read() as uow:
        row = await uow.statements.first(GET, key=key)
    return None if row is None else row.number


async def until(connection: Any, sql: str, *args: Any) -> None:
    """Poll the database until the query returns true."""
    async with asyncio.timeout(10):
        while not await connection.fetchval(sql, *args):
            pass


async def until_asleep(connection: Any, database: str) -> None:
    """Wait until a statement sleeps in this database."""
    asleep = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep')"
    await until(connection, asleep, database)
