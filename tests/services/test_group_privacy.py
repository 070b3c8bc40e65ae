"""Receipts and blocks in groups: what members learn of each other."""

from __future__ import annotations

from messenger.container import Container
from messenger.schemas.messages import ConversationView, ReceiptDraft
from messenger.schemas.users import PrivacyPatch, ProfilePatch
from messenger.testing import Factory, Person
from tests.support.groups import create_group, invite, join, send
from tests.support.tables import event_data


async def conversation(container: Container, person: Person, target_id: int) -> ConversationView:
    page = await container.services.conversations.list_page(person.actor, cursor=None, limit=50)
    (item,) = [each for each in page.items if each.target.id == target_id]
    return item


class TestHiddenReceipts:
    async def test_hidden_receipt_clears_badge_on_own_devices_only(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve)
        hidden = ProfilePatch(privacy=PrivacyPatch(receipts="nobody"))
        await container.services.profiles.update(bob.actor, hidden)
        laptop = await make.device(bob)
        sent = [await send(container, ada, group) for _ in range(3)]
        assert (await conversation(container, laptop, group.id)).unread == 3
        await container.services.conversations.receipt(bob.actor, ReceiptDraft(target_id=group.id, read_seq=3))
        assert (await conversation(container, laptop, group.id)).unread == 0
        (event,) = await event_data(container, laptop, "receipt.updated")
        assert (event["target_id"], event["read_seq"], event["unread"]) == (group.id, 3, 0)
        for other in (ada, eve):
            assert await event_data(container, other, "receipt.updated") == []
        page = await container.services.messages.receipts(ada.actor, sent[-1].id, after=0, limit=50)
        assert ([each.user.id for each in page.items], page.read) == ([eve.id], 0)


class TestBlock:
    async def test_only_messages_pass_between_blocked_members(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve)
        await make.befriend(bob, eve)
        services = container.services
        await services.contacts.block(eve.actor, bob.id)
        sent = [await send(container, sender, group) for sender in (bob, eve)]
        for reader in (bob, eve):
            page = await services.messages.history(reader.actor, group.id, limit=50)
            assert [message.id for message in page.items] == [message.id for message in sent]
            received = [event["id"] for event in await event_data(container, reader, "message.created")]
            assert received == [str(message.id) for message in sent]
        assert (await conversation(container, bob, group.id)).unread == 1
        # Neither typing nor receipts nor invitations pass between the two, in either direction.
        for one, other in ((bob, eve), (eve, bob)):
            audience = await services.signals.typing_audience(one.actor, group.id)
            assert audience == {group.id: [ada.id]}
            own = next(message for message in sent if message.sender_id == one.id)
            await services.conversations.receipt(other.actor, ReceiptDraft(target_id=group.id, read_seq=2))
            receipts = await services.messages.receipts(one.actor, own.id, after=0, limit=50)
            assert [each.user.id for each in receipts.items] == [ada.id]
            another = await create_group(container, one)
            assert await invite(container, one, another, other) == ["invited"]
            invitations = await event_data(container, other, "group.invited")
            assert another.id not in [each["group"]["id"] for each in invitations]
