"""Receipts only move forward, and only reach users who may see them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from messenger.container import Container
from messenger.errors import PeerNotFound, ValidationFailed
from messenger.events import WakeUp
from messenger.schemas.messages import ReceiptDraft
from messenger.schemas.users import PrivacyPatch, ProfilePatch
from messenger.testing import Factory, Person
from tests.support.tables import event_data, rows


@pytest.fixture
async def ada_and_bob(make: Factory) -> tuple[Person, Person]:
    """Contacts; Ada has sent five messages."""
    ada, bob = await make.friends()
    for _ in range(5):
        await make.message(ada, bob)
    return ada, bob


async def receipt(container: Container, person: Person, target: int, **seqs: int | None) -> None:
    await container.services.conversations.receipt(person.actor, ReceiptDraft(target_id=target, **seqs))


async def stand(container: Container, person: Person) -> tuple[int, int]:
    """The `seq` read, and the `seq` delivered."""
    (row,) = await rows(container, "SELECT read_seq, delivered_seq FROM members WHERE user_id = $1", person.id)
    return row["read_seq"], row["delivered_seq"]


class TestSetReceipt:
    @pytest.mark.parametrize(
        ("steps", "at"),
        [
            ([{"read_seq": 3}], (3, 3)),
            ([{"delivered_seq": 3}], (0, 3)),
            ([{"read_seq": 2, "delivered_seq": 4}], (2, 4)),
            ([{"read_seq": 4, "delivered_seq": 2}], (4, 4)),
            ([{"read_seq": 5}], (5, 5)),
            ([{"read_seq": 3}, {"read_seq": 2}], (3, 3)),
            ([{"delivered_seq": 4}, {"read_seq": 2}], (2, 4)),
            ([{"delivered_seq": 4}, {"delivered_seq": 1}], (0, 4)),
            ([{"read_seq": 3}, {"read_seq": 1, "delivered_seq": 5}], (3, 5)),
            ([{"read_seq": 0}], (0, 0)),
        ],
        ids=str,
    )
    async def test_receipt_moves_only_forward(
        self, container: Container, ada_and_bob: Any, steps: list[dict[str, int]], at: tuple[int, int]
    ) -> None:
        ada, bob = ada_and_bob
        for step in steps:
            await receipt(container, bob, ada.id, **step)
        assert await stand(container, bob) == at

    async def test_concurrent_receipts_end_at_furthest(self, container: Container, ada_and_bob: Any) -> None:
        ada, bob = ada_and_bob
        await asyncio.gather(*(receipt(container, bob, ada.id, read_seq=seq) for seq in (1, 5, 2, 4, 3)))
        assert await stand(container, bob) == (5, 5)
        seqs = [event["read_seq"] for event in await event_data(container, ada, "receipt.updated")]
        assert seqs == sorted(set(seqs))

    @pytest.mark.parametrize("field", ["read_seq", "delivered_seq"])
    async def test_receipt_beyond_last_message_is_refused(
        self, container: Container, ada_and_bob: Any, field: str
    ) -> None:
        ada, bob = ada_and_bob
        with pytest.raises(ValidationFailed) as caught:
            await receipt(container, bob, ada.id, **{field: 6})
        assert [fault.field for fault in caught.value.errors] == [field]
        assert await stand(container, bob) == (0, 0)

    async def test_receipt_without_seq_is_refused(self, container: Container, ada_and_bob: Any) -> None:
        ada, bob = ada_and_bob
        with pytest.raises(ValidationFailed):
            await receipt(container, bob, ada.id)

    @pytest.mark.parametrize("target", ["stranger", "unknown", "self"])
    async def test_receipt_without_conversation_is_not_found(
        self, container: Container, make: Factory, ada_and_bob: Any, target: str
    ) -> None:
        ada, stranger = ada_and_bob[0], await make.person()
        target_id = {"stranger": stranger.id, "unknown": 7, "self": ada.id}[target]
        with pytest.raises(PeerNotFound):
            await receipt(container, ada, target_id, read_seq=1)

    async def test_own_message_moves_receipt(self, container: Container, make: Factory, ada_and_bob: Any) -> None:
        ada, bob = ada_and_bob
        assert await stand(container, ada) == (5, 5)
        await make.message(bob, ada)
        assert await stand(container, bob) == (6, 6)


class TestReceiptEvents:
    async def test_both_sides_are_notified_of_receipt(self, container: Container, ada_and_bob: Any) -> None:
        ada, bob = ada_and_bob
        await receipt(container, bob, ada.id, read_seq=3, delivered_seq=4)
        moved = {"user_id": bob.id, "read_seq": 3, "delivered_seq": 4}
        mine = {"target_id": ada.id, **moved, "unread": 2, "version": 8}
        assert await event_data(container, bob, "receipt.updated") == [mine]
        # The unread count is private.
        theirs = {"target_id": bob.id, **moved, "unread": None, "version": None}
        assert await event_data(container, ada, "receipt.updated") == [theirs]

    async def test_event_shows_unread_of_conversation(self, container: Container, ada_and_bob: Any) -> None:
        ada, bob = ada_and_bob
        await receipt(container, bob, ada.id, read_seq=3)
        (event,) = await event_data(container, bob, "receipt.updated")
        (item,) = (await container.services.conversations.list_page(bob.actor, cursor=None, limit=10)).items
        assert (event["unread"], event["version"]) == (item.unread, item.version) == (2, 8)

    async def test_version_of_the_count_grows_with_each_change(
        self, container: Container, make: Factory, ada_and_bob: Any
    ) -> None:
        ada, bob = ada_and_bob
        for seq in (1, 5):
            await receipt(container, bob, ada.id, read_seq=seq)
        await make.message(ada, bob)
        await receipt(container, bob, ada.id, read_seq=6)
        counts = [(event["unread"], event["version"]) for event in await event_data(container, bob, "receipt.updated")]
        assert counts == [(4, 6), (0, 10), (0, 12)]

    async def test_unmoved_receipt_notifies_no_user(
        self, container: Container, ada_and_bob: Any, published: list[WakeUp]
    ) -> None:
        ada, bob = ada_and_bob
        await receipt(container, bob, ada.id, read_seq=3)
        published.clear()
        for seq in (3, 2, 0):
            await receipt(container, bob, ada.id, read_seq=seq)
        assert len(await event_data(container, ada, "receipt.updated")) == 1
        assert published == []

    async def test_refused_receipt_notifies_no_user(
        self, container: Container, ada_and_bob: Any, published: list[WakeUp]
    ) -> None:
        ada, bob = ada_and_bob
        published.clear()
        with pytest.raises(ValidationFailed):
            await receipt(container, bob, ada.id, read_seq=6)
        assert published == []

    @pytest.mark.parametrize("end", ["unsubscribe", "block"])
    @pytest.mark.parametrize("by", ["reader", "sender"])
    async def test_former_contact_is_not_notified_of_receipt(
        self, container: Container, ada_and_bob: Any, end: str, by: str
    ) -> None:
        ada, bob = ada_and_bob
        who, whom = (bob, ada) if by == "reader" else (ada, bob)
        await getattr(container.services.contacts, end)(who.actor, whom.id)
        await receipt(container, bob, ada.id, read_seq=3)
        assert await event_data(container, ada, "receipt.updated") == []
        assert len(await event_data(container, bob, "receipt.updated")) == 1


class TestPrivacy:
    @pytest.mark.parametrize(
        ("reader", "viewer", "mutual", "shown"),
        [
            ("contacts", "contacts", True, True),
            ("contacts", "contacts", False, False),
            ("everyone", "contacts", False, True),
            ("nobody", "contacts", True, False),
            ("everyone", "nobody", True, False),
        ],
    )
    async def test_receipt_reaches_audience_of_reader(
        self, container: Container, make: Factory, reader: str, viewer: str, mutual: bool, shown: bool
    ) -> None:
        ada, bob = await make.friends()
        await make.message(bob, ada)
        for person, audience in ((ada, reader), (bob, viewer)):
            privacy = PrivacyPatch(receipts=cast(Any, audience), messages_from="everyone")
            await container.services.profiles.update(person.actor, ProfilePatch(privacy=privacy))
        if not mutual:
            await container.services.contacts.unsubscribe(ada.actor, bob.id)
        await container.services.conversations.receipt(ada.actor, ReceiptDraft(target_id=bob.id, read_seq=1))
        assert bool(await event_data(container, bob, "receipt.updated")) == shown
        (item,) = (await container.services.conversations.list_page(bob.actor, cursor=None, limit=1)).items
        assert (item.target_receipt is not None) == shown
