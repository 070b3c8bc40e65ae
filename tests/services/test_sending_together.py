"""Messages that share a statement: each is sent or refused as it would be alone, and `seq` has no gaps."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from messenger.actor import Actor, Bearer, Caller
from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import (
    CannotTargetSelf,
    ClientIdReused,
    MessageNotFound,
    MessengerError,
    NotAContact,
    PeerNotFound,
    Unauthenticated,
)
from messenger.events import WakeUp
from messenger.schemas.messages import ConversationPatch, MessageDraft, MessageView
from messenger.schemas.realtime import require_place
from messenger.security.tokens import token_hash
from messenger.services._unreadable import Unreadable
from messenger.services.messages import MessageService
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person, StatementLog


@pytest.fixture
def sends(container: Container) -> MessageService:
    """One lane: messages that arrive while the first is under way are sent together."""
    return MessageService(
        container.uow,
        RateLimiter(container.uow, enabled=False),
        Unreadable(container.uow, container.metrics.unreadable),
        lanes=1,
    )


def draft(to: int, client_id: str, body: str = "Hello", **more: Any) -> MessageDraft:
    return MessageDraft(target_id=to, client_id=client_id, body=body, **more)


async def together(
    sends: MessageService, first: tuple[Caller, MessageDraft], *others: tuple[Caller, MessageDraft]
) -> list[MessageView | Exception]:
    """The outcomes of the messages that arrived while the first was being sent."""
    sent = await asyncio.gather(
        *(sends.send(caller, message) for caller, message in (first, *others)), return_exceptions=True
    )
    assert not isinstance(sent[0], BaseException)
    results: list[MessageView | Exception] = []
    for each in sent[1:]:
        assert not isinstance(each, asyncio.CancelledError)
        results.append(each if isinstance(each, Exception) else each[0])  # type: ignore[index]
    return results


def bearer(person: Person) -> Bearer:
    return Bearer(token_hash(person.access_token))


async def stream(container: Container, person: Person) -> list[tuple[int, str, int]]:
    """Position, name and `seq` of the messages in a user's stream."""
    page = await container.services.sync.sync(person.actor, cursor="e0", limit=200)
    return [
        (require_place(event.cursor).position, event.event, event.data.seq)
        for event in page.events
        if isinstance(event.data, MessageView)
    ]


async def texts(container: Container, person: Person, peer: Person) -> list[str | None]:
    """The texts of a conversation as one of its members reads it."""
    history = await container.services.messages.history(person.actor, peer.id, before=None, after=None, limit=50)
    return [message.body for message in history.items]


