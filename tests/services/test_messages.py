"""Messages: who may be written to, and what may be done to messages afterwards."""

from __future__ import annotations

import asyncio
from typing import Any, Literal
from uuid import UUID

import pytest

from messenger.clock import FixedClock, new_id
from messenger.container import Container
from messenger.errors import (
    CannotTargetSelf,
    MessageIsDeleted,
    MessageNotFound,
    MessageTooLarge,
    NotAContact,
    NotTheSender,
    PeerNotFound,
)
from messenger.events import WakeUp
from messenger.schemas.messages import ConversationPatch, MessageDraft, MessagePatch, MessageView
from messenger.schemas.types import timestamp
from messenger.schemas.users import PrivacyPatch, ProfilePatch, SubscribeDraft
from messenger.testing import Factory, Person
from tests.services._messages import draft_to, refusal
from tests.support.tables import rows

Who = Literal["everyone", "me"]


async def event_names(container: Container, person: Person, message: MessageView) -> list[str]:
    """The events of a message in a user's stream, in order."""
    sql = "SELECT name FROM events WHERE user_id = $1 AND subject = $2 ORDER BY position"
    return [row["name"] for row in await rows(container, sql, person.id, message.id)]


@pytest.fixture
async def ada_and_bob(make: Factory) -> tuple[Person, Person]:
    return await make.friends()


@pytest.fixture
async def message(make: Factory, ada_and_bob: tuple[Person, Person]) -> MessageView:
    """A message from Ada to Bob that mentions him."""
    ada, bob = ada_and_bob
    return await make.message(ada, bob, mentions=[bob.id])


class TestGetMessage:
    async def test_both_sides_read_message(self, container: Container, ada_and_bob: Any, message: MessageView) -> None:
        for person in ada_and_bob:
            assert (await container.services.messages.get(person.actor, message.id)).body == "Hello"

    async def test_outsider_gets_message_not_found(
        self, container: Container, make: Factory, message: MessageView
    ) -> None:
        eve = await make.person()
        for message_id in (message.id, new_id()):
            with pytest.raises(MessageNotFound):
                await container.services.messages.get(eve.actor, message_id)


