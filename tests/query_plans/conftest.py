"""A database that is large enough for the planner to show what grows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest_asyncio
from benchmarks._growth.world import connect_some, make_world

from messenger.config import Settings
from messenger.database.engine import create_engine
from messenger.testing.databases import temporary_database
from tests.query_plans._plan import Plan, Schema

USERS, MESSAGES = 20_000, 100_000
# These tables do not grow with users and what they write: a row per process, a single row; a row for each account with
# a large audience that has changed within the last minute; one for each member whose messages are being deleted.
SMALL = frozenset({"workers", "alembic_version", "fan_outs", "message_purges", "stream_epoch"})
# An account has a limited number of devices, former names and familiar addresses; a group has at most 20 links; a
# message is written for each of the members of its conversation.
FEW = {
    "ix_devices_user_id": frozenset({"user_id"}),
    "ix_released_usernames_owner_id": frozenset({"owner_id"}),
    "pk_familiar_addresses": frozenset({"user_id"}),
    "ix_group_links_group_id": frozenset({"group_id"}),
    "pk_members": frozenset({"conversation_id"}),
}

_UNIQUE = """
SELECT c.relname AS index, array_agg(a.attname::text) AS columns
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0 : i.indnkeyatts - 1])
WHERE c.relnamespace = 'public'::regnamespace AND (i.indisunique OR EXISTS (
    SELECT FROM pg_index AS k WHERE k.indrelid = i.indrelid AND k.indisunique AND k.indpred IS NULL
        AND (k.indkey::int2[])[0 : k.indnkeyatts - 1] <@ (i.indkey::int2[])[0 : i.indnkeyatts - 1]
))
GROUP BY c.relname
"""

# Groups of 20 members each; each user is invited to many groups, and banned from many.
_GROUPS = """
INSERT INTO peers (id, kind) SELECT 5000000 + g, 'group' FROM generate_series(1, 400) AS g;
INSERT INTO groups (id, name, member_count, created_at)
    SELECT 5000000 + g, 'Reading', 20, now() FROM generate_series(1, 400) AS g;
INSERT INTO conversations (kind, peer_id, last_at, version)
    SELECT 'group', 5000000 + g, now(), 1 FROM generate_series(1, 400) AS g;
CREATE TEMP TABLE known AS SELECT id, row_number() OVER (ORDER BY id) - 1 AS n FROM users;
CREATE TEMP TABLE place AS
    SELECT c.id AS conversation_id, c.peer_id AS group_id, k.id AS user_id, i
    FROM conversations AS c, generate_series(0, 249) AS i, known AS k
    WHERE c.kind = 'group' AND k.n = (c.peer_id * 487 + i * 37) % 20000;
INSERT INTO members (conversation_id, user_id, target_id, rank, joined_at, joined_version, last_minute)
    SELECT conversation_id, user_id, group_id, CASE i WHEN 0 THEN 3 ELSE 0 END, now(), 2, date_trunc('minute', now())
    FROM place WHERE i < 20;
INSERT INTO group_invitations (group_id, user_id, inviter_id, delivered, at)
    SELECT group_id, user_id, user_id, true, now() - i * interval '1 hour' FROM place;
INSERT INTO group_declines (group_id, user_id) SELECT group_id, user_id FROM place;
INSERT INTO group_bans (group_id, user_id, by_id, at) SELECT group_id, user_id, user_id, now() FROM place;
INSERT INTO former_members (group_id, user_id, last_seq, at) SELECT group_id, user_id, 1, now() FROM place;
INSERT INTO group_links (id, group_id, token, approval, created_by, created_at)
    SELECT gen_random_uuid(), group_id, md5(group_id || '.' || i), true, user_id, now() FROM place WHERE i < 20;
INSERT INTO group_requests (group_id, user_id, link_id, at)
    SELECT group_id, user_id, gen_random_uuid(), now() - i * interval '1 hour' FROM place;
INSERT INTO group_notices (id, group_id, after_seq, version, at, action)
    SELECT gen_random_uuid(), group_id, i, i, now() - i * interval '1 hour', 'joined' FROM place;
DROP TABLE place, known;
ANALYZE peers, groups, conversations, members, group_invitations, group_declines, group_bans, former_members,
    group_links, group_requests, group_notices;
"""


class Planner:
    """Requests the plan that a connection of the server would cache."""

    def __init__(self, driver: Any, schema: Schema) -> None:
        self._driver = driver
        self._schema = schema

    async def plan(self, sql: str) -> Plan:
        """The generic plan, for any values."""
        prepared = await self._driver.prepare(sql)
        unknown = ", ".join("NULL" for _ in prepared.get_parameters())
        await self._driver.execute(f"PREPARE asked AS {sql}")
        try:
            said = await self._driver.fetchval(
                f"EXPLAIN (FORMAT JSON) EXECUTE asked{f' ({unknown})' if unknown else ''}"
            )
        finally:
            await self._driver.execute("DEALLOCATE asked")
        return Plan(said[0]["Plan"], self._schema)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def planner(postgres_url: str, template_name: str, settings: Settings) -> AsyncIterator[Planner]:
    """Over a database with 20,000 users, with a connection created by the server's code."""
    async with temporary_database(postgres_url, template_name) as url:
        schema = await _fill(url)
        engine = create_engine(url, settings)
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            yield Planner(driver, schema)
        await engine.dispose()


async def _fill(url: str) -> Schema:
    # Not with a connection of the server, whose statements may not take that long.
    database = await asyncpg.connect(url)
    await database.execute("INSERT INTO workers (id, seen_at) VALUES (gen_random_uuid(), now())")
    await make_world(database, users=USERS, messages=MESSAGES, say=lambda _: None)
    await connect_some(database)
    await database.execute(
        "INSERT INTO released_usernames (digest, owner_id, kept_until)"
        " SELECT decode(md5(n::text), 'hex'), n, now() + n * interval '1 second' FROM generate_series(1, $1::int) AS n",
        USERS,
    )
    await database.execute(
        "INSERT INTO familiar_addresses (user_id, digest, seen_at)"
        " SELECT u.id, decode(md5(n::text), 'hex'), now() - n * interval '1 day' FROM users AS u,"
        " generate_series(1, 3) AS n"
    )
    await database.execute(_GROUPS)
    await database.execute("ANALYZE released_usernames, familiar_addresses")
    rows = await database.fetch(_UNIQUE)
    await database.close()
    return Schema({row["index"]: frozenset(row["columns"]) for row in rows}, SMALL, FEW)
