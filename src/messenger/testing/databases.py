"""Creates and drops databases for tests."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg


async def create_database(postgres_url: str, template: str | None = None) -> str:
    """Create a database and return its URL: a copy of `template`, which must have no connections, or empty."""
    name = f"messenger_{secrets.token_hex(6)}"
    clone = f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
    await _execute(postgres_url, f"CREATE DATABASE {name}{clone}")
    return urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))


async def drop_database(postgres_url: str, url: str) -> None:
    """Drop a database, closing its connections."""
    name = name_of(url)
    await _execute(postgres_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    # Not `WITH (FORCE)`, which fails if it may not terminate a session, and only a superuser may terminate autovacuum.
    # Without it, PostgreSQL terminates autovacuum itself, and waits five seconds for other sessions to end.
    await _execute(
        postgres_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = current_user",
        name,
    )
    await _execute(postgres_url, f"DROP DATABASE {name}")


@contextlib.asynccontextmanager
async def temporary_database(postgres_url: str, template: str | None = None) -> AsyncIterator[str]:
    """The URL of a database that is gone when the block ends."""
    url = await create_database(postgres_url, template)
    yield url
    await drop_database(postgres_url, url)


def name_of(url: str) -> str:
    """The name of the database at this URL."""
    return urlsplit(url).path[1:]


async def _execute(url: str, sql: str, *values: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql, *values)
    finally:
        await connection.close()
