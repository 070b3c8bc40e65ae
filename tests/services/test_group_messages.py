"""Messages in groups: who receives them, what new members see, what keeps a member from sending."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import MessageNotFound, NotTheSender, PeerNotFound
from messenger.errors.groups import MustBeEncrypted, Muted, NotPermitted, RankTooLow, SlowMode
from messenger.schemas.admission import BanDraft
from messenger.schemas.groups import GroupView, MemberPatch
from messenger.schemas.messages import ReceiptDraft
from messenger.schemas.moments import moment
from messenger.schemas.users import PrivacyPatch, ProfilePatch
from messenger.testing import Factory, Person
from tests.support.groups import change_permissions, change_settings, create_group, join, send
from tests.support.tables import event_data


async def history(container: Container, person: Person, group: GroupView) -> list[int]:
    """The `seq` of all messages that this member sees."""
    page = await container.services.messages.history(person.actor, group.id, before=None, after=None, limit=200)
    return [message.seq for message in page.items]


class TestDelivery:
    async def test_every_member_receives_message(self, container: Container, make: Factory) -> None:
        ada, bob, eve, dan = await make.people(4)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve)
        sent = await send(container, bob, group)
        assert (sent.target_id, sent.seq) == (group.id, 1)
        for member in (ada, bob, eve):
            (event,) = await event_data(container, member, "message.created")
            assert (event["id"], event["target_id"]) == (str(sent.id), group.id)
            assert await history(container, member, group) == [1]
        assert await event_data(container, dan, "message.created") == []

    async def test_stranger_gets_peer_not_found(self, container: Container, make: Factory) -> None:
        ada, eve = await make.people(2)
        group = await create_group(container, ada)
        with pytest.raises(PeerNotFound):
            await send(container, eve, group)
        with pytest.raises(PeerNotFound):
            await history(container, eve, group)

    async def test_conversation_of_group_is_listed(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await send(container, ada, group)
        page = await container.services.conversations.list_page(bob.actor, cursor=None, limit=50)
        (item,) = page.items
        assert (item.target.id, item.target.kind, item.target.name) == (group.id, "group", "Reading")
        assert (item.unread, item.last_seq, item.target_receipt) == (1, 1, None)
        assert item.group == await container.services.groups.get(bob.actor, group.id)

    async def test_receipt_goes_to_own_devices_only(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await send(container, ada, group)
        await container.services.conversations.receipt(bob.actor, ReceiptDraft(target_id=group.id, read_seq=1))
        assert await event_data(container, ada, "receipt.updated") == []
        (event,) = await event_data(container, bob, "receipt.updated")
        assert (event["target_id"], event["read_seq"], event["unread"]) == (group.id, 1, 0)


class TestHistory:
    @pytest.mark.parametrize(("setting", "seen"), [("none", []), ("recent", [1, 2, 3]), ("all", [1, 2, 3])])
    async def test_new_member_sees_what_setting_allows(
        self, container: Container, make: Factory, setting: str, seen: list[int]
    ) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await change_settings(container, ada, group, history=setting)
        early = [await send(container, ada, group) for _ in range(3)]
        await join(container, make, ada, group, bob)
        assert await history(container, bob, group) == seen
        page = await container.services.conversations.list_page(bob.actor, cursor=None, limit=50)
        (item,) = [each for each in page.items if each.target.id == group.id]
        assert (item.unread, item.last_message is not None) == (0, bool(seen))
        if not seen:
            with pytest.raises(MessageNotFound):
                await container.services.messages.get(bob.actor, early[0].id)
            with pytest.raises(MessageNotFound):
                await send(container, bob, group, reply_to=early[0].id)
        await send(container, ada, group)
        assert await history(container, bob, group) == [*seen, 4]

    async def test_later_setting_reveals_no_message(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await send(container, ada, group)
        await join(container, make, ada, group, bob)
        await change_settings(container, ada, group, history="all")
        assert await history(container, bob, group) == []


class TestHistoryPages:
    async def test_notices_stand_behind_messages(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        for _ in range(2):
            await send(container, ada, group)
        await join(container, make, ada, group, bob)
        await send(container, ada, group)
        page = await container.services.messages.history(ada.actor, group.id, limit=50)
        assert [(each.action, each.after_seq) for each in page.notices] == [("created", 0), ("joined", 2)]
        first = await container.services.messages.history(ada.actor, group.id, before=2, limit=50)
        assert [each.action for each in first.notices] == ["created"]
        seen = await container.services.messages.history(bob.actor, group.id, limit=50)
        assert ([each.action for each in seen.notices], seen.next) == (["joined"], None)

    async def test_setting_hides_joins(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await change_settings(container, ada, group, notices="important")
        page = await container.services.messages.history(ada.actor, group.id, limit=50)
        assert [each.action for each in page.notices] == ["created", "settings"]
        await change_settings(container, ada, group, notices="none")
        page = await container.services.messages.history(ada.actor, group.id, limit=50)
        assert page.notices == []

    async def test_page_around_first_unread_message(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        sent = [await send(container, ada, group) for _ in range(9)]
        await container.services.conversations.receipt(bob.actor, ReceiptDraft(target_id=group.id, read_seq=4))
        await container.services.messages.delete(ada.actor, sent[4].id, who="everyone")
        page = await container.services.messages.history(bob.actor, group.id, around="unread", limit=4)
        assert (page.first_unread, [message.seq for message in page.items]) == (6, [4, 5, 6, 7])
        page = await container.services.messages.history(ada.actor, group.id, around="unread", limit=4)
        assert (page.first_unread, page.items[-1].seq) == (None, 9)
        page = await container.services.messages.history(ada.actor, group.id, around=3, limit=4)
        assert [message.seq for message in page.items] == [1, 2, 3, 4]


class TestReceipts:
    async def test_sender_sees_receipts_of_members(self, container: Container, make: Factory) -> None:
        ada, bob, eve, dan = await make.people(4)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve, dan)
        first = await send(container, ada, group)
        await send(container, ada, group)
        receipt = ReceiptDraft(target_id=group.id, read_seq=2)
        await container.services.conversations.receipt(bob.actor, receipt)
        receipt = ReceiptDraft(target_id=group.id, delivered_seq=1)
        await container.services.conversations.receipt(eve.actor, receipt)
        page = await container.services.messages.receipts(ada.actor, first.id, after=0, limit=50)
        assert {each.user.id: (each.read, each.delivered) for each in page.items} == {
            bob.id: (True, True),
            eve.id: (False, True),
            dan.id: (False, False),
        }
        assert (page.members, page.read, page.delivered) == (3, 1, 2)

    async def test_hidden_and_blocked_members_are_not_counted(self, container: Container, make: Factory) -> None:
        ada, bob, eve, dan = await make.people(4)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve, dan)
        hidden = ProfilePatch(privacy=PrivacyPatch(receipts="nobody"))
        await container.services.profiles.update(bob.actor, hidden)
        await container.services.contacts.block(eve.actor, ada.id)
        sent = await send(container, ada, group)
        page = await container.services.messages.receipts(ada.actor, sent.id, after=0, limit=50)
        assert ([each.user.id for each in page.items], page.members) == ([dan.id], 1)
        await container.services.profiles.update(ada.actor, hidden)
        page = await container.services.messages.receipts(ada.actor, sent.id, after=0, limit=50)
        assert (page.items, page.members) == ([], 0)

    async def test_receipts_of_old_message_are_not_counted(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        sent = await send(container, ada, group)
        clock.advance(days=8)
        ada = await make.refreshed(ada)
        page = await container.services.messages.receipts(ada.actor, sent.id, after=0, limit=50)
        assert (page.items, page.members, page.read) == ([], None, None)

    async def test_only_sender_sees_receipts(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        sent = await send(container, ada, group)
        with pytest.raises(NotTheSender):
            await container.services.messages.receipts(bob.actor, sent.id, after=0, limit=50)
        with pytest.raises(MessageNotFound):
            await container.services.messages.receipts(eve.actor, sent.id, after=0, limit=50)


class TestDeleting:
    async def test_moderator_deletes_message_of_member(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        sent = await send(container, bob, group)
        await container.services.messages.delete(ada.actor, sent.id, who="everyone")
        deleted = await container.services.messages.get(bob.actor, sent.id)
        assert (deleted.body, deleted.deleted_by) == (None, ada.id)

    async def test_member_deletes_neither_message_of_owner_nor_of_member(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve)
        for sender in (ada, eve):
            sent = await send(container, sender, group)
            with pytest.raises(NotTheSender):
                await container.services.messages.delete(bob.actor, sent.id, who="everyone")

    async def test_moderator_cannot_delete_message_of_owner(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await container.services.members.update(ada.actor, group.id, bob.id, MemberPatch(role="moderator"))
        sent = await send(container, ada, group)
        with pytest.raises(RankTooLow):
            await container.services.messages.delete(bob.actor, sent.id, who="everyone")


class TestPurge:
    @pytest.mark.parametrize(("messages", "left"), [("none", 4), ("day", 3), ("all", 1)])
    async def test_messages_of_removed_member_are_deleted(
        self, container: Container, make: Factory, clock: FixedClock, messages: Any, left: int
    ) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        for _ in range(2):
            await send(container, bob, group)
        clock.advance(days=2)
        ada, bob = await make.refreshed(ada), await make.refreshed(bob)
        await send(container, bob, group)
        await send(container, ada, group)
        await container.services.members.remove(ada.actor, group.id, bob.id, messages=messages)
        await container.services.fan_out.drain()
        page = await container.services.messages.history(ada.actor, group.id, limit=50)
        shown = [message for message in page.items if message.body is not None]
        assert (len(shown), len(page.items)) == (left, 4)
        assert {message.deleted_by for message in page.items if message.body is None} <= {ada.id}
        assert len(await event_data(container, ada, "message.deleted")) == 4 - left


class TestObstacles:
    async def test_rank_below_permission_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await change_permissions(container, ada, group, post="moderator")
        with pytest.raises(NotPermitted) as raised:
            await send(container, bob, group)
        assert raised.value.extra == {"permission": "post"}
        await send(container, ada, group)

    async def test_muted_member_is_refused_until_mute_ends(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        until = moment(clock.now() + timedelta(minutes=1))
        await container.services.members.update(ada.actor, group.id, bob.id, MemberPatch(muted_until=until))
        with pytest.raises(Muted):
            await send(container, bob, group)
        clock.advance(minutes=2)
        assert (await send(container, bob, group)).seq == 1

    async def test_slow_mode_holds_for_members(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await change_settings(container, ada, group, slow_mode=30)
        first = await send(container, bob, group, client_id="first")
        with pytest.raises(SlowMode) as raised:
            await send(container, bob, group)
        assert raised.value.response_headers["Retry-After"] == "30"
        assert (await send(container, bob, group, client_id="first")).id == first.id
        for _ in range(2):
            await send(container, ada, group)
        clock.advance(seconds=30)
        assert (await send(container, bob, group)).seq == 4

    async def test_banned_member_cannot_send(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await container.services.bans.ban(ada.actor, group.id, bob.id, BanDraft())
        with pytest.raises(PeerNotFound):
            await send(container, bob, group)

    async def test_plain_message_to_encrypted_group_is_refused(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        group = await create_group(container, ada, encrypted=True)
        with pytest.raises(MustBeEncrypted):
            await send(container, ada, group)
