"""Failures of other projects under load: pages that ended early, and waiting that used CPU."""

from __future__ import annotations

import asyncio
from time import process_time

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import Unavailable
from messenger.schemas.messages import ConversationPatch, MessageDraft
from messenger.testing import Factory, Person, StatementLog
from tests.support.tables import held, rows


async def _history(container: Container, reader: Person, other: Person, limit: int) -> list[tuple[int, str | None]]:
    """All pages from the end to the beginning, as a client reads them: `(seq, body)` in ascending order."""
    found: list[tuple[int, str | None]] = []
    before: int | None = None
    while True:
        page = await container.services.messages.history(reader.actor, other.id, before=before, after=None, limit=limit)
        found = [(item.seq, item.body) for item in page.items] + found
        if page.next is None:
            return found
        before = page.next


async def test_cve_2026_45076_page_of_hidden_messages_does_not_end_history(container: Container, make: Factory) -> None:
    """Synapse: a page full of invisible events ended pagination, and hid what came before it."""
    ada, bob = await make.friends()
    messages = [await make.message(bob, ada, f"Number {number}") for number in range(1, 41)]
    services = container.services
    for message in messages[10:30]:
        await services.messages.delete(ada.actor, message.id, who="me")
    for message in messages[30:35]:
        await services.messages.delete(bob.actor, message.id, who="everyone")
    seen = await _history(container, ada, bob, limit=5)
    assert seen == [(number, None if 10 < number <= 35 else f"Number {number}") for number in range(1, 41)]


async def test_cve_2026_45076_page_of_expired_messages_does_not_end_history(
    container: Container, make: Factory, clock: FixedClock
) -> None:
    ada, bob = await make.friends()
    await make.message(bob, ada, "Number 1")
    await container.services.conversations.update(bob.actor, ada.id, ConversationPatch(expire_after=1))
    for number in range(2, 15):
        await make.message(bob, ada, f"Number {number}")
    await container.services.conversations.update(bob.actor, ada.id, ConversationPatch(expire_after=None))
    await make.message(bob, ada, "Number 15")
    clock.advance(seconds=2)
    seen = await _history(container, ada, bob, limit=3)
    assert [number for number, body in seen if body is not None] == [1, 15]
    assert [number for number, _ in seen] == list(range(1, 16))


async def test_cve_2026_45078_waiting_for_lock_uses_no_cpu(
    container: Container, make: Factory, statements: StatementLog
) -> None:
    """Synapse: requests waiting for one lock used all CPU by retrying. A hundred senders wait for one conversation
    while the CPU is idle. Each message is then sent, or refused with 503.
    """
    ada, bob = await make.friends()
    await make.message(ada, bob)
    drafts = [MessageDraft(target_id=bob.id, client_id=f"n{number}", body="x") for number in range(100)]
    async with held(container, "SELECT 1 FROM conversations WHERE $1 IN (low_id, high_id) FOR UPDATE", ada.id):
        tasks = [asyncio.ensure_future(container.services.messages.send(ada.actor, draft)) for draft in drafts]
        async with statements.recording() as tried:
            # No event reports that a message was tried and found its rows locked.
            while sum("INSERT INTO messages" in statement for statement in tried) < 2:
                await asyncio.sleep(0.005)
        started = process_time()
        _, waiting = await asyncio.wait(tasks, timeout=1)
        spent = process_time() - started
    assert waiting
    assert spent < 0.15
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [outcome for outcome in refused if not isinstance(outcome, Unavailable)] == []
    sent = await rows(container, "SELECT client_id FROM messages WHERE sender_id = $1 AND client_id LIKE 'n%'", ada.id)
    assert len(sent) >= 100 - len(refused)
