"""Conversations: the list that an app opens with, and settings."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import NotAContact, PeerNotFound, Unauthenticated, ValidationFailed
from messenger.schemas.messages import ConversationPage, ConversationPatch, ConversationView, ReceiptDraft
from messenger.schemas.moments import moment
from messenger.schemas.types import timestamp
from messenger.schemas.users import PrivacyPatch, ProfilePatch
from messenger.testing import Factory, Person
from tests.support.tables import event_data, rows


async def page(container: Container, person: Person, cursor: str | None = None, limit: int = 50) -> ConversationPage:
    return await container.services.conversations.list_page(person.actor, cursor=cursor, limit=limit)


async def only(container: Container, person: Person) -> ConversationView:
    """The only conversation of this user."""
    (item,) = (await page(container, person)).items
    return item


def shown(view: ConversationView) -> dict[str, Any]:
    """The conversation as sent to clients."""
    found: dict[str, Any] = msgspec.to_builtins(view)
    return found


def targets(view: ConversationPage) -> list[int]:
    return [item.target.id for item in view.items]


class TestListConversations:
    async def test_latest_conversation_is_first(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada, bob, eve, dan = await make.people(4)
        for friend in (bob, eve, dan):
            await make.befriend(ada, friend)
            await make.message(ada, friend)
            clock.advance(milliseconds=1)
        await make.message(eve, ada)
        assert targets(await page(container, ada)) == [eve.id, dan.id, bob.id]

    async def test_item_shows_view_of_reader(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        last = await make.message(bob, ada, "Good-bye")
        item = await only(container, ada)
        assert (item.target.id, item.target.username, item.target.name) == (bob.id, bob.username, "Ada")
        assert item.last_message == await container.services.messages.get(ada.actor, last.id)
        assert (item.last_seq, item.read_seq, item.unread) == (2, 1, 1)
        assert (item.muted_until, item.pinned, item.archived, item.expire_after) == (None, False, False, None)

    async def test_user_without_conversations_gets_empty_page(self, container: Container, make: Factory) -> None:
        view = await page(container, await make.person())
        assert (view.items, view.next) == ([], None)

    async def test_conversation_without_messages_is_not_shown(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(pinned=True))
        assert (await page(container, ada)).items == (await page(container, bob)).items == []

    async def test_outsider_sees_no_conversation(self, container: Container, make: Factory) -> None:
        await make.message(*await make.friends())
        assert (await page(container, await make.person())).items == []

    async def test_signed_out_device_gets_no_conversations(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await container.services.devices.logout(ada.actor)
        with pytest.raises(Unauthenticated):
            await page(container, ada)

    @pytest.mark.parametrize("who", ["everyone", "me"])
    async def test_deleted_message_is_not_last_message(self, container: Container, make: Factory, who: Any) -> None:
        ada, bob = await make.friends()
        before, message = await make.message(ada, bob), await make.message(ada, bob)
        await container.services.messages.delete(ada.actor, message.id, who=who)
        last = (await only(container, ada)).last_message
        assert last is not None
        assert last.id == before.id

    async def test_erased_target_has_no_name(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        await container.services.accounts.erase(bob.actor, bob.password)
        target = (await only(container, ada)).target
        assert (target.id, target.username, target.name) == (bob.id, None, "Deleted account")


class TestUnreadCount:
    async def test_unread_counts_messages_of_peer(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        for _ in range(3):
            await make.message(ada, bob)
        assert [(await only(container, each)).unread for each in (ada, bob)] == [0, 3]

    async def test_receipt_lowers_unread(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        for _ in range(3):
            await make.message(ada, bob)
        await container.services.conversations.receipt(bob.actor, ReceiptDraft(target_id=ada.id, read_seq=2))
        assert (await only(container, bob)).unread == 1

    async def test_own_message_marks_earlier_messages_read(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        await make.message(bob, ada)
        item = await only(container, bob)
        assert (item.read_seq, item.unread) == (2, 0)


class TestConversationPages:
    @pytest.mark.parametrize("limit", [1, 2, 3])
    @pytest.mark.parametrize("apart", [0, 1, 333])
    async def test_conversation_pages_are_contiguous_without_overlap(
        self, container: Container, make: Factory, clock: FixedClock, limit: int, apart: int
    ) -> None:
        ada, *friends = await make.people(6)
        for friend in friends:
            await make.befriend(ada, friend)
            # At the same moment they are ordered by another key, which must hold as well.
            clock.advance(milliseconds=apart)
            await make.message(ada, friend)
        whole = targets(await page(container, ada))
        found, cursor = [], None
        while True:
            view = await page(container, ada, cursor, limit)
            assert len(view.items) <= limit
            found += targets(view)
            cursor = view.next
            if cursor is None:
                break
        assert found == whole
        assert set(found) == {friend.id for friend in friends}

    async def test_full_last_page_has_no_next(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        assert (await page(container, ada, limit=1)).next is None

    async def test_new_message_does_not_shift_conversation_off_pages(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob, eve, dan = await make.people(4)
        for friend in (bob, eve, dan):
            await make.befriend(ada, friend)
            await make.message(ada, friend)
            clock.advance(seconds=1)
        first = await page(container, ada, limit=2)
        await make.message(dan, ada)
        assert (targets(first), targets(await page(container, ada, first.next))) == ([dan.id, eve.id], [bob.id])

    @pytest.mark.parametrize(
        "text",
        [b"", b"x", b"1.x", b"x.1", b"1e3.1", b"99999999999999999999.1", b"\xff.1", b"1." + b"1" * 60],
        ids=str,
    )
    async def test_foreign_cursor_is_refused(self, container: Container, make: Factory, text: bytes) -> None:
        ada = await make.person()
        with pytest.raises(ValidationFailed):
            await page(container, ada, base64.urlsafe_b64encode(text).decode())

    @pytest.mark.parametrize("cursor", ["!", "ä", "a", "MS4x\n", "e7"])
    async def test_malformed_cursor_is_refused(self, container: Container, make: Factory, cursor: str) -> None:
        with pytest.raises(ValidationFailed):
            await page(container, await make.person(), cursor)

    async def test_cursor_out_of_range_is_refused(self, container: Container, make: Factory) -> None:
        cursor = base64.urlsafe_b64encode(b"1.-99999999999999999999").decode()
        with pytest.raises(ValidationFailed):
            await page(container, await make.person(), cursor)


class TestStreamCursor:
    async def test_cursor_is_newest_stream_position(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(bob, ada)
        newest = await rows(container, "SELECT max(position) AS at FROM events WHERE user_id = $1", ada.id)
        assert (await page(container, ada)).cursor == f"e{newest[0]['at']}"

    async def test_cursor_grows_with_each_event(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        before = int((await page(container, ada)).cursor[1:])
        await make.message(bob, ada)
        await make.message(ada, bob)
        assert int((await page(container, ada)).cursor[1:]) == before + 2

    async def test_stream_without_events_has_cursor(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        # Both: other tests sweep over all users, and would write into a stream whose position is lower than its events.
        await rows(container, "DELETE FROM events WHERE user_id = $1", ada.id)
        await rows(container, "UPDATE streams SET position = 0 WHERE user_id = $1", ada.id)
        assert (await page(container, ada)).cursor == "e0"


async def part(container: Container, ada: Person, bob: Person, between: str) -> None:
    """End Ada's permission to write to Bob, for this reason."""
    contacts = container.services.contacts
    if between == "strangers":
        await contacts.unsubscribe(ada.actor, bob.id)
    elif between == "I blocked":
        await contacts.block(ada.actor, bob.id)
    elif between == "they blocked":
        await contacts.block(bob.actor, ada.id)
    else:
        patch = ProfilePatch(privacy=PrivacyPatch(messages_from="nobody"))
        await container.services.profiles.update(bob.actor, patch)


