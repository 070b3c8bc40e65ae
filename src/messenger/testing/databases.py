"""Databases that a test makes for itself."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg


async def create_database(postgres_url: str, template: str | None = None) -> str:
    """Its URL. A clone of `template`, to which nobody may be connected, or an empty one."""
    name = f"messenger_{secrets.token_hex(6)}"
    clone = f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
    await _execute(postgres_url, f"CREATE DATABASE {name}{clone}")
    return urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))


async def drop_database(postgres_url: str, url: str) -> None:
    """Remove it, and end whoever is connected to it."""
    name = name_of(url)
    for _ in range(100):
        # What autovacuum does in it nobody but a superuser may end: it ends by itself.
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
            await _execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
            return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"{name} could not be dropped")


@contextlib.asynccontextmanager
async def temporary_database(postgres_url: str, template: str | None = None) -> AsyncIterator[str]:
    """The URL of a database that is gone when the block ends."""
    url = await create_database(postgres_url, template)
    yield url
    await drop_database(postgres_url, url)


def name_of(url: str) -> str:
    """The name of the database at this URL."""
    return urlsplit(url).path[1:]


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