class TestEditMessage:
    @pytest.mark.parametrize("end", ["block", "unsubscribe"])
    async def test_block_forbids_edits_of_old_messages_like_ended_contact(
        self, container: Container, ada_and_bob: Any, message: MessageView, end: str
    ) -> None:
        ada, bob = ada_and_bob
        await getattr(container.services.contacts, end)(bob.actor, ada.id)
        with pytest.raises(NotAContact):
            await container.services.messages.edit(ada.actor, message.id, MessagePatch(body="Still here"))
        assert await event_names(container, bob, message) == ["message.created"]

    async def test_text_is_replaced_for_both(
        self, container: Container, ada_and_bob: Any, message: MessageView, clock: FixedClock
    ) -> None:
        ada, bob = ada_and_bob
        at = timestamp(clock.advance(minutes=1))
        edited = await container.services.messages.edit(ada.actor, message.id, MessagePatch(body="Changed"))
        assert (edited.body, edited.edited_at, edited.created_at) == ("Changed", at, message.created_at)
        assert (edited.seq, edited.mentions) == (message.seq, message.mentions)
        assert (await container.services.messages.get(bob.actor, message.id)).body == "Changed"

    async def test_both_sides_are_notified_of_edit(
        self, container: Container, ada_and_bob: Any, message: MessageView, published: list[WakeUp]
    ) -> None:
        published.clear()
        await container.services.messages.edit(ada_and_bob[0].actor, message.id, MessagePatch(body="Changed"))
        for person in ada_and_bob:
            assert await event_names(container, person, message) == ["message.created", "message.edited"]
        assert {(news.user_id, news.name) for news in published} == {
            (person.id, "message.edited") for person in ada_and_bob
        }

    async def test_recipient_may_not_edit(self, container: Container, ada_and_bob: Any, message: MessageView) -> None:
        with pytest.raises(NotTheSender):
            await container.services.messages.edit(ada_and_bob[1].actor, message.id, MessagePatch(body="Mine"))
        assert await event_names(container, ada_and_bob[0], message) == ["message.created"]

    async def test_outsider_editing_gets_message_not_found(
        self, container: Container, make: Factory, message: MessageView
    ) -> None:
        eve = await make.person()
        for message_id in (message.id, new_id()):
            with pytest.raises(MessageNotFound):
                await container.services.messages.edit(eve.actor, message_id, MessagePatch(body="Mine"))

    async def test_other_device_of_sender_may_edit(
        self, container: Container, make: Factory, ada_and_bob: Any, message: MessageView
    ) -> None:
        phone = await make.device(ada_and_bob[0])
        edited = await container.services.messages.edit(phone.actor, message.id, MessagePatch(body="Changed"))
        assert (edited.body, edited.sender_device_id) == ("Changed", message.sender_device_id)

    @pytest.mark.parametrize("how", ["everyone", "me", "expired"])
    async def test_edit_of_deleted_message_is_refused(
        self, container: Container, make: Factory, ada_and_bob: Any, clock: FixedClock, how: str
    ) -> None:
        ada, bob = ada_and_bob
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        message = await make.message(ada, bob)
        if how == "expired":
            clock.advance(seconds=60)
        else:
            await container.services.messages.delete(ada.actor, message.id, who="me" if how == "me" else "everyone")
        with pytest.raises(MessageIsDeleted):
            await container.services.messages.edit(ada.actor, message.id, MessagePatch(body="Back"))
        assert (await container.services.messages.get(ada.actor, message.id)).body is None

    async def test_edit_accepts_up_to_64_kib(
        self, container: Container, ada_and_bob: Any, message: MessageView
    ) -> None:
        edit, ada = container.services.messages.edit, ada_and_bob[0]
        assert (await edit(ada.actor, message.id, MessagePatch(body="ж" * 32_768))).body == "ж" * 32_768
        with pytest.raises(MessageTooLarge):
            await edit(ada.actor, message.id, MessagePatch(body="ж" * 32_768 + "a"))

    async def test_concurrent_deletion_wins_over_edit(
        self, container: Container, ada_and_bob: Any, message: MessageView
    ) -> None:
        ada, bob = ada_and_bob
        messages = container.services.messages
        edits = [messages.edit(ada.actor, message.id, MessagePatch(body=f"Edit {n}")) for n in range(5)]
        deletion = messages.delete(ada.actor, message.id, who="everyone")
        outcomes = await asyncio.gather(*edits, deletion, return_exceptions=True)
        assert all(not isinstance(each, Exception) or isinstance(each, MessageIsDeleted) for each in outcomes)
        assert (await messages.get(bob.actor, message.id)).body is None
        assert (await event_names(container, bob, message))[-1] == "message.deleted"


