"""The export contains messages as the reader sees them, without expired, hidden and deleted texts."""

from __future__ import annotations

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.schemas.messages import ConversationPatch
from messenger.testing import Factory
from tests.services.test_erasure import exported, lines

TEXT = "Meet me at the harbour"


@pytest.mark.parametrize("how", ["me", "everyone"])
async def test_deleted_text_is_left_out(container: Container, make: Factory, how: str) -> None:
    ada, bob = await make.friends()
    message = await make.message(ada, bob, TEXT, mentions=[bob.id])
    await container.services.messages.delete(ada.actor, message.id, who="me" if how == "me" else "everyone")
    files = await exported(container, ada)
    (row,) = lines(files["messages/000000.jsonl"])
    assert (row["id"], row["body"], row["mentions"]) == (str(message.id), None, [])
    assert row["deleted_at"] is not None
    assert TEXT.encode() not in b"".join(files.values())


async def test_hidden_text_stays_in_export_of_peer(container: Container, make: Factory) -> None:
    ada, bob = await make.friends()
    message = await make.message(ada, bob, TEXT)
    await container.services.messages.delete(ada.actor, message.id, who="me")
    (row,) = lines((await exported(container, bob))["messages/000000.jsonl"])
    assert (row["body"], row["deleted_at"]) == (TEXT, None)


async def test_expired_text_is_left_out_before_any_sweep(
    container: Container, make: Factory, clock: FixedClock
) -> None:
    ada, bob = await make.friends()
    await make.message(bob, ada, "First")
    await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
    await make.message(ada, bob, TEXT)
    clock.advance(seconds=59)
    assert TEXT.encode() in b"".join((await exported(container, bob)).values())
    clock.advance(seconds=1)
    for person in (ada, bob):
        first, last = lines((await exported(container, person))["messages/000000.jsonl"])
        assert (first["body"], last["body"], last["deleted_at"]) == ("First", None, last["expires_at"])
