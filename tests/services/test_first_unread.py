"""A page around the first unread message, in a group and in a 1:1."""

from __future__ import annotations

import pytest

from messenger.container import Container
from messenger.schemas.messages import MessageView, ReceiptDraft
from messenger.testing import Factory, Person
from tests.support.groups import create_group, join, send


async def sent_to(
    container: Container, make: Factory, kind: str, count: int
) -> tuple[Person, Person, int, list[MessageView]]:
    """A sender, a reader who has read four, how the reader addresses the conversation, and its messages."""
    ada, bob = await make.friends()
    if kind == "group":
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        target, messages = group.id, [await send(container, ada, group) for _ in range(count)]
    else:
        target, messages = ada.id, [await make.message(ada, bob) for _ in range(count)]
    await container.services.conversations.receipt(bob.actor, ReceiptDraft(target_id=target, read_seq=4))
    return ada, bob, target, messages


@pytest.mark.parametrize("kind", ["group", "user"])
class TestAroundUnread:
    @pytest.mark.parametrize(
        ("deleted", "first", "page"),
        [
            ([], 5, [3, 4, 5, 6]),
            ([5, 6], 7, [5, 6, 7, 8]),
            ([6], 5, [3, 4, 5, 6]),
            # All unread ones are deleted: the end of the conversation.
            ([5, 6, 7, 8, 9], None, [8, 9]),
            (list(range(1, 10)), None, [8, 9]),
        ],
        ids=str,
    )
    async def test_page_surrounds_first_unread_undeleted_message(
        self, container: Container, make: Factory, kind: str, deleted: list[int], first: int | None, page: list[int]
    ) -> None:
        ada, bob, target, messages = await sent_to(container, make, kind, 9)
        for seq in deleted:
            await container.services.messages.delete(ada.actor, messages[seq - 1].id, who="everyone")
        shown = await container.services.messages.history(bob.actor, target, around="unread", limit=4)
        assert (shown.first_unread, [message.seq for message in shown.items]) == (first, page)

    async def test_page_of_read_conversation_is_latest(self, container: Container, make: Factory, kind: str) -> None:
        _, bob, target, _ = await sent_to(container, make, kind, 4)
        shown = await container.services.messages.history(bob.actor, target, around="unread", limit=4)
        assert (shown.first_unread, [message.seq for message in shown.items]) == (None, [2, 3, 4])
