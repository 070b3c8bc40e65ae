"""Migrations go up, down and up again, match the models, and never wait long for a lock."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from threading import Event

import asyncpg
import pytest
import pytest_asyncio
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from messenger import migrations
from messenger.testing.databases import create_database, drop_database

REVISIONS = [
    revision.revision
    for revision in reversed(list(ScriptDirectory.from_config(migrations.alembic_config()).walk_revisions()))
]


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """A database without a schema."""
    url = asyncio.run(create_database(postgres_url))
    yield url
    asyncio.run(drop_database(postgres_url, url))


def test_each_migration_upgrades_downgrades_and_upgrades_again(empty_url: str) -> None:
    for revision in REVISIONS:
        migrations.upgrade(empty_url, revision)
        migrations.downgrade(empty_url, "-1")
        migrations.upgrade(empty_url, revision)


def test_models_match_migrated_schema(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    migrations.check(empty_url)


def test_concurrent_upgrades_wait_for_each_other(empty_url: str) -> None:
    command = [sys.executable, "-m", "messenger", "db", "upgrade"]
    environment = {**os.environ, "MESSENGER_DATABASE_URL": empty_url}
    both = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]


def test_every_migration_can_be_downgraded() -> None:
    folder = Path(migrations.alembic_config().get_main_option("script_location") or "") / "versions"
    for path in folder.glob("*.py"):
        assert "def downgrade() -> None:\n    pass" not in path.read_text()


class TestTableInUse:
    """A migration never waits long for its lock, because later requests would queue behind it."""

    @pytest_asyncio.fixture
    async def holder(self, empty_url: str) -> AsyncIterator[asyncpg.Connection]:
        """A transaction that has read the table of users."""
        await asyncio.to_thread(migrations.upgrade, empty_url)
        connection = await asyncpg.connect(empty_url)
        async with connection.transaction():
            await connection.execute("LOCK TABLE users IN ACCESS SHARE MODE")
            yield connection
        await connection.close()

    async def test_migration_gives_up_on_locked_table(
        self, empty_url: str, holder: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MESSENGER_MIGRATION_LOCK_TIMEOUT", "100ms")
        monkeypatch.setattr(migrations, "_RETRY_SECONDS", 0)
        with pytest.raises(DBAPIError, match="lock timeout"):
            await asyncio.to_thread(migrations.downgrade, empty_url, "base")

    async def test_migration_retries_until_table_is_free(
        self, empty_url: str, holder: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits = Event()
        monkeypatch.setenv("MESSENGER_MIGRATION_LOCK_TIMEOUT", "100ms")
        monkeypatch.setattr("messenger.migrations.time.sleep", lambda _: waits.set())
        down = asyncio.create_task(asyncio.to_thread(migrations.downgrade, empty_url, "base"))
        assert await asyncio.to_thread(waits.wait, 20)
        await holder.execute("ROLLBACK; BEGIN")
        await down
        assert await holder.fetchval("SELECT to_regclass('users') IS NULL")

    async def test_interrupted_index_build_is_repeated(self, empty_url: str) -> None:
        await asyncio.to_thread(migrations.upgrade, empty_url, "0004")
        writer, maker = await asyncpg.connect(empty_url), await asyncpg.connect(empty_url)
        async with writer.transaction():
            await writer.execute("LOCK TABLE users IN ROW EXCLUSIVE MODE")
            await maker.execute("SET lock_timeout = '50ms'")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await maker.execute("CREATE INDEX CONCURRENTLY ix_users_id ON users USING hash (id)")
        is_valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_users_id'::regclass"
        assert await maker.fetchval(is_valid) is False
        await asyncio.to_thread(migrations.upgrade, empty_url, "0005")
        assert await maker.fetchval(is_valid) is True
        await writer.close()
        await maker.close()

    async def test_migration_step_runs_once(
        self, empty_url: str, holder: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The version of the schema does not show which part of a step was done."""
        tries: list[str] = []

        def fail(_: object, revision: str) -> None:
            tries.append(revision)
            raise DBAPIError("", {}, asyncpg.LockNotAvailableError("lock timeout"))

        monkeypatch.setattr("alembic.command.downgrade", fail)
        with pytest.raises(DBAPIError):
            await asyncio.to_thread(migrations.downgrade, empty_url, "-1")
        assert tries == ["-1"]
