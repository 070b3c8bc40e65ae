"""What a member who watches a group is signalled: who has received and read their newest message."""

from __future__ import annotations

from datetime import timedelta

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.realtime.interfaces import DeliveryAck
from messenger.schemas.groups import GroupView, LeaveDraft
from messenger.schemas.messages import MessageDraft, MessageView, ReceiptDraft
from messenger.schemas.users import PrivacyPatch, ProfilePatch
from messenger.testing import Factory, Person
from messenger.testing.plugin import AnnouncementRecorder
from tests.support.groups import create_group, invite, join
from tests.support.tables import rows

Counts = tuple[int, int, int, int]
HIDDEN = ProfilePatch(privacy=PrivacyPatch(receipts="nobody"))


async def send(container: Container, sender: Person, target_id: int, client_id: str = "a") -> MessageView:
    draft = MessageDraft(target_id=target_id, client_id=client_id, body="Hello")
    return (await container.services.messages.send(sender.actor, draft))[0]


async def read(container: Container, person: Person, target_id: int, seq: int) -> None:
    await container.services.conversations.receipt(person.actor, ReceiptDraft(target_id=target_id, read_seq=seq))


async def counts(container: Container, person: Person, target_id: int) -> Counts | None:
    """`seq`, `read`, `delivered` and `members`."""
    found = await container.services.streams.count_receipts([(person.id, target_id)])
    view = found.get((person.id, target_id))
    if view is None:
        return None
    assert view.target_id == target_id
    return view.seq, view.read, view.delivered, view.members


async def group_of(container: Container, make: Factory, *people: Person) -> GroupView:
    """A group of the first of these people, who is a contact of the others."""
    group = await create_group(container, people[0])
    await join(container, make, people[0], group, *people[1:])
    return group


class TestCounts:
    async def test_newest_message_of_each_member_is_counted(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await group_of(container, make, ada, bob, eve)
        for number in range(2):
            await send(container, ada, group.id, f"a{number}")
        await send(container, bob, group.id)
        receipt = ReceiptDraft(target_id=group.id, delivered_seq=2)
        await container.services.conversations.receipt(eve.actor, receipt)
        asked = [(ada.id, group.id), (eve.id, group.id), (bob.id, group.id)]
        found = await container.services.streams.count_receipts(asked)
        # Bob has read what was there when he sent a message. Eve has sent nothing.
        assert {user: (v.seq, v.read, v.delivered, v.members) for (user, _), v in found.items()} == {
            ada.id: (2, 1, 2, 2),
            bob.id: (3, 0, 0, 2),
        }

    async def test_stranger_counts_until_choosing_contacts(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await group_of(container, make, ada, bob, eve)
        await send(container, bob, group.id)
        assert await counts(container, bob, group.id) == (1, 0, 0, 2)
        chosen = ProfilePatch(privacy=PrivacyPatch(receipts="contacts"))
        await container.services.profiles.update(eve.actor, chosen)
        assert await counts(container, bob, group.id) == (1, 0, 0, 1)

    async def test_counts_agree_with_receipts_of_message(self, container: Container, make: Factory) -> None:
        ada, bob, eve, dan, fay = await make.people(5)
        group = await group_of(container, make, ada, bob, eve, dan, fay)
        await container.services.profiles.update(bob.actor, HIDDEN)
        await container.services.contacts.block(eve.actor, ada.id)
        sent = await send(container, ada, group.id)
        for person in (bob, eve, dan, fay):
            await read(container, person, group.id, 1)
        await container.services.ownership.leave(fay.actor, group.id, LeaveDraft())
        page = await container.services.messages.receipts(ada.actor, sent.id, after=0, limit=50)
        assert (page.read, page.delivered, page.members) == (1, 1, 1)
        assert await counts(container, ada, group.id) == (1, 1, 1, 1)

    async def test_newcomer_is_not_counted(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await group_of(container, make, ada, bob)
        await send(container, ada, group.id)
        await join(container, make, ada, group, eve)
        assert await counts(container, ada, group.id) == (1, 0, 0, 1)


class TestNoCounts:
    @pytest.mark.parametrize("why", ["hidden", "old", "deleted", "expired", "large", "left"])
    async def test_message_without_receipts_has_no_counts(
        self, container: Container, make: Factory, clock: FixedClock, why: str
    ) -> None:
        ada, bob, eve = await make.people(3)
        group = await group_of(container, make, ada, bob, eve)
        sent = await send(container, bob, group.id)
        assert await counts(container, bob, group.id) == (1, 0, 0, 2)
        match why:
            case "hidden":
                await container.services.profiles.update(bob.actor, HIDDEN)
            case "old":
                clock.advance(days=7, seconds=1)
            case "deleted":
                await container.services.messages.delete(bob.actor, sent.id, who="everyone")
            case "expired":
                past = clock.now() - timedelta(seconds=1)
                await rows(container, "UPDATE messages SET expires_at = $1 WHERE id = $2", past, sent.id)
            case "large":
                await rows(container, "UPDATE groups SET large = true WHERE id = $1", group.id)
            case _:
                await container.services.ownership.leave(bob.actor, group.id, LeaveDraft())
        assert await counts(container, bob, group.id) is None

    async def test_returned_member_has_no_counts_of_earlier_message(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await group_of(container, make, ada, bob)
        await send(container, bob, group.id)
        await container.services.ownership.leave(bob.actor, group.id, LeaveDraft())
        assert await invite(container, ada, group, bob) == ["invited"]
        await container.services.invitations.accept(bob.actor, group.id)
        assert await counts(container, bob, group.id) is None

    async def test_direct_conversation_has_no_counts(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await send(container, ada, bob.id)
        assert await counts(container, ada, bob.id) is None


class TestAnnouncements:
    async def test_only_advancing_receipt_in_group_is_announced(
        self, container: Container, make: Factory, recorder: AnnouncementRecorder
    ) -> None:
        ada, bob = await make.people(2)
        group = await group_of(container, make, ada, bob)
        await send(container, ada, group.id)
        recorder.receipts.clear()
        for _ in range(2):
            await read(container, bob, group.id, 1)
        assert recorder.receipts == [group.id]

    async def test_delivery_in_group_is_announced(
        self, container: Container, make: Factory, recorder: AnnouncementRecorder
    ) -> None:
        ada, bob, eve = await make.people(3)
        group = await group_of(container, make, ada, bob, eve)
        await send(container, ada, group.id)
        recorder.receipts.clear()
        ends = await container.services.streams.reconcile([], [bob.id, eve.id])
        acks = [DeliveryAck(user, ends.positions[user]) for user in (bob.id, eve.id)]
        await container.services.streams.record_delivered(acks)
        assert recorder.receipts == [group.id]
        assert await counts(container, ada, group.id) == (1, 0, 2, 2)

    async def test_receipt_in_direct_conversation_is_not_announced(
        self, container: Container, make: Factory, recorder: AnnouncementRecorder
    ) -> None:
        ada, bob = await make.friends()
        await send(container, ada, bob.id)
        await send(container, ada, bob.id, "b")
        recorder.receipts.clear()
        await read(container, bob, ada.id, 1)
        ends = await container.services.streams.reconcile([], [bob.id])
        await container.services.streams.record_delivered([DeliveryAck(bob.id, ends.positions[bob.id])])
        assert recorder.news
        assert recorder.receipts == []