class TestDeleteMessage:
    async def test_delete_for_everyone_empties_message(
        self, container: Container, ada_and_bob: Any, message: MessageView, clock: FixedClock
    ) -> None:
        at = timestamp(clock.advance(minutes=1))
        await container.services.messages.delete(ada_and_bob[0].actor, message.id, who="everyone")
        for person in ada_and_bob:
            seen = await container.services.messages.get(person.actor, message.id)
            assert (seen.body, seen.mentions, seen.deleted_at, seen.seq) == (None, [], at, message.seq)

    async def test_delete_for_everyone_removes_text_from_database(
        self, container: Container, ada_and_bob: Any, message: MessageView
    ) -> None:
        await container.services.messages.delete(ada_and_bob[0].actor, message.id, who="everyone")
        kept = await rows(container, "SELECT body, mentions FROM messages WHERE id = $1", message.id)
        assert kept == [{"body": None, "mentions": []}]

    @pytest.mark.parametrize("by", [0, 1], ids=["sender", "reader"])
    async def test_delete_for_me_hides_message_only_from_caller(
        self, container: Container, ada_and_bob: Any, message: MessageView, clock: FixedClock, by: int
    ) -> None:
        at = timestamp(clock.advance(minutes=1))
        me, other = ada_and_bob[by], ada_and_bob[1 - by]
        await container.services.messages.delete(me.actor, message.id, who="me")
        mine = await container.services.messages.get(me.actor, message.id)
        theirs = await container.services.messages.get(other.actor, message.id)
        assert (mine.body, mine.mentions, mine.deleted_at) == (None, [], at)
        assert (theirs.body, theirs.deleted_at) == ("Hello", None)

    @pytest.mark.parametrize(("who", "others"), [("everyone", ["message.deleted"]), ("me", [])])
    async def test_deletion_notifies_affected_users(
        self, container: Container, ada_and_bob: Any, message: MessageView, who: Who, others: list[str]
    ) -> None:
        ada, bob = ada_and_bob
        await container.services.messages.delete(ada.actor, message.id, who=who)
        assert await event_names(container, ada, message) == ["message.created", "message.deleted"]
        assert await event_names(container, bob, message) == ["message.created", *others]

    @pytest.mark.parametrize("who", ["everyone", "me"])
    async def test_repeated_deletion_is_not_announced_again(
        self, container: Container, ada_and_bob: Any, message: MessageView, clock: FixedClock, who: Who
    ) -> None:
        ada = ada_and_bob[0]
        await container.services.messages.delete(ada.actor, message.id, who=who)
        before = await container.services.messages.get(ada.actor, message.id)
        clock.advance(minutes=1)
        await container.services.messages.delete(ada.actor, message.id, who=who)
        assert await container.services.messages.get(ada.actor, message.id) == before
        assert await event_names(container, ada, message) == ["message.created", "message.deleted"]

    async def test_concurrent_deletions_are_announced_once(
        self, container: Container, ada_and_bob: Any, message: MessageView
    ) -> None:
        delete = container.services.messages.delete
        await asyncio.gather(*(delete(ada_and_bob[0].actor, message.id, who="everyone") for _ in range(5)))
        assert await event_names(container, ada_and_bob[1], message) == ["message.created", "message.deleted"]

    async def test_recipient_may_not_delete_for_everyone(
        self, container: Container, ada_and_bob: Any, message: MessageView
    ) -> None:
        with pytest.raises(NotTheSender):
            await container.services.messages.delete(ada_and_bob[1].actor, message.id, who="everyone")
        assert (await container.services.messages.get(ada_and_bob[1].actor, message.id)).body == "Hello"

    @pytest.mark.parametrize("who", ["everyone", "me"])
    async def test_outsider_deleting_gets_message_not_found(
        self, container: Container, make: Factory, message: MessageView, who: Who
    ) -> None:
        eve = await make.person()
        for message_id in (message.id, new_id()):
            with pytest.raises(MessageNotFound):
                await container.services.messages.delete(eve.actor, message_id, who=who)
        assert await event_names(container, eve, message) == []


class TestMessageExpiry:
    @pytest.fixture
    async def expiring(self, container: Container, make: Factory, ada_and_bob: Any) -> MessageView:
        """A message that expires after a minute."""
        ada, bob = ada_and_bob
        await container.services.conversations.update(bob.actor, ada.id, ConversationPatch(expire_after=60))
        return await make.message(ada, bob, mentions=[bob.id])

    async def test_message_shows_expires_at(self, expiring: MessageView, clock: FixedClock) -> None:
        assert expiring.expires_at == timestamp(clock.advance(seconds=60))

    async def test_message_expires_by_clock(
        self, container: Container, ada_and_bob: Any, expiring: MessageView, clock: FixedClock
    ) -> None:
        get, bob = container.services.messages.get, ada_and_bob[1]
        clock.advance(seconds=59)
        assert (await get(bob.actor, expiring.id)).body == "Hello"
        clock.advance(seconds=1)
        ended = await get(bob.actor, expiring.id)
        assert (ended.body, ended.mentions, ended.deleted_at) == (None, [], expiring.expires_at)

    async def test_repeated_send_of_expired_message_is_empty(
        self, container: Container, ada_and_bob: Any, expiring: MessageView, clock: FixedClock
    ) -> None:
        ada, bob = ada_and_bob
        clock.advance(seconds=60)
        draft = MessageDraft(target_id=bob.id, client_id=expiring.client_id, body="Hello", mentions=[bob.id])
        again, created = await container.services.messages.send(ada.actor, draft)
        assert (again.id, again.body, created) == (expiring.id, None, False)

    async def test_message_from_before_the_setting_stays(
        self, container: Container, ada_and_bob: Any, message: MessageView, clock: FixedClock
    ) -> None:
        ada, bob = ada_and_bob
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        clock.advance(days=1)
        assert (await container.services.messages.get(bob.actor, message.id)).body == "Hello"


