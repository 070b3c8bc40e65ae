"""No hot statement reads or sorts rows whose number grows with users, conversations or messages.

Each statement of the registry is explained with the generic plan that a connection of the server caches, on a database
of 20,000 users. New statements are included automatically.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.actor import Actor, Bearer, Caller
from messenger.database.statements import STATEMENTS
from tests.query_plans.conftest import Planner

_SWEEP = "a sweep that no request waits for: it looks at all there is, once a pass"
_BATCH = "a sweep that no request waits for: of 20,000 rows its batch of 1,000 is best found by reading them all"
# What may read or sort growing numbers of rows, and why. An exemption that is no longer needed must be removed.
EXEMPT = {
    "avatars.unreferenced": _SWEEP,
    "sweeps.idempotency_keys": _BATCH,
    "sweeps.idle_devices": _SWEEP,
    "sweeps.rate_buckets": _BATCH,
    "sweeps.released_usernames": _BATCH,
    "group_links.list": "a group has at most 20 links, and 1,000 requests that wait",
    "contacts.set_edges": "a block looks at the invitations of the user, which `invited_to` limits",
    "memberships.remove": "a group has at most 1,000 open invitations",
    "purges.find": "looks through 1,000 messages of a conversation; no request waits for it",
    "workers.reap": "looks at all sockets, no more than the workers hold; no request waits for it",
    "exports.messages": "an export reads all data of the user, and a page sorts the numbers of the conversations",
    "conversations.page": "a page, and what else was in its last minute",
    "conversations.places": "the same",
    "streams.take": "at most a thousand events of each stream, by its bounds of positions",
}
CALLERS: dict[str, Caller] = {"token": Bearer(b""), "device": Actor(0, UUID(int=0))}


@pytest.mark.parametrize("kind", CALLERS)
@pytest.mark.parametrize("name", sorted(set(STATEMENTS) - set(EXEMPT)))
async def test_statement_reads_and_sorts_bounded_rows(name: str, kind: str, planner: Planner) -> None:
    plan = await planner.plan(STATEMENTS[name].compiled_for(CALLERS[kind]).sql)
    offences = plan.offences()
    assert not offences, "\n".join([name, *offences])


@pytest.mark.parametrize("name", EXEMPT)
async def test_exempt_statement_still_has_offences(name: str, planner: Planner) -> None:
    plan = await planner.plan(STATEMENTS[name].compiled_for(CALLERS["token"]).sql)
    assert plan.offences()


@pytest.mark.parametrize(
    ("sql", "offence"),
    [
        ("SELECT * FROM users WHERE name = $1", "all of users is read"),
        ("SELECT count(*) FROM messages WHERE body LIKE $1", "all of messages is read"),
        ("SELECT * FROM messages WHERE conversation_id = $1 ORDER BY created_at LIMIT 50", "Sort of rows"),
        ("SELECT * FROM messages WHERE sender_id = $1 ORDER BY seq", "Sort of rows"),
        ("SELECT seq, count(*) FROM messages WHERE sender_id = $1 GROUP BY seq", "Aggregate of rows"),
        ("SELECT *, row_number() OVER (ORDER BY since) FROM contacts WHERE owner_id = $1", "WindowAgg of rows"),
        ("SELECT DISTINCT kind FROM messages WHERE conversation_id = $1", "of rows"),
        ("SELECT * FROM messages WHERE sender_id = $1 AND sender_device_id = $2", "a key is looked at after"),
        (
            "WITH mine AS MATERIALIZED (SELECT * FROM members WHERE user_id = $1) SELECT * FROM mine ORDER BY read_seq",
            "Sort of rows",
        ),
    ],
)
async def test_unbounded_plan_is_detected(sql: str, offence: str, planner: Planner) -> None:
    offences = (await planner.plan(sql)).offences()
    assert any(offence in each for each in offences), offences
    assert all("[" in each for each in offences)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM users WHERE id = $1",
        "SELECT * FROM users WHERE id = ANY ($1::bigint[]) ORDER BY name",
        "SELECT * FROM contacts WHERE owner_id = $1 AND target_id > $2 ORDER BY target_id LIMIT $3",
        "SELECT max(seq) FROM messages WHERE conversation_id = $1",
        "SELECT * FROM (SELECT * FROM messages WHERE conversation_id = $1 ORDER BY seq LIMIT $2) AS m ORDER BY 1",
        "SELECT * FROM unnest($1::bigint[]) AS g (id) JOIN users AS u USING (id) ORDER BY u.name",
    ],
)
async def test_bounded_sort_is_no_offence(sql: str, planner: Planner) -> None:
    assert (await planner.plan(sql)).offences() == []


async def test_connections_use_planner_settings_of_tests(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        assert await raw.fetchval("SHOW random_page_cost") == "1.1"
        assert await raw.fetchval("SHOW plan_cache_mode") == "force_generic_plan"


async def test_connections_keep_plans_of_long_statements(engine: AsyncEngine) -> None:
    statement = f"SELECT 1 -- {'x' * 100_000}"
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.fetch(statement)
        kept = await driver.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE statement = $1", statement)
    assert kept == 1
