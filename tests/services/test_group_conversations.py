"""A conversation of three members reaches each of them by its own ID, and nobody else."""

from __future__ import annotations

import pytest

from messenger.actor import Actor
from messenger.container import Container
from messenger.errors import PeerNotFound
from messenger.errors.groups import NotPermitted
from messenger.schemas.messages import ConversationPatch, MessageDraft, ReceiptDraft
from messenger.schemas.realtime import EventFrame
from messenger.testing import Factory, Person
from tests.support.groups import create_group, join

Group = tuple[int, list[Person], Person]


@pytest.fixture
async def group(container: Container, make: Factory) -> Group:
    """The group's ID, its owner and two members, and a user who is not a member but a contact of the owner."""
    *members, outsider = await make.people(4)
    await make.befriend(members[0], outsider)
    group = await create_group(container, members[0])
    await join(container, make, members[0], group, *members[1:])
    return group.id, members, outsider


async def send(container: Container, sender: Person, target_id: int, client_id: str = "first") -> int:
    """The `seq` of a message."""
    draft = MessageDraft(target_id=target_id, client_id=client_id, body="Hello, all")
    return (await container.services.messages.send(sender.actor, draft))[0].seq


async def events(container: Container, actor: Actor, name: str) -> list[EventFrame]:
    page = await container.services.sync.sync(actor, cursor="e0", limit=100)
    return [event for event in page.events if event.event == name]


class TestGroupMessage:
    async def test_message_appears_in_stream_of_each_member(self, container: Container, group: Group) -> None:
        group_id, members, _ = group
        seq = await send(container, members[1], group_id)
        for member in members:
            (event,) = await events(container, member.actor, "message.created")
            assert (event.data.target_id, event.data.sender_id, event.data.seq) == (group_id, members[1].id, seq)

    async def test_message_appears_in_history_and_list_of_each_member(self, container: Container, group: Group) -> None:
        group_id, members, _ = group
        await send(container, members[2], group_id)
        for member in members:
            history = await container.services.messages.history(
                member.actor, group_id, before=None, after=None, limit=10
            )
            assert [(message.target_id, message.body) for message in history.items] == [(group_id, "Hello, all")]
            page = await container.services.conversations.list_page(member.actor, cursor=None, limit=10)
            (conversation,) = page.items
            assert conversation.last_message is not None
            assert (conversation.target.id, conversation.last_message.target_id) == (group_id, group_id)
            assert conversation.unread == (0 if member is members[2] else 1)

    async def test_outsider_neither_writes_nor_reads(self, container: Container, group: Group) -> None:
        group_id, members, outsider = group
        await send(container, members[0], group_id)
        with pytest.raises(PeerNotFound):
            await send(container, outsider, group_id)
        with pytest.raises(PeerNotFound):
            await container.services.messages.history(outsider.actor, group_id, before=None, after=None, limit=10)
        with pytest.raises(PeerNotFound):
            await container.services.signals.typing_audience(outsider.actor, group_id)
        assert await events(container, outsider.actor, "message.created") == []


class TestGroupReceipt:
    async def test_receipt_only_reaches_devices_of_reader(self, container: Container, group: Group) -> None:
        group_id, members, outsider = group
        seq = await send(container, members[0], group_id)
        draft = ReceiptDraft(target_id=group_id, read_seq=seq)
        await container.services.conversations.receipt(members[1].actor, draft)
        (event,) = await events(container, members[1].actor, "receipt.updated")
        assert (event.data.target_id, event.data.user_id, event.data.read_seq) == (group_id, members[1].id, seq)
        for other in (members[0], members[2], outsider):
            assert await events(container, other.actor, "receipt.updated") == []


class TestGroupSetting:
    async def test_shared_setting_of_owner_notifies_members_by_group_id(
        self, container: Container, group: Group
    ) -> None:
        group_id, members, outsider = group
        await container.services.conversations.update(members[0].actor, group_id, ConversationPatch(expire_after=3600))
        for member in members:
            (event,) = await events(container, member.actor, "conversation.updated")
            assert (event.data.target.id, event.data.expire_after) == (group_id, 3600)
        assert await events(container, outsider.actor, "conversation.updated") == []

    async def test_member_may_not_change_shared_setting(self, container: Container, group: Group) -> None:
        group_id, members, _ = group
        with pytest.raises(NotPermitted):
            await container.services.conversations.update(
                members[1].actor, group_id, ConversationPatch(expire_after=3600)
            )


class TestGroupSignal:
    async def test_signals_reach_other_members_by_group_id(self, container: Container, group: Group) -> None:
        group_id, members, _ = group
        others = {group_id: sorted([members[0].id, members[2].id])}
        assert await container.services.signals.typing_audience(members[1].actor, group_id) == others
        assert await container.services.signals.call_audience(members[1].actor, group_id) == others
