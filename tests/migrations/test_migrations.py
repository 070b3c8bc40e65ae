"""Migrations: up, down and up again; the models say the same; nobody waits long for a lock."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from messenger import migrations

REVISIONS = [
    revision.revision
    for revision in reversed(list(ScriptDirectory.from_config(migrations.alembic_config()).walk_revisions()))
]


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """A database without a schema."""
    name = f"messenger_stairway_{secrets.token_hex(4)}"
    asyncio.run(_execute(postgres_url, f"DROP DATABASE IF EXISTS {name}"))
    asyncio.run(_execute(postgres_url, f"CREATE DATABASE {name}"))
    yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    asyncio.run(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


def test_stairway(empty_url: str) -> None:
    for revision in REVISIONS:
        migrations.upgrade(empty_url, revision)
        migrations.downgrade(empty_url, "-1")
        migrations.upgrade(empty_url, revision)


def test_models_say_what_migrations_do(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    migrations.check(empty_url)


def test_two_at_once_wait_for_each_other(empty_url: str) -> None:
    command = [sys.executable, "-m", "messenger", "db", "upgrade"]
    environment = {**os.environ, "MESSENGER_DATABASE_URL": empty_url}
    both = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]


def test_every_migration_has_a_way_back() -> None:
    folder = Path(migrations.alembic_config().get_main_option("script_location") or "") / "versions"
    for path in folder.glob("*.py"):
        assert "def downgrade() -> None:\n    pass" not in path.read_text()


async def test_a_migration_that_waits_for_a_lock_gives_up(empty_url: str) -> None:
    command = [sys.executable, "-m", "messenger", "db", "downgrade", "base", "--yes"]
    environment = {
        **os.environ,
        "MESSENGER_DATABASE_URL": empty_url,
        "MESSENGER_MIGRATION_LOCK_TIMEOUT": "100ms",
    }
    up = await asyncio.create_subprocess_exec(*command[:4], "upgrade", env=environment)
    assert await up.wait() == 0
    holder = await asyncpg.connect(empty_url)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE users IN ACCESS SHARE MODE")
            down = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
            _, said = await down.communicate()
    finally:
        await holder.close()
    assert down.returncode != 0
    assert b"lock timeout" in said
