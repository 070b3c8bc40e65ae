"""Deleted and hidden messages are collected in small steps, each in a transaction of its own."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from sqlalchemy.exc import DBAPIError

from messenger import migrations
from messenger.container import Container
from messenger.database.connection import connect
from messenger.testing import Factory, Person

_FAR = 5000
"""The number of a conversation that the first step does not reach."""


@pytest.fixture
async def people(container: Container, fresh_database_url: str) -> tuple[Person, Person, Person]:
    """Ada, who has deleted a message in her conversations with Bob and Carol, and Carol, who has hidden another one;
    from before memberships recorded these numbers.
    """
    fresh = Container(
        msgspec.structs.replace(container.settings, database_url=fresh_database_url), clock=container.clock
    )
    make = Factory(fresh)
    ada, bob = await make.friends()
    carol = await make.person()
    await make.befriend(ada, carol)
    await fresh.services.messages.delete(ada.actor, (await make.message(ada, bob)).id, who="everyone")
    connection = await connect(fresh_database_url, timeout=10)
    await connection.execute(f"ALTER SEQUENCE conversations_id_seq RESTART {_FAR}")
    await fresh.services.messages.delete(ada.actor, (await make.message(ada, carol)).id, who="everyone")
    await fresh.services.messages.delete(carol.actor, (await make.message(ada, carol)).id, who="me")
    await connection.execute("UPDATE members SET gone = NULL")
    await connection.close()
    await fresh.close()
    await asyncio.to_thread(migrations.downgrade, fresh_database_url, "0011")
    return ada, bob, carol


async def gone(url: str) -> list[tuple[int, int, str | None]]:
    connection = await connect(url, timeout=10)
    try:
        rows = await connection.fetch("SELECT user_id, target_id, gone::text AS gone FROM members")
    finally:
        await connection.close()
    return sorted((row["user_id"], row["target_id"], row["gone"]) for row in rows)


async def test_locked_membership_does_not_block_other_memberships(
    people: tuple[Person, Person, Person], fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, carol = people
    near: list[tuple[int, int, str | None]] = [(ada.id, bob.id, "{[1,2)}"), (bob.id, ada.id, "{[1,2)}")]
    holder = await connect(fresh_database_url, timeout=10)
    async with holder.transaction():
        await holder.execute("SELECT FROM members WHERE conversation_id >= $1 FOR UPDATE", _FAR)
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "_RETRY_SECONDS", 0.0)
            with pytest.raises(DBAPIError):
                await asyncio.to_thread(migrations.upgrade, fresh_database_url)
        assert await gone(fresh_database_url) == sorted([*near, (ada.id, carol.id, None), (carol.id, ada.id, None)])
    await holder.close()
    await asyncio.to_thread(migrations.upgrade, fresh_database_url)
    far = [(ada.id, carol.id, "{[1,2)}"), (carol.id, ada.id, "{[1,3)}")]
    assert await gone(fresh_database_url) == sorted([*near, *far])
