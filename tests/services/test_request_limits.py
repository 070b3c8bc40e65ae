"""Limits of contact requests, by sender and by receiver."""

from __future__ import annotations

import pytest

from messenger.actor import Actor
from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import RateLimited
from messenger.limits import LIMITS
from messenger.schemas.users import SubscribeDraft
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person, StatementLog
from tests.support.tables import rows


async def ask(container: Container, actor: Actor, asked: Person) -> None:
    await container.services.contacts.subscribe(actor, SubscribeDraft(target_id=asked.id))


class TestSubscribeLimits:
    async def test_received_requests_are_limited_per_account(self, limited: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        await RateLimiter(limited.uow, enabled=True).hit(
            "subscribed_to", bob.id, cost=LIMITS["subscribed_to"].burst - 1
        )
        await ask(limited, eve.actor, bob)
        with pytest.raises(RateLimited) as caught:
            await ask(limited, ada.actor, bob)
        assert caught.value.response_headers["RateLimit-Policy"].startswith('"subscribed_to"')

    async def test_repeated_request_does_not_use_limit_of_receiver(self, limited: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        for _ in range(LIMITS["subscribed_to"].burst + 1):
            await ask(limited, eve.actor, bob)
        await ask(limited, ada.actor, bob)

    async def test_requester_counts_once_a_day(self, limited: Container, make: Factory, clock: FixedClock) -> None:
        ada, bob, eve = await make.people(3)
        await RateLimiter(limited.uow, enabled=True).hit(
            "subscribed_to", bob.id, cost=LIMITS["subscribed_to"].burst - 2
        )
        for _ in range(5):
            await ask(limited, eve.actor, bob)
            await limited.services.contacts.unsubscribe(eve.actor, bob.id)
        await ask(limited, ada.actor, bob)
        clock.advance(days=1)
        await RateLimiter(limited.uow, enabled=True).hit("subscribed_to", bob.id, cost=LIMITS["subscribed_to"].burst)
        with pytest.raises(RateLimited):
            await ask(limited, eve.actor, bob)

    async def test_blocked_requester_does_not_use_limit_of_receiver(self, limited: Container, make: Factory) -> None:
        ada, bob, stalker = await make.people(3)
        await RateLimiter(limited.uow, enabled=True).hit(
            "subscribed_to", bob.id, cost=LIMITS["subscribed_to"].burst - 1
        )
        await limited.services.contacts.block(bob.actor, stalker.id)
        await ask(limited, stalker.actor, bob)
        await limited.services.contacts.unsubscribe(stalker.actor, bob.id)
        await ask(limited, ada.actor, bob)

    async def test_blocked_requester_is_refused_like_strangers(
        self, limited: Container, make: Factory, statements: StatementLog
    ) -> None:
        """Otherwise a refusal of everyone but oneself would reveal the block, and so would an additional statement."""
        bob, stranger, stalker = await make.people(3)
        await limited.services.contacts.block(bob.actor, stalker.id)
        await RateLimiter(limited.uow, enabled=True).hit("subscribed_to", bob.id, cost=LIMITS["subscribed_to"].burst)
        asked = []
        for asker in (stranger, stalker):
            async with statements.recording() as sent:
                with pytest.raises(RateLimited) as caught:
                    await ask(limited, asker.actor, bob)
            asked.append((caught.value.response_headers, sent))
        assert asked[0] == asked[1]

    async def test_sent_requests_are_limited_per_account(self, limited: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await RateLimiter(limited.uow, enabled=True).hit("subscribe", ada.id, cost=LIMITS["subscribe"].burst)
        with pytest.raises(RateLimited) as caught:
            await ask(limited, ada.actor, bob)
        assert caught.value.response_headers["RateLimit-Policy"].startswith('"subscribe"')

    async def test_refused_request_creates_no_contact(self, limited: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await RateLimiter(limited.uow, enabled=True).hit("subscribed_to", bob.id, cost=LIMITS["subscribed_to"].burst)
        with pytest.raises(RateLimited):
            await ask(limited, ada.actor, bob)
        assert await rows(limited, "SELECT state FROM contacts WHERE owner_id = $1", bob.id) == []
