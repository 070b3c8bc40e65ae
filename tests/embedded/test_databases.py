"""A test's own database is dropped at its end, even while another session uses it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from messenger.embedded.postgres import EmbeddedPostgres
from messenger.testing.databases import name_of, temporary_database

# Dead rows that keep a slow vacuum busy for minutes.
_DIRTY = """
CREATE TABLE dirty (number int) WITH (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
INSERT INTO dirty SELECT * FROM generate_series(1, 200000);
DELETE FROM dirty;
"""
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND usename IS DISTINCT FROM current_user"


async def test_autovacuum_does_not_prevent_dropping_temporary_database(data: Path) -> None:
    with EmbeddedPostgres(data, durable=False, settings={"autovacuum_naptime": "1s"}) as postgres:
        server = await asyncpg.connect(postgres.start())
        async with temporary_database(postgres.start()) as url:
            connected = await asyncpg.connect(url)
            await connected.execute(_DIRTY)
            async with asyncio.timeout(60):
                # No event reports it.
                while not await server.fetchval(_OTHERS, name_of(url)):
                    await asyncio.sleep(0.05)
        assert await server.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name_of(url)) == 0
        await server.close()
