"""Two concurrent use cases of one user: the one that waits holds no lock that the other needs."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable
from typing import Any

import pytest

from messenger.clock import FixedClock, new_id
from messenger.container import Container
from messenger.errors import Unauthenticated
from messenger.repositories.message_rows import OutgoingMessage
from messenger.repositories.sending import SentRow
from messenger.schemas.messages import ConversationPatch
from messenger.security.envelope import Kdf, SecretEnvelope
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.support.tables import held, rows


async def waiting(container: Container, statement: str) -> None:
    """Wait until a session waits for a lock with a statement that begins with these words."""
    sql = """
        SELECT 1 FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND datname = current_database() AND strpos(query, $1) > 0
    """
    async with asyncio.timeout(5):
        # No event reports that a session began to wait.
        while not await rows(container, sql, statement):
            await asyncio.sleep(0.005)


async def ended(work: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(work, 5)


class TestConversationSettings:
    async def test_settings_lock_conversation_before_membership(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        update = container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=3600))
        lock = "SELECT 1 FROM conversations WHERE $1 IN (low_id, high_id) FOR UPDATE"
        async with held(container, lock, ada.id):
            task = asyncio.ensure_future(update)
            await waiting(container, "AS shares,")
            # A message locks the conversation, then its sender's membership.
            free = await rows(container, "SELECT 1 FROM members WHERE user_id = $1 FOR UPDATE SKIP LOCKED", ada.id)
        assert (await ended(task)).expire_after == 3600
        assert len(free) == 1


async def send_waiting(container: Container, sender: Person, to: Person) -> SentRow:
    """Send a message that waits for locked rows."""
    message = OutgoingMessage(new_id(), to.id, "w", b"", "text", "Hello", None, None, [])
    limits = RateLimiter(container.uow, enabled=False).send_parameters()
    async with container.uow.command() as uow:
        return await uow.messages.send(sender.actor, message, limits, wait=True)


class TestMessages:
    @pytest.mark.parametrize("place", range(4))
    async def test_message_locks_memberships_then_streams_by_ascending_user(
        self, container: Container, make: Factory, clock: FixedClock, place: int
    ) -> None:
        low, high = sorted(await make.friends(), key=lambda person: person.id)
        # The rows of `high` come first in the tables.
        await make.message(high, low)
        # The first message of a minute changes both memberships.
        clock.advance(minutes=1)
        order = [("members", low), ("members", high), ("streams", low), ("streams", high)]
        table, person = order[place]
        async with held(container, f"SELECT 1 FROM {table} WHERE user_id = $1 FOR UPDATE", person.id):
            sending = asyncio.ensure_future(send_waiting(container, high, low))
            await waiting(container, "requested AS MATERIALIZED")
            free = [
                (table, person)
                for table, person in order
                if await rows(container, f"SELECT 1 FROM {table} WHERE user_id = $1 FOR UPDATE SKIP LOCKED", person.id)
            ]
        assert (await ended(sending)).outcome == "sent"
        assert free == order[place + 1 :]

    async def test_refused_message_waits_for_no_lock(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        await container.services.contacts.block(bob.actor, ada.id)
        async with held(container, "SELECT 1 FROM conversations WHERE $1 IN (low_id, high_id) FOR UPDATE", ada.id):
            assert (await ended(send_waiting(container, ada, bob))).outcome == "forbidden"


class TestErasure:
    async def test_erasure_removes_secret_being_written(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        envelope = SecretEnvelope(
            "AES-256-GCM", Kdf("hkdf"), base64.b64encode(bytes(12)).decode(), "c2VhbGVkIHdlbGwgYW5kIGxvbmc="
        )
        # What a write of the safe holds between its statement and its commit.
        async with held(
            container,
            "WITH d AS (SELECT user_id FROM devices WHERE id = $1 FOR KEY SHARE) INSERT INTO secrets"
            " SELECT user_id, 1, '\\x7b7d', now() FROM d",
            ada.actor.device_id,
        ):
            erasure = asyncio.ensure_future(container.services.accounts.erase(ada.actor, PASSWORD))
            await waiting(container, "DELETE FROM devices")
        await ended(erasure)
        assert await rows(container, "SELECT 1 FROM secrets WHERE user_id = $1", ada.id) == []
        with pytest.raises(Unauthenticated):
            await container.services.safe.store(ada.actor, envelope)

    async def test_erasure_removes_event_being_recorded(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        async with held(container, "SELECT 1 FROM devices WHERE id = $1 FOR KEY SHARE", ada.actor.device_id):
            erasure = asyncio.ensure_future(container.services.accounts.erase(ada.actor, PASSWORD))
            await waiting(container, "DELETE FROM devices")
            await rows(
                container,
                "INSERT INTO events (user_id, position, name, at) VALUES ($1, 99, 'late', now()) RETURNING 1",
                ada.id,
            )
        await ended(erasure)
        assert await rows(container, "SELECT 1 FROM events WHERE user_id = $1", ada.id) == []