class TestConversationSettings:
    async def test_each_setting_is_changed_and_shown(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        until = clock.now() + timedelta(hours=1)
        patch = ConversationPatch(muted_until=moment(until), pinned=True, archived=True, expire_after=60)
        view = await container.services.conversations.update(ada.actor, bob.id, patch)
        assert (view.muted_until, view.pinned, view.archived) == (timestamp(until), True, True)
        assert view.expire_after == 60
        assert await only(container, ada) == view

    async def test_omitted_settings_stay_unchanged(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        update = container.services.conversations.update
        patch = ConversationPatch(muted_until=moment(clock.now()), pinned=True, archived=True, expire_after=60)
        before = await update(ada.actor, bob.id, patch)
        assert await update(ada.actor, bob.id, ConversationPatch()) == before

    async def test_null_resets_setting(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada, bob = await make.friends()
        update = container.services.conversations.update
        await update(ada.actor, bob.id, ConversationPatch(muted_until=moment(clock.now()), expire_after=60))
        view = await update(ada.actor, bob.id, ConversationPatch(muted_until=None, expire_after=None))
        assert (view.muted_until, view.expire_after) == (None, None)

    async def test_own_settings_do_not_affect_peer(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        patch = ConversationPatch(muted_until=moment(clock.now()), pinned=True, archived=True)
        await container.services.conversations.update(ada.actor, bob.id, patch)
        theirs = await only(container, bob)
        assert (theirs.muted_until, theirs.pinned, theirs.archived) == (None, False, False)

    async def test_expiry_setting_is_shared(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        assert (await only(container, bob)).expire_after == 60

    async def test_own_devices_are_notified_of_all_settings(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        view = await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(pinned=True))
        assert await event_data(container, ada, "conversation.updated") == [shown(view)]
        assert await event_data(container, bob, "conversation.updated") == []

    async def test_peer_is_notified_of_expiry_with_own_view(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob, "Hello")
        patch = ConversationPatch(pinned=True, expire_after=60)
        await container.services.conversations.update(ada.actor, bob.id, patch)
        mine, theirs = await only(container, ada), await only(container, bob)
        assert (mine.unread, theirs.unread, theirs.pinned, theirs.expire_after) == (0, 1, False, 60)
        assert await event_data(container, ada, "conversation.updated") == [shown(mine)]
        assert await event_data(container, bob, "conversation.updated") == [shown(theirs)]

    async def test_conversation_event_shows_state_at_reading(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(pinned=True))
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(pinned=False))
        message = await make.message(bob, ada, "Regret")
        await container.services.messages.delete(bob.actor, message.id, who="everyone")
        now = await only(container, ada)
        assert (now.pinned, now.last_message) == (False, None)
        assert await event_data(container, ada, "conversation.updated") == [shown(now)] * 3

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            (datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T10:00:00.000Z"),
            (datetime.max.replace(tzinfo=UTC), "9998-12-31T00:00:00.000Z"),
            (datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), "9998-12-31T00:00:00.000Z"),
            (datetime.min.replace(tzinfo=UTC), "1970-01-01T00:00:00.000Z"),
            (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "1970-01-01T00:00:00.000Z"),
        ],
    )
    async def test_mute_is_kept_in_utc(self, container: Container, make: Factory, given: datetime, kept: str) -> None:
        ada, bob = await make.friends()
        view = await container.services.conversations.update(
            ada.actor, bob.id, ConversationPatch(muted_until=moment(given))
        )
        assert view.muted_until == kept

    @pytest.mark.parametrize("target", ["unknown", "self", "erased"])
    async def test_invalid_target_is_not_found(self, container: Container, make: Factory, target: str) -> None:
        ada, bob = await make.people(2)
        await container.services.accounts.erase(bob.actor, bob.password)
        target_id = {"unknown": 7, "self": ada.id, "erased": bob.id}[target]
        with pytest.raises(PeerNotFound):
            await container.services.conversations.update(ada.actor, target_id, ConversationPatch(pinned=True))

    @pytest.mark.parametrize("between", ["strangers", "I blocked", "they blocked", "nobody"])
    async def test_expiry_requires_permission_to_write(self, container: Container, make: Factory, between: str) -> None:
        ada, bob = await make.friends()
        await make.message(bob, ada)
        await part(container, ada, bob, between)
        with pytest.raises(NotAContact):
            await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        assert (await only(container, bob)).expire_after is None

    @pytest.mark.parametrize("between", ["strangers", "I blocked", "they blocked", "nobody"])
    async def test_settings_create_no_conversation_without_permission_to_write(
        self, container: Container, make: Factory, between: str
    ) -> None:
        ada, bob = await make.friends()
        await part(container, ada, bob, between)
        with pytest.raises(PeerNotFound):
            await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(pinned=True))
        assert await rows(container, "SELECT FROM members WHERE user_id IN ($1, $2)", ada.id, bob.id) == []

    async def test_unchanged_expiry_does_not_notify_peer(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        view = await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=None))
        assert view.expire_after is None
        assert await event_data(container, bob, "conversation.updated") == []
