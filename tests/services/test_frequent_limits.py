"""Rate limits of frequent operations: messages, requests, changes, look-ups."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from datetime import datetime
from itertools import cycle, islice

import pytest

from messenger.actor import Bearer, Caller
from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import MessengerError, NotAContact, RateLimited, Unauthenticated
from messenger.limits import LIMITS, Limit
from messenger.schemas.messages import ConversationPatch, MessageDraft, MessageView, ReceiptDraft
from messenger.schemas.users import ConfirmDraft, PrivacyPatch, ProfilePatch, SubscribeDraft
from messenger.security.tokens import token_hash
from messenger.services._unreadable import Unreadable
from messenger.services.messages import MessageService
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person, StatementLog
from tests.support.tables import rows

ALL, ONE = LIMITS["message"], LIMITS["message_to"]
NOBODY = 10_000_019


def draft(to: int, number: int, body: str = "Hello") -> MessageDraft:
    return MessageDraft(target_id=to, client_id=f"c{number}", body=body)


async def with_friends(make: Factory, count: int) -> tuple[Person, list[Person]]:
    """A user and contacts who have exchanged messages."""
    ada, *friends = await make.people(count + 1)
    for friend in friends:
        await make.befriend(ada, friend)
        await make.message(friend, ada)
    return ada, friends


async def send_to(
    service: MessageService, ada: Person, friends: Sequence[Person], count: int, *, first: int = 0
) -> list[MessageView]:
    """Send messages to these users in turn."""
    return [
        (await service.send(ada.actor, draft(friend.id, first + number)))[0]
        for number, friend in enumerate(islice(cycle(friends), count))
    ]


class TestMessageRate:
    async def test_message_beyond_burst_is_refused_with_retry_after(self, limited: Container, make: Factory) -> None:
        ada, friends = await with_friends(make, 3)
        sends = limited.services.messages
        await send_to(sends, ada, friends, ALL.burst)
        with pytest.raises(RateLimited) as caught:
            await send_to(sends, ada, friends, 1, first=ALL.burst)
        assert caught.value.response_headers == {
            "Retry-After": "1",
            "RateLimit-Policy": f'"message";q={ALL.burst};w={ALL.window}',
            "RateLimit": '"message";r=0;t=1',
        }

    async def test_conversation_has_separate_limit(self, limited: Container, make: Factory) -> None:
        ada, (bob, eve) = await with_friends(make, 2)
        sends = limited.services.messages
        await send_to(sends, ada, [bob], ONE.burst)
        with pytest.raises(RateLimited) as caught:
            await send_to(sends, ada, [bob], 1, first=ONE.burst)
        assert "message_to" in caught.value.response_headers["RateLimit"]
        await send_to(sends, ada, [eve], 1, first=ONE.burst + 1)

    async def test_refused_message_is_not_stored(self, limited: Container, make: Factory) -> None:
        ada, (bob,) = await with_friends(make, 1)
        sent = await send_to(limited.services.messages, ada, [bob], ONE.burst)
        with pytest.raises(RateLimited):
            await send_to(limited.services.messages, ada, [bob], 1, first=ONE.burst)
        history = await limited.services.messages.history(bob.actor, ada.id, before=None, after=None, limit=1)
        assert (history.last_seq, history.items[0].id) == (sent[-1].seq, sent[-1].id)

    async def test_message_rate_refills_with_time(self, limited: Container, make: Factory, clock: FixedClock) -> None:
        ada, (bob,) = await with_friends(make, 1)
        await send_to(limited.services.messages, ada, [bob], ONE.burst)
        clock.advance(seconds=3 * ONE.every)
        await send_to(limited.services.messages, ada, [bob], 3, first=ONE.burst)
        with pytest.raises(RateLimited):
            await send_to(limited.services.messages, ada, [bob], 1, first=ONE.burst + 3)

    async def test_rest_refills_no_more_than_burst(self, limited: Container, make: Factory, clock: FixedClock) -> None:
        ada, (bob,) = await with_friends(make, 1)
        await send_to(limited.services.messages, ada, [bob], 1)
        clock.advance(days=30)
        await send_to(limited.services.messages, ada, [bob], ONE.burst, first=1)
        with pytest.raises(RateLimited):
            await send_to(limited.services.messages, ada, [bob], 1, first=ONE.burst + 1)

    async def test_repeated_message_is_answered_and_not_counted(self, limited: Container, make: Factory) -> None:
        ada, (bob,) = await with_friends(make, 1)
        sends = limited.services.messages
        first = await send_to(sends, ada, [bob], ONE.burst)
        assert await sends.send(ada.actor, draft(bob.id, 0)) == (first[0], False)

    async def test_peer_has_separate_message_rate(self, limited: Container, make: Factory) -> None:
        ada, (bob,) = await with_friends(make, 1)
        await send_to(limited.services.messages, ada, [bob], ONE.burst)
        await limited.services.messages.send(bob.actor, draft(ada.id, 1))

    async def test_workers_share_message_rate(self, limited: Container, make: Factory) -> None:
        ada, (bob,) = await with_friends(make, 1)
        other = MessageService(
            limited.uow, RateLimiter(limited.uow, enabled=True), Unreadable(limited.uow, limited.metrics.unreadable)
        )
        for number in range(ONE.burst):
            await (other if number % 2 else limited.services.messages).send(ada.actor, draft(bob.id, number))
        with pytest.raises(RateLimited):
            await other.send(ada.actor, draft(bob.id, ONE.burst))

    async def test_disabled_limits_refuse_no_message(self, container: Container, make: Factory) -> None:
        ada, (bob,) = await with_friends(make, 1)
        assert len(await send_to(container.services.messages, ada, [bob], ONE.burst + 5)) == ONE.burst + 5

    async def test_starting_many_conversations_is_refused(self, limited: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        opened = PrivacyPatch(messages_from="everyone")
        await limited.services.profiles.update(bob.actor, ProfilePatch(privacy=opened))
        await RateLimiter(limited.uow, enabled=True).hit("conversation", ada.id, cost=LIMITS["conversation"].burst)
        with pytest.raises(RateLimited) as caught:
            await limited.services.messages.send(ada.actor, draft(bob.id, 1))
        assert "conversation" in caught.value.response_headers["RateLimit"]


class TestBatchedMessages:
    """One lane, so that messages that arrive while the first is under way form one batch."""

    @staticmethod
    def service(limited: Container) -> MessageService:
        return MessageService(
            limited.uow,
            RateLimiter(limited.uow, enabled=True),
            Unreadable(limited.uow, limited.metrics.unreadable),
            lanes=1,
        )

    async def test_batch_passes_same_messages_as_single_sends(self, limited: Container, make: Factory) -> None:
        ada, (bob,) = await with_friends(make, 1)
        sends = self.service(limited)
        outcomes = await asyncio.gather(
            *(sends.send(ada.actor, draft(bob.id, number)) for number in range(ONE.burst + 8)), return_exceptions=True
        )
        sent = [outcome[0].seq for outcome in outcomes if isinstance(outcome, tuple)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, RateLimited)]
        assert sorted(sent) == list(range(2, ONE.burst + 2))
        assert len(refused) == 8

    async def test_messages_of_a_batch_add_up(self, limited: Container, make: Factory) -> None:
        ada, (bob,) = await with_friends(make, 1)
        sends = self.service(limited)
        await asyncio.gather(*(sends.send(ada.actor, draft(bob.id, number)) for number in range(ONE.burst)))
        with pytest.raises(RateLimited):
            await sends.send(ada.actor, draft(bob.id, ONE.burst))

    async def test_refused_sender_does_not_affect_other_senders(self, limited: Container, make: Factory) -> None:
        ada, (bob,) = await with_friends(make, 1)
        sends = self.service(limited)
        await send_to(sends, ada, [bob], ONE.burst)
        outcomes = await asyncio.gather(
            *(sends.send(ada.actor, draft(bob.id, ONE.burst + number)) for number in range(3)),
            *(sends.send(bob.actor, draft(ada.id, number)) for number in range(3)),
            return_exceptions=True,
        )
        assert [isinstance(outcome, RateLimited) for outcome in outcomes] == [True] * 3 + [False] * 3

    async def test_messages_of_batch_to_several_users_share_limit_of_account(
        self, limited: Container, make: Factory
    ) -> None:
        ada, friends = await with_friends(make, 3)
        sends = self.service(limited)
        outcomes = await asyncio.gather(
            *(sends.send(ada.actor, draft(friends[number % 3].id, number)) for number in range(ALL.burst + 8)),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, tuple) for outcome in outcomes) == ALL.burst
        assert sum(isinstance(outcome, RateLimited) for outcome in outcomes) == 8

    async def test_batch_counts_messages_for_each_sender_alone(
        self, limited: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, (bob, cem) = await with_friends(make, 2)
        sends, start = self.service(limited), clock.advance(seconds=3600)
        pairs = [(ada, bob), (bob, ada), (ada, bob), (ada, cem), (bob, ada), (ada, cem), (ada, cem), (cem, ada)]
        await asyncio.gather(*(sends.send(one.actor, draft(to.id, n)) for n, (one, to) in enumerate(pairs)))
        assert await counted(limited, start, [ada, bob, cem]) == {
            (ada.id, None): 5, (bob.id, None): 2, (cem.id, None): 1,
            (ada.id, bob.id): 2, (ada.id, cem.id): 3, (bob.id, ada.id): 2, (cem.id, ada.id): 1,
        }  # fmt: skip

    @pytest.mark.parametrize("limit", [ALL, ONE], ids=["account", "conversation"])
    async def test_last_message_within_limit_needs_no_extra_statement(
        self, limited: Container, make: Factory, statements: StatementLog, limit: Limit
    ) -> None:
        ada, (bob, cem, eve) = await with_friends(make, 3)
        sends = self.service(limited)
        # To `eve` in the other case, so that only one limit is nearly used up.
        await send_to(sends, ada, [bob, eve] if limit is ALL else [bob], limit.burst - 2)
        # The messages of the batch do not exceed a limit of one sender, or of one conversation and sender.
        pairs = [(cem, ada), (ada, bob), (bob, ada), (bob, ada), (cem, ada), (cem, ada)]
        if limit is ONE:
            pairs += [(ada, cem), (ada, cem)]
        async with statements.recording() as sent:
            await asyncio.gather(*(sends.send(one.actor, draft(to.id, 500 + n)) for n, (one, to) in enumerate(pairs)))
        assert sum("INSERT INTO messages" in statement for statement in sent) == 2


async def counted(limited: Container, start: datetime, people: Sequence[Person]) -> dict[tuple[int, int | None], int]:
    """The messages that the limits have counted since `start`: by sender, and by sender and recipient."""
    sql = """
        SELECT user_id, NULL AS target_id, sent_until FROM streams WHERE user_id = ANY ($1)
        UNION ALL SELECT user_id, target_id, sent_until FROM members WHERE user_id = ANY ($1)
    """
    return {
        (row["user_id"], row["target_id"]): round(
            (row["sent_until"] - start).total_seconds() / (ALL if row["target_id"] is None else ONE).every
        )
        for row in await rows(limited, sql, [person.id for person in people])
    }


class TestLeases:
    LIMIT = LIMITS["change"]

    async def hit_leased(self, limiter: RateLimiter, caller: Caller, count: int) -> int:
        """How many of the requests passed."""
        passed = 0
        for _ in range(count):
            try:
                await limiter.hit_leased(self.LIMIT.name, caller)
                passed += 1
            except RateLimited:
                return passed
        return passed

    async def test_requests_within_lease_cost_no_statement(
        self, limited: Container, make: Factory, statements: StatementLog
    ) -> None:
        ada = await make.person()
        limiter = RateLimiter(limited.uow, enabled=True)
        async with statements.recording() as sent:
            assert await self.hit_leased(limiter, ada.actor, self.LIMIT.lease) == self.LIMIT.lease
        assert sent == []

    async def test_worker_passes_burst_and_lease(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        most = self.LIMIT.burst + self.LIMIT.lease
        assert await self.hit_leased(RateLimiter(limited.uow, enabled=True), ada.actor, most + 5) == most

    async def test_workers_share_bucket(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        limiters = [RateLimiter(limited.uow, enabled=True) for _ in range(3)]
        passed = [await self.hit_leased(limiter, ada.actor, self.LIMIT.burst * 2) for limiter in limiters]
        assert passed == [self.LIMIT.burst + self.LIMIT.lease, self.LIMIT.lease, self.LIMIT.lease]

    async def test_token_and_socket_of_a_device_share_bucket_and_lease(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        limiter = RateLimiter(limited.uow, enabled=True)
        most = self.LIMIT.burst + self.LIMIT.lease
        assert await self.hit_leased(limiter, Bearer(token_hash(ada.access_token)), most + 5) == most
        assert await self.hit_leased(limiter, ada.actor, 5) == 0

    async def test_refreshed_tokens_of_a_device_share_bucket_and_lease(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        limiter, passed, tokens = RateLimiter(limited.uow, enabled=True), 0, ada
        for _ in range(20):
            caller = Bearer(token_hash(tokens.access_token))
            await limited.services.profiles.get(caller)
            passed += await self.hit_leased(limiter, caller, self.LIMIT.lease - 1)
            tokens = await make.refreshed(tokens)
        assert passed == self.LIMIT.burst + self.LIMIT.lease

    async def test_requests_before_the_first_answer_are_charged_to_the_device(
        self, limited: Container, make: Factory
    ) -> None:
        """All at once: none of them knows yet whose token it is."""
        ada = await make.person()
        limiter = RateLimiter(limited.uow, enabled=True)
        first, second = Bearer(token_hash(ada.access_token)), await make.refreshed(ada)
        assert sum(limiter.try_lease(self.LIMIT.name, first) for _ in range(self.LIMIT.lease)) == self.LIMIT.lease
        limited.uow.known.learn(first.token_hash, ada.actor.device_id)
        third = Bearer(token_hash(second.access_token))
        assert sum(limiter.try_lease(self.LIMIT.name, third) for _ in range(self.LIMIT.lease)) == self.LIMIT.lease
        limited.uow.known.learn(third.token_hash, ada.actor.device_id)
        # A lease was overdrawn: the bucket pays for it before anything passes.
        assert await self.hit_leased(limiter, ada.actor, self.LIMIT.burst * 2) == self.LIMIT.burst - self.LIMIT.lease

    async def test_unknown_token_does_not_use_lease_of_known_device(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        limiter = RateLimiter(limited.uow, enabled=True)
        with pytest.raises(Unauthenticated):
            await self.hit_leased(limiter, Bearer(b"nobody"), self.LIMIT.lease + 1)
        assert await self.hit_leased(limiter, ada.actor, self.LIMIT.lease) == self.LIMIT.lease

    async def test_other_device_has_separate_bucket(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        limiter = RateLimiter(limited.uow, enabled=True)
        await self.hit_leased(limiter, ada.actor, self.LIMIT.burst * 2)
        other = await make.device(ada)
        assert await self.hit_leased(limiter, other.actor, self.LIMIT.burst) == self.LIMIT.burst


class TestLookingForPeople:
    LIMIT = LIMITS["look_up"]

    async def exhaust(self, limited: Container, ada: Person) -> None:
        limiter = RateLimiter(limited.uow, enabled=True)
        for number in range(self.LIMIT.burst):
            await limiter.hit_look_up(ada.actor, f"nobody-{number}")

    async def test_repeated_look_up_of_same_user_counts_once(self, limited: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        await limited.services.profiles.find(ada.actor, target_id=bob.id)
        await self.exhaust_but_one(limited, ada)
        await limited.services.profiles.find(ada.actor, target_id=bob.id)
        with pytest.raises(RateLimited):
            await limited.services.profiles.find(ada.actor, target_id=eve.id)

    async def exhaust_but_one(self, limited: Container, ada: Person) -> None:
        limiter = RateLimiter(limited.uow, enabled=True)
        for number in range(self.LIMIT.burst - 1):
            await limiter.hit_look_up(ada.actor, f"nobody-{number}")

    async def test_look_up_counts_again_after_a_day(self, limited: Container, make: Factory, clock: FixedClock) -> None:
        ada = await make.person()
        await self.exhaust(limited, ada)
        clock.advance(hours=24, seconds=1)
        await self.exhaust(limited, ada)
        with pytest.raises(RateLimited):
            await limited.services.profiles.find(ada.actor, target_id=NOBODY)

    async def test_look_up_of_contacts_and_self_is_not_counted(self, limited: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await self.exhaust(limited, ada)
        for person in (ada, bob):
            assert (await limited.services.profiles.find(ada.actor, target_id=person.id)).id == person.id

    async def test_look_up_of_silent_contact_is_not_counted(self, limited: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        closed = PrivacyPatch(messages_from="nobody", calls_from="nobody")
        await limited.services.profiles.update(bob.actor, ProfilePatch(privacy=closed))
        await self.exhaust(limited, ada)
        history = await limited.services.messages.history(ada.actor, bob.id, before=None, after=None, limit=1)
        assert history.last_seq == 0
        with pytest.raises(NotAContact):
            await limited.services.messages.send(ada.actor, draft(bob.id, 1))
        await limited.services.contacts.block(ada.actor, bob.id)

    @pytest.mark.parametrize("exists", [True, False])
    @pytest.mark.parametrize(
        "way", ["history", "block", "unblock", "unsubscribe", "confirm", "settings", "message", "typing", "calling"]
    )
    async def test_every_request_probing_user_numbers_is_counted(
        self, limited: Container, make: Factory, way: str, exists: bool
    ) -> None:
        ada, bob = await make.people(2)
        closed = PrivacyPatch(messages_from="nobody", calls_from="nobody")
        await limited.services.profiles.update(bob.actor, ProfilePatch(privacy=closed))
        target, services = bob.id if exists else NOBODY, limited.services

        async def attempt() -> None:
            match way:
                case "history":
                    await services.messages.history(ada.actor, target, before=None, after=None, limit=1)
                case "block":
                    await services.contacts.block(ada.actor, target)
                case "unblock":
                    await services.contacts.unblock(ada.actor, target)
                case "unsubscribe":
                    await services.contacts.unsubscribe(ada.actor, target)
                case "confirm":
                    await services.contacts.confirm(ada.actor, ConfirmDraft(target_id=target))
                case "settings":
                    await services.conversations.update(ada.actor, target, ConversationPatch(pinned=True))
                case "message":
                    await services.messages.send(ada.actor, draft(target, 1))
                case "typing":
                    await services.signals.typing_audience(ada.actor, target)
                case "calling":
                    await services.signals.call_audience(ada.actor, target)

        await self.exhaust(limited, ada)
        with pytest.raises(RateLimited) as caught:
            await attempt()
        # The refused attempt changed nothing.
        assert (await limited.services.contacts.list_page(ada.actor, state=None, after=0, limit=1)).items == []
        assert "look_up" in caught.value.response_headers["RateLimit"]


class TestStatementCost:
    """Round trips with limits on; `tests/budgets` lists them without limits."""

    @staticmethod
    async def cost(statements: StatementLog, work: Awaitable[object]) -> int:
        async with statements.recording() as sent:
            with contextlib.suppress(MessengerError):
                await work
        return len(sent)

    async def test_message_costs_single_statement(
        self, limited: Container, make: Factory, statements: StatementLog
    ) -> None:
        ada, (bob,) = await with_friends(make, 1)
        assert await self.cost(statements, limited.services.messages.send(ada.actor, draft(bob.id, 1))) == 1

    async def test_first_message_of_pair_costs_additional_statement(
        self, limited: Container, make: Factory, statements: StatementLog
    ) -> None:
        ada, bob = await make.friends()
        assert await self.cost(statements, limited.services.messages.send(ada.actor, draft(bob.id, 1))) == 4

    async def test_refused_message_costs_single_statement(
        self, limited: Container, make: Factory, statements: StatementLog
    ) -> None:
        ada, (bob,) = await with_friends(make, 1)
        await send_to(limited.services.messages, ada, [bob], ONE.burst)
        assert await self.cost(statements, limited.services.messages.send(ada.actor, draft(bob.id, ONE.burst))) == 1

    async def test_history_of_stranger_costs_four_statements(
        self, limited: Container, make: Factory, statements: StatementLog
    ) -> None:
        ada = await make.person()
        history = limited.services.messages.history(ada.actor, NOBODY, before=None, after=None, limit=1)
        assert await self.cost(statements, history) == 4

    async def test_limits_add_two_statements_to_contact_change(
        self, container: Container, limited: Container, make: Factory, statements: StatementLog
    ) -> None:
        costs = []
        for each in (container, limited):
            ada, bob = await make.friends()
            costs.append(await self.cost(statements, each.services.contacts.unsubscribe(ada.actor, bob.id)))
        assert costs[1] == costs[0] + 2

    async def test_lease_costs_two_statements(
        self, limited: Container, make: Factory, statements: StatementLog
    ) -> None:
        ada = await make.person()
        limiter, limit = RateLimiter(limited.uow, enabled=True), LIMITS["change"]
        for _ in range(limit.lease):
            await limiter.hit_leased(limit.name, ada.actor)
        costs = [await self.cost(statements, limiter.hit_leased(limit.name, ada.actor)) for _ in range(limit.lease + 1)]
        assert costs == [2, *[0] * (limit.lease - 1), 2]


async def test_receipts_and_edits_count_as_changes(limited: Container, make: Factory) -> None:
    ada, (bob,) = await with_friends(make, 1)
    limit = LIMITS["change"]
    for _ in range(limit.burst + limit.lease):
        await limited.services.conversations.receipt(ada.actor, ReceiptDraft(target_id=bob.id, read_seq=1))
    with pytest.raises(RateLimited):
        await limited.services.conversations.receipt(ada.actor, ReceiptDraft(target_id=bob.id, read_seq=1))


async def test_contact_requests_to_known_and_unknown_targets_share_limit(limited: Container, make: Factory) -> None:
    """Requests have a limit of their own, whatever their target."""
    ada, bob = await make.people(2)
    await RateLimiter(limited.uow, enabled=True).hit("subscribe", ada.id, cost=LIMITS["subscribe"].burst)
    for target in (bob.id, NOBODY):
        with pytest.raises(RateLimited):
            await limited.services.contacts.subscribe(ada.actor, SubscribeDraft(target_id=target))


class TestFastClock:
    @pytest.mark.parametrize("together", [False, True], ids=["alone", "in a batch"])
    async def test_sender_is_not_silenced_after_clock_was_ahead(
        self, limited: Container, make: Factory, clock: FixedClock, together: bool
    ) -> None:
        ada, (bob, eve) = await with_friends(make, 2)
        clock.advance(hours=1)
        await send_to(limited.services.messages, ada, [bob], 1)
        clock.advance(hours=-1)
        sends = MessageService(
            limited.uow,
            RateLimiter(limited.uow, enabled=True),
            Unreadable(limited.uow, limited.metrics.unreadable),
            lanes=1,
        )
        drafts = [draft(to.id, number) for number, to in enumerate((eve, bob, eve, bob)[: 4 if together else 1], 1)]
        results = await asyncio.gather(*(sends.send(ada.actor, each) for each in drafts))
        assert all(created for _, created in results)
        # From here on the limit counts as usual.
        await send_to(sends, ada, [bob, eve], ALL.burst - len(drafts), first=100)
        with pytest.raises(RateLimited):
            await send_to(sends, ada, [bob, eve], 1, first=1000)

    async def test_simultaneous_messages_are_counted_exactly(self, limited: Container, make: Factory) -> None:
        ada, (bob,) = await with_friends(make, 1)
        several = [
            MessageService(
                limited.uow, RateLimiter(limited.uow, enabled=True), Unreadable(limited.uow, limited.metrics.unreadable)
            )
            for _ in range(4)
        ]
        answers = await asyncio.gather(
            *(several[n % 4].send(ada.actor, draft(bob.id, n)) for n in range(2 * ONE.burst)), return_exceptions=True
        )
        assert sum(isinstance(answer, tuple) for answer in answers) == ONE.burst
