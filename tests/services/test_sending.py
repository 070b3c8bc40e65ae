"""Sending: one message per `client_id`, a `seq` without gaps, and events in the same transaction."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from messenger.clock import FixedClock, new_id
from messenger.container import Container
from messenger.errors import (
    ClientIdReused,
    MessageTooLarge,
    Unauthenticated,
)
from messenger.events import WakeUp
from messenger.schemas.messages import ConversationPatch, MessageDraft, MessagePatch, MessageView
from messenger.schemas.types import timestamp
from messenger.testing import Factory, Person
from tests.services._messages import draft_to, refusal
from tests.support.tables import rows


async def history(container: Container, person: Person, peer: Person) -> list[MessageView]:
    page = await container.services.messages.history(person.actor, peer.id, before=None, after=None, limit=500)
    return page.items


async def events_of(container: Container, person: Person) -> list[dict[str, Any]]:
    sql = "SELECT position, name, subject FROM events WHERE user_id = $1 AND name LIKE 'message.%' ORDER BY position"
    return await rows(container, sql, person.id)


async def state_of(container: Container, *people: Person) -> list[dict[str, Any]]:
    """Everything that sending could change: streams, and the conversations of these users."""
    sql = """
        SELECT s.user_id, s.position, m.target_id, m.read_seq, c.last_seq, c.last_at,
            (SELECT count(*) FROM messages AS x WHERE x.conversation_id = c.id) AS messages
        FROM streams AS s LEFT JOIN members AS m USING (user_id)
            LEFT JOIN conversations AS c ON c.id = m.conversation_id
        WHERE s.user_id = ANY ($1) ORDER BY 1, 3
    """
    return await rows(container, sql, [person.id for person in people])


class TestSendMessage:
    async def test_first_message_has_seq_1(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada, bob = await make.friends()
        view, created = await container.services.messages.send(ada.actor, draft_to(bob))
        assert created
        assert (view.seq, view.client_id, view.body, view.kind) == (1, "one", "Hello", "text")
        assert (view.sender_id, view.sender_device_id, view.target_id) == (ada.id, ada.actor.device_id, bob.id)
        assert view.created_at == timestamp(clock.now())
        assert (view.edited_at, view.deleted_at, view.expires_at) == (None, None, None)

    async def test_answer_equals_message_read_back(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        first = await make.message(ada, bob)
        more: dict[str, Any] = {"reply_to": first.id, "mentions": [bob.id, ada.id]}
        view, _ = await container.services.messages.send(ada.actor, draft_to(bob, body="Ж ☂ \u0001", **more))
        assert view == await container.services.messages.get(ada.actor, view.id)
        assert (view.reply_to, view.mentions) == tuple(more.values())

    async def test_reader_sees_the_sender_as_target(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        sent = await make.message(ada, bob)
        read = await container.services.messages.get(bob.actor, sent.id)
        assert (read.target_id, read.sender_id, read.id, read.body) == (ada.id, ada.id, sent.id, "Hello")

    async def test_both_sides_share_seq(self, make: Factory) -> None:
        ada, bob = await make.friends()
        sent = [await make.message(*pair) for pair in ((ada, bob), (bob, ada), (ada, bob))]
        assert [view.seq for view in sent] == [1, 2, 3]

    async def test_each_conversation_has_separate_seq(self, make: Factory) -> None:
        (ada, bob), eve = await make.friends(), await make.person()
        await make.befriend(ada, eve)
        await make.message(ada, bob)
        assert (await make.message(ada, eve)).seq == 1

    async def test_signed_out_device_cannot_send(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await container.services.devices.logout(ada.actor)
        assert await refusal(container, ada, draft_to(bob)) is Unauthenticated

    async def test_body_of_64_kib_is_accepted(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        body = "ж" * 32_768
        assert (await make.message(ada, bob, body)).body == body
        assert (await history(container, bob, ada))[0].body == body

    @pytest.mark.parametrize("body", ["a" * 65_537, "ж" * 32_768 + "a"], ids=["ascii", "two bytes each"])
    async def test_body_above_64_kib_is_too_large(self, container: Container, make: Factory, body: str) -> None:
        ada, bob = await make.friends()
        assert await refusal(container, ada, draft_to(bob, body=body)) is MessageTooLarge


class TestMessageTime:
    async def test_message_time_never_goes_back(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada, bob = await make.friends()
        first = await make.message(ada, bob)
        clock.advance(hours=-1)
        second = await make.message(bob, ada)
        clock.advance(hours=2)
        third = await make.message(ada, bob)
        assert first.created_at == second.created_at < third.created_at

    async def test_expiry_uses_message_time(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        sql = "UPDATE conversations SET expire_after = 60 WHERE low_id = $1 RETURNING id"
        await rows(container, sql, min(ada.id, bob.id))
        view = await make.message(bob, ada)
        assert view.expires_at == timestamp(clock.now() + timedelta(seconds=60))

    async def test_expiry_uses_clock_after_clock_was_set_back(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        clock.advance(hours=-1)
        view = await make.message(bob, ada)
        assert view.expires_at == timestamp(clock.now() + timedelta(seconds=60))


class TestRepeatedSend:
    async def test_repeated_client_id_returns_the_first_message(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        first, _ = await container.services.messages.send(ada.actor, draft_to(bob))
        assert await container.services.messages.send(ada.actor, draft_to(bob)) == (first, False)

    async def test_repeated_send_changes_and_announces_no_message(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.friends()
        await container.services.messages.send(ada.actor, draft_to(bob))
        before, announced = await state_of(container, ada, bob), len(published)
        await container.services.messages.send(ada.actor, draft_to(bob))
        assert await state_of(container, ada, bob) == before
        assert len(published) == announced

    async def test_repeated_send_from_other_device_returns_first_message(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.friends()
        phone = await make.device(ada)
        first, _ = await container.services.messages.send(ada.actor, draft_to(bob))
        assert await container.services.messages.send(phone.actor, draft_to(bob)) == (first, False)

    async def test_repeated_send_after_edit_returns_edited_message(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        messages = container.services.messages
        first, _ = await messages.send(ada.actor, draft_to(bob))
        edited = await messages.edit(ada.actor, first.id, MessagePatch(body="Changed"))
        assert await messages.send(ada.actor, draft_to(bob)) == (edited, False)
        assert await refusal(container, ada, draft_to(bob, body="Changed")) is ClientIdReused

    async def test_repeated_send_after_deletion_returns_empty_message(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.friends()
        first, _ = await container.services.messages.send(ada.actor, draft_to(bob))
        await container.services.messages.delete(ada.actor, first.id, who="everyone")
        again, created = await container.services.messages.send(ada.actor, draft_to(bob))
        assert (again.id, again.seq, again.body, created) == (first.id, 1, None, False)

    @pytest.mark.parametrize("end", ["unsubscribe", "block", "blocked", "erased"])
    async def test_repeated_send_after_contact_ended_returns_first_message(
        self, container: Container, make: Factory, end: str
    ) -> None:
        ada, bob = await make.friends()
        first, _ = await container.services.messages.send(ada.actor, draft_to(bob))
        match end:
            case "unsubscribe":
                await container.services.contacts.unsubscribe(bob.actor, ada.id)
            case "block":
                await container.services.contacts.block(ada.actor, bob.id)
            case "blocked":
                await container.services.contacts.block(bob.actor, ada.id)
            case "erased":
                await container.services.accounts.erase(bob.actor, bob.password)
        assert await container.services.messages.send(ada.actor, draft_to(bob)) == (first, False)

    async def test_repeated_send_years_later_returns_first_message(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        first, _ = await container.services.messages.send(ada.actor, draft_to(bob))
        clock.advance(days=3650)
        assert await container.services.messages.send(ada.actor, draft_to(bob)) == (first, False)

    @pytest.mark.parametrize("other", ["body", "reply_to", "mentions", "target"])
    async def test_repeated_send_with_different_content_is_refused(
        self, container: Container, make: Factory, other: str
    ) -> None:
        (ada, bob), eve = await make.friends(), await make.person()
        await make.befriend(ada, eve)
        first, _ = await container.services.messages.send(ada.actor, draft_to(bob))
        changed = {
            "body": draft_to(bob, body="Hello!"),
            "reply_to": draft_to(bob, reply_to=first.id),
            "mentions": draft_to(bob, mentions=[bob.id]),
            "target": draft_to(eve),
        }[other]
        before = await state_of(container, ada, bob, eve)
        assert await refusal(container, ada, changed) is ClientIdReused
        assert await state_of(container, ada, bob, eve) == before

    async def test_client_ids_are_scoped_to_sender(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        mine, _ = await container.services.messages.send(ada.actor, draft_to(bob))
        theirs, created = await container.services.messages.send(bob.actor, draft_to(ada))
        assert created
        assert mine.id != theirs.id

    async def test_client_id_is_case_sensitive(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await container.services.messages.send(ada.actor, draft_to(bob, "a"))
        assert (await container.services.messages.send(ada.actor, draft_to(bob, "A")))[1]


class TestConcurrentSends:
    async def test_concurrent_senders_of_both_sides_leave_no_gap(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        dice = random.Random(20_261_122)
        senders = [(ada, bob, f"a{n}") for n in range(25)] + [(bob, ada, f"b{n}") for n in range(25)]
        requests = [each for each in senders for _ in range(dice.randint(1, 5))]
        dice.shuffle(requests)
        answers = await asyncio.gather(
            *(container.services.messages.send(one.actor, draft_to(other, name)) for one, other, name in requests)
        )
        first = {(view.sender_id, view.client_id): view for view, created in answers if created}
        assert len(first) == 50 == sum(created for _, created in answers)
        assert all(view == first[view.sender_id, view.client_id] for view, _ in answers)
        seen, theirs = await history(container, ada, bob), await history(container, bob, ada)
        assert [view.seq for view in seen] == list(range(1, 51))
        assert [(view.seq, view.id) for view in seen] == [(view.seq, view.id) for view in theirs]
        assert {view.id for view in seen} == {view.id for view in first.values()}

    async def test_streams_contain_each_message_once_in_order(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        pairs = [(ada, bob), (bob, ada)] * 20
        await asyncio.gather(*(make.message(one, other) for one, other in pairs))
        order = [view.id for view in await history(container, ada, bob)]
        for person in (ada, bob):
            events = await events_of(container, person)
            assert [event["subject"] for event in events] == order
            assert [event["position"] for event in events] == list(
                range(events[0]["position"], events[0]["position"] + 40)
            )

    async def test_concurrent_first_messages_open_single_conversation(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.friends()
        sent = await asyncio.gather(*(make.message(*pair) for pair in [(ada, bob), (bob, ada)] * 5))
        assert sorted(view.seq for view in sent) == list(range(1, 11))

    async def test_each_member_s_list_is_in_the_order_of_the_conversations(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.friends()
        _, cem = await make.friends()
        await make.befriend(ada, cem)
        pairs = [(ada, bob), (bob, ada), (cem, ada), (ada, cem)] * 10
        await asyncio.gather(*(make.message(one, other) for one, other in pairs))
        apart = (
            "SELECT FROM members AS m JOIN conversations AS c ON c.id = m.conversation_id"
            " WHERE m.user_id = ANY ($1) AND c.last_seq > 0"
            " AND m.last_minute IS DISTINCT FROM date_trunc('minute', c.last_at)"
        )
        assert await rows(container, apart, [ada.id, bob.id, cem.id]) == []


class TestMessageEvents:
    async def test_events_of_both_sides_are_written_in_same_transaction(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.friends()
        view = await make.message(ada, bob)
        sql = """
            SELECT e.user_id, e.name, e.subject, e.payload, e.xmin = m.xmin AS together
            FROM events AS e JOIN messages AS m ON m.id = e.subject WHERE m.id = $1 ORDER BY e.user_id
        """
        announced = {"name": "message.created", "subject": view.id, "payload": None, "together": True}
        assert await rows(container, sql, view.id) == [{"user_id": id, **announced} for id in sorted([ada.id, bob.id])]

    async def test_both_sides_are_notified_of_message(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.friends()
        published.clear()
        await make.message(ada, bob)
        positions = {each["user_id"]: each["position"] for each in await state_of(container, ada, bob)}
        assert sorted((news.user_id, news.position, news.name) for news in published) == [
            (user, position, "message.created") for user, position in sorted(positions.items())
        ]

    async def test_announced_event_equals_stream_event(
        self, container: Container, make: Factory, published: list[WakeUp], clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        first = await make.message(bob, ada)
        clock.advance(seconds=1)
        published.clear()
        await make.message(ada, bob, "Ж ☂", reply_to=first.id, mentions=[bob.id])
        news = {each.user_id: each for each in published}
        for person in (ada, bob):
            page = await container.services.sync.sync(person.actor, cursor="e0", limit=200)
            said, frame = news[person.id], page.events[-1]
            assert (frame.event, frame.cursor) == (said.name, f"e{said.position}")
            assert (frame.at, frame.data) == (said.at, said.data)

    @pytest.mark.parametrize("why", ["stranger", "misplaced", "too large", "unknown", "self"])
    async def test_refused_message_notifies_no_user(
        self, container: Container, make: Factory, published: list[WakeUp], why: str
    ) -> None:
        (ada, bob), eve = await make.friends(), await make.person()
        await make.message(ada, bob)
        before, announced = await state_of(container, ada, bob, eve), len(published)
        refused = {
            "stranger": draft_to(eve),
            "misplaced": draft_to(bob, reply_to=new_id()),
            "too large": draft_to(bob, body="a" * 65_537),
            "unknown": MessageDraft(target_id=7, client_id="one", body="Hello"),
            "self": draft_to(ada),
        }[why]
        assert await refusal(container, ada, refused) is not None
        assert await state_of(container, ada, bob, eve) == before
        assert len(published) == announced