class TestBatchSent:
    @pytest.mark.parametrize("kind", ["token", "device"])
    async def test_batch_is_single_statement(
        self, sends: MessageService, make: Factory, statements: StatementLog, kind: str
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        caller: Caller = bearer(ada) if kind == "token" else ada.actor
        async with statements.recording() as sent:
            views = await together(
                sends, (caller, draft(bob.id, "0")), *((caller, draft(bob.id, str(n))) for n in (1, 2, 3))
            )
        assert sum("INSERT INTO messages" in statement for statement in sent) == 2
        assert [view.seq for view in views if isinstance(view, MessageView)] == [3, 4, 5]

    async def test_batched_message_equals_message_sent_alone(
        self, sends: MessageService, make: Factory, container: Container
    ) -> None:
        ada, bob = await make.friends()
        first = await make.message(ada, bob)
        more = {"reply_to": first.id, "mentions": [bob.id, ada.id]}
        views = await together(
            sends,
            (ada.actor, draft(bob.id, "0")),
            (ada.actor, draft(bob.id, "1", "“Ä” {1,2} \\ 🎈", **more)),
            (bob.actor, draft(ada.id, "2")),
        )
        for view, sender in zip(views, (ada, bob), strict=True):
            assert isinstance(view, MessageView)
            assert await container.services.messages.get(sender.actor, view.id) == view

    async def test_numbers_have_no_gap_in_any_conversation_or_stream(
        self, sends: MessageService, make: Factory, container: Container
    ) -> None:
        people = await make.people(4)
        for one in people:
            for other in people:
                if one.id < other.id:
                    await make.befriend(one, other)
                    await make.message(one, other)
        asked = [
            (one.actor, draft(other.id, f"{round_}-{other.id}"))
            for round_ in range(5)
            for one in people
            for other in people
            if one is not other
        ]
        views = await together(sends, asked[0], *asked[1:])
        assert all(isinstance(view, MessageView) for view in views)
        for one in people:
            received = await stream(container, one)
            assert len(received) == 3 + 5 * 6
            page = await container.services.sync.sync(one.actor, cursor="e0", limit=200)
            positions = [require_place(event.cursor).position for event in page.events]
            assert positions == list(range(1, len(positions) + 1))
            for other in people:
                if other is not one:
                    history = await container.services.messages.history(
                        one.actor, other.id, before=None, after=None, limit=50
                    )
                    assert [message.seq for message in history.items] == list(range(1, 12))

    async def test_stream_order_matches_conversation_order(
        self, sends: MessageService, make: Factory, container: Container
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        await together(sends, *(((ada, bob)[n % 2].actor, draft((bob, ada)[n % 2].id, str(n))) for n in range(9)))
        for one in (ada, bob):
            assert [seq for _, _, seq in await stream(container, one)] == list(range(1, 11))

    async def test_sender_has_read_up_to_own_last_message(
        self, sends: MessageService, make: Factory, container: Container
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        await together(
            sends, (ada.actor, draft(bob.id, "0")), (ada.actor, draft(bob.id, "1")), (bob.actor, draft(ada.id, "2"))
        )
        hers = (await container.services.conversations.list_page(ada.actor, cursor=None, limit=1)).items[0]
        his = (await container.services.conversations.list_page(bob.actor, cursor=None, limit=1)).items[0]
        assert (hers.read_seq, hers.unread, his.read_seq, his.unread) == (3, 1, 4, 0)

    async def test_batched_messages_expire_by_conversation_setting(
        self, sends: MessageService, make: Factory, container: Container
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        views = await together(
            sends, (ada.actor, draft(bob.id, "0")), (ada.actor, draft(bob.id, "1")), (bob.actor, draft(ada.id, "2"))
        )
        assert all(isinstance(view, MessageView) and view.expires_at for view in views)

    async def test_both_sides_are_notified_with_positions(
        self, sends: MessageService, make: Factory, container: Container, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        published.clear()
        views = await together(
            sends, (ada.actor, draft(bob.id, "0")), (ada.actor, draft(bob.id, "1")), (ada.actor, draft(bob.id, "2"))
        )
        received = [(news.user_id, news.position) for news in published]
        expected = [
            (person.id, position)
            for person in (ada, bob)
            for position, _, seq in await stream(container, person)
            if seq > 1
        ]
        assert sorted(received) == sorted(expected)
        assert {news.data.id for news in published if isinstance(news.data, MessageView)} >= {
            view.id for view in views if isinstance(view, MessageView)
        }

    async def test_each_sender_is_stamped(
        self, sends: MessageService, make: Factory, container: Container, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        now = clock.advance(seconds=60)
        await together(
            sends, (ada.actor, draft(bob.id, "0")), (ada.actor, draft(bob.id, "1")), (bob.actor, draft(ada.id, "2"))
        )
        for person in (ada, bob):
            async with container.engine.connect() as connection:
                at = await connection.exec_driver_sql(f"SELECT last_activity FROM users WHERE id = {person.id}")
                assert at.scalar() == now


class TestBatchRefusals:
    async def test_each_refusal_affects_only_own_message(
        self, sends: MessageService, make: Factory, container: Container
    ) -> None:
        ada, bob, eve = await make.people(3)
        await make.befriend(ada, bob)
        await make.message(ada, bob, client_id="earlier")
        await make.befriend(ada, eve)
        elsewhere = await make.message(ada, eve)
        await container.services.contacts.block(eve.actor, ada.id)
        results = await together(
            sends,
            (ada.actor, draft(bob.id, "0")),
            (ada.actor, draft(bob.id, "1")),
            (ada.actor, draft(2**40, "2")),
            (ada.actor, draft(ada.id, "3")),
            (ada.actor, draft(eve.id, "4")),
            (ada.actor, draft(bob.id, "5", reply_to=elsewhere.id)),
            (ada.actor, draft(bob.id, "earlier", "Hello")),
            (ada.actor, draft(bob.id, "earlier", "Something else")),
            (Actor(ada.id, uuid4()), draft(bob.id, "6")),
            (bob.actor, draft(ada.id, "7")),
        )
        kinds = [type(result) for result in results]
        assert kinds == [
            MessageView,
            PeerNotFound,
            CannotTargetSelf,
            NotAContact,
            MessageNotFound,
            MessageView,
            ClientIdReused,
            Unauthenticated,
            MessageView,
        ]
        seqs = [result.seq for result in results if isinstance(result, MessageView)]
        assert seqs == [3, 1, 4]

    async def test_unknown_token_refuses_only_own_message(self, sends: MessageService, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        nobody = Bearer(token_hash("nobody"))
        results = await together(
            sends, (bearer(ada), draft(bob.id, "0")), (nobody, draft(bob.id, "1")), (bearer(ada), draft(bob.id, "2"))
        )
        assert isinstance(results[0], Unauthenticated)
        assert isinstance(results[1], MessageView)

    async def test_expired_token_refuses_only_own_message(
        self, sends: MessageService, make: Factory, container: Container, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        clock.advance(seconds=container.settings.access_token_ttl + 1)
        later = await make.device(ada)
        results = await together(
            sends,
            (bearer(later), draft(bob.id, "0")),
            (bearer(ada), draft(bob.id, "1")),
            (bearer(later), draft(bob.id, "2")),
        )
        assert isinstance(results[0], Unauthenticated)
        assert isinstance(results[1], MessageView)
        assert await texts(container, bob, ada) == ["Hello"] * 3

    async def test_message_to_a_blocker_is_not_written(
        self, sends: MessageService, make: Factory, container: Container
    ) -> None:
        ada, bob, eve = await make.people(3)
        for other in (bob, eve):
            await make.befriend(ada, other)
            await make.message(ada, other)
        await container.services.contacts.block(eve.actor, ada.id)
        before = await stream(container, eve)
        results = await together(
            sends,
            (ada.actor, draft(bob.id, "0")),
            (ada.actor, draft(eve.id, "1", "Let me in")),
            (ada.actor, draft(bob.id, "2")),
        )
        assert isinstance(results[0], NotAContact)
        assert await texts(container, eve, ada) == ["Hello"]
        assert await texts(container, ada, eve) == ["Hello"]
        assert await stream(container, eve) == before

    async def test_rest_of_batch_is_created_and_announced(
        self, sends: MessageService, make: Factory, container: Container, published: list[WakeUp]
    ) -> None:
        ada, bob, eve = await make.people(3)
        for other in (bob, eve):
            await make.befriend(ada, other)
            await make.message(ada, other)
        await container.services.contacts.block(eve.actor, ada.id)
        published.clear()
        answers = await asyncio.gather(
            *(sends.send(ada.actor, draft(to.id, str(n))) for n, to in enumerate((bob, eve, bob, bob))),
            return_exceptions=True,
        )
        created = [answer[1] for answer in answers if isinstance(answer, tuple)]
        assert created == [True, True, True]
        assert [news.user_id for news in published].count(bob.id) == 3

    async def test_first_message_of_pair_is_sent_within_batch(self, sends: MessageService, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        for other in (bob, eve):
            await make.befriend(ada, other)
        await make.message(ada, bob)
        results = await together(
            sends, (ada.actor, draft(bob.id, "0")), (ada.actor, draft(eve.id, "1")), (ada.actor, draft(bob.id, "2"))
        )
        assert [result.seq for result in results if isinstance(result, MessageView)] == [1, 3]


class TestBatchRepetitions:
    async def test_repeated_message_leaves_batch_complete(
        self, sends: MessageService, make: Factory, statements: StatementLog
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        others = [(bob.actor, draft(ada.id, str(n))) for n in range(6)]
        again = (ada.actor, draft(bob.id, "again"))
        async with statements.recording() as sent:
            results = await together(sends, (ada.actor, draft(bob.id, "0")), again, *others, again)
        assert [result.seq for result in results if isinstance(result, MessageView)] == [3, 4, 5, 6, 7, 8, 9, 3]
        # The first, the batch, and the repetition with the message that it finds.
        assert sum("INSERT INTO messages" in statement for statement in sent) == 3

    async def test_repeated_message_with_different_text_is_refused(self, sends: MessageService, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        results = await together(
            sends,
            (ada.actor, draft(bob.id, "0")),
            (ada.actor, draft(bob.id, "again", "One")),
            (ada.actor, draft(bob.id, "again", "Two")),
        )
        assert isinstance(results[0], MessageView)
        assert isinstance(results[1], ClientIdReused)

    async def test_repeated_message_in_batch_is_sent_once(
        self, sends: MessageService, make: Factory, container: Container
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        again = (ada.actor, draft(bob.id, "again"))
        results = await together(
            sends, (ada.actor, draft(bob.id, "0")), *[again] * 8, (bob.actor, draft(ada.id, "other"))
        )
        assert len({result.id for result in results[:-1] if isinstance(result, MessageView)}) == 1
        assert isinstance(results[-1], MessageView)
        history = await container.services.messages.history(ada.actor, bob.id, before=None, after=None, limit=50)
        assert [message.seq for message in history.items] == [1, 2, 3, 4]

    async def test_many_senders_over_many_lanes_do_not_deadlock(self, container: Container, make: Factory) -> None:
        """Batches, messages sent alone and receipts over the same rows wait in one order, without deadlocks."""
        people = await make.people(4)
        for one in people:
            for other in people:
                if one.id < other.id:
                    await make.befriend(one, other)
                    await make.message(one, other)
        services = [
            MessageService(
                container.uow,
                RateLimiter(container.uow, enabled=False),
                Unreadable(container.uow, container.metrics.unreadable),
                lanes=1,
            )
            for _ in range(3)
        ]
        asked = [
            services[n % 3].send(people[n % 4].actor, draft(people[(n + 1 + n // 4 % 3) % 4].id, f"n{n}"))
            for n in range(120)
        ]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert [result for result in results if isinstance(result, BaseException)] == []
        assert not [error for error in results if isinstance(error, MessengerError)]
        for one in people:
            page = await container.services.sync.sync(one.actor, cursor="e0", limit=200)
            positions = [require_place(event.cursor).position for event in page.events]
            assert positions == list(range(1, len(positions) + 1))