class TestMessageTarget:
    async def test_unknown_target_is_not_found(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        draft = MessageDraft(target_id=7, client_id="one", body="Hello")
        assert await refusal(container, ada, draft) is PeerNotFound

    async def test_message_to_self_is_refused(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        assert await refusal(container, ada, draft_to(ada)) is CannotTargetSelf

    async def test_user_open_to_everyone_has_no_conversation_with_self(
        self, container: Container, make: Factory
    ) -> None:
        ada = await make.person()
        patch = ProfilePatch(privacy=PrivacyPatch(messages_from="everyone", calls_from="everyone"))
        await container.services.profiles.update(ada.actor, patch)
        assert await refusal(container, ada, draft_to(ada)) is CannotTargetSelf
        with pytest.raises(PeerNotFound):
            await container.services.conversations.update(ada.actor, ada.id, ConversationPatch(pinned=True))
        with pytest.raises(PeerNotFound):
            await container.services.messages.history(ada.actor, ada.id, before=None, after=None, limit=1)
        assert await rows(container, "SELECT FROM members WHERE user_id = $1", ada.id) == []

    @pytest.mark.parametrize("talked", [True, False])
    async def test_erased_target_is_not_found(self, container: Container, make: Factory, talked: bool) -> None:
        ada, bob = await make.friends()
        if talked:
            await make.message(ada, bob)
        await container.services.accounts.erase(bob.actor, bob.password)
        assert await refusal(container, ada, draft_to(bob)) is PeerNotFound

    async def test_disabled_target_is_not_found(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await container.services.administration.set_disabled(str(bob.id), disabled=True)
        assert await refusal(container, ada, draft_to(bob)) is PeerNotFound


class TestReply:
    async def test_reply_to_message_of_conversation_is_accepted(self, make: Factory) -> None:
        ada, bob = await make.friends()
        first = await make.message(ada, bob)
        assert (await make.message(bob, ada, reply_to=first.id)).reply_to == first.id

    async def test_reply_to_message_of_other_conversation_is_not_found(
        self, container: Container, make: Factory
    ) -> None:
        (ada, bob), eve = await make.friends(), await make.person()
        await make.befriend(ada, eve)
        elsewhere = await make.message(ada, eve)
        await make.message(ada, bob)
        assert await refusal(container, ada, draft_to(bob, reply_to=elsewhere.id)) is MessageNotFound

    @pytest.mark.parametrize("talked", [True, False])
    async def test_reply_to_unknown_message_is_not_found(
        self, container: Container, make: Factory, talked: bool
    ) -> None:
        ada, bob = await make.friends()
        if talked:
            await make.message(ada, bob)
        assert await refusal(container, ada, draft_to(bob, reply_to=UUID(int=7))) is MessageNotFound

    async def test_deleted_message_may_be_answered(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        first = await make.message(ada, bob)
        await container.services.messages.delete(ada.actor, first.id, who="everyone")
        assert (await make.message(bob, ada, reply_to=first.id)).reply_to == first.id


BETWEEN = ("strangers", "they asked", "I asked", "mutual", "I blocked", "they blocked", "both blocked")


class TestPermissionToSend:
    """`messages_from` of the target, and the contact between the two."""

    @pytest.mark.parametrize("between", BETWEEN)
    @pytest.mark.parametrize("privacy", ["everyone", "contacts", "nobody"])
    async def test_privacy_and_contact_state_decide_permission(
        self, container: Container, make: Factory, privacy: Any, between: str
    ) -> None:
        ada, bob = await make.people(2)
        contacts = container.services.contacts
        match between:
            case "they asked":
                await contacts.subscribe(bob.actor, SubscribeDraft(target_id=ada.id))
            case "I asked":
                await contacts.subscribe(ada.actor, SubscribeDraft(target_id=bob.id))
            case "mutual":
                await make.befriend(ada, bob)
            case "I blocked":
                await contacts.block(ada.actor, bob.id)
            case "they blocked":
                await contacts.block(bob.actor, ada.id)
            case "both blocked":
                await contacts.block(ada.actor, bob.id)
                await contacts.block(bob.actor, ada.id)
        patch = ProfilePatch(privacy=PrivacyPatch(messages_from=privacy))
        await container.services.profiles.update(bob.actor, patch)
        allowed = (privacy == "everyone" and "blocked" not in between) or (
            privacy == "contacts" and between == "mutual"
        )
        assert await refusal(container, ada, draft_to(bob)) is (None if allowed else NotAContact)

    async def test_message_to_ended_contact_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        await container.services.contacts.unsubscribe(bob.actor, ada.id)
        assert await refusal(container, ada, draft_to(bob)) is NotAContact

    async def test_own_privacy_does_not_matter(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        patch = ProfilePatch(privacy=PrivacyPatch(messages_from="nobody"))
        await container.services.profiles.update(ada.actor, patch)
        assert await refusal(container, ada, draft_to(bob)) is None
