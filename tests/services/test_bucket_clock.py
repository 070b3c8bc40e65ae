"""Token buckets after the database's clock was set ahead and back again."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import RateLimited
from messenger.limits import LIMITS
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory

LIMIT = LIMITS["export"]
JUMPS = {"an hour": timedelta(hours=1), "a hundred days": timedelta(days=100)}


@pytest.fixture
def limiter(limited: Container) -> RateLimiter:
    return RateLimiter(limited.uow, enabled=True)


@pytest.fixture
def subject() -> str:
    return secrets.token_hex(8)


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
class TestClockSetBack:
    async def test_bucket_of_the_future_is_full(
        self, limiter: RateLimiter, clock: FixedClock, subject: str, jump: timedelta
    ) -> None:
        right = clock.now()
        clock.advance(seconds=jump.total_seconds())
        await limiter.hit(LIMIT.name, subject, cost=LIMIT.burst)
        clock.set(right)
        await limiter.hit(LIMIT.name, subject, cost=LIMIT.burst)

    async def test_bucket_empties_and_refills_after_clock_is_set_back(
        self, limiter: RateLimiter, clock: FixedClock, subject: str, jump: timedelta
    ) -> None:
        right = clock.now()
        clock.advance(seconds=jump.total_seconds())
        await limiter.hit(LIMIT.name, subject)
        clock.set(right)
        await limiter.hit(LIMIT.name, subject, cost=LIMIT.burst)
        with pytest.raises(RateLimited) as caught:
            await limiter.hit(LIMIT.name, subject)
        assert caught.value.response_headers["Retry-After"] == str(int(LIMIT.every))
        clock.advance(seconds=LIMIT.every)
        await limiter.hit(LIMIT.name, subject)

    async def test_hits_counted_in_future_count_again(
        self, limited: Container, make: Factory, clock: FixedClock, jump: timedelta
    ) -> None:
        ada, bob = await make.people(2)
        look_up = LIMITS["look_up"]
        right = clock.now()
        clock.advance(seconds=jump.total_seconds())
        await limited.services.profiles.find(ada.actor, target_id=bob.id)
        clock.set(right)
        await RateLimiter(limited.uow, enabled=True).hit("look_up", ada.id, cost=look_up.burst)
        with pytest.raises(RateLimited):
            await limited.services.profiles.find(ada.actor, target_id=bob.id)


async def test_small_clock_differences_between_workers_add_no_tokens(
    limiter: RateLimiter, clock: FixedClock, subject: str
) -> None:
    """Requests that alternate between two workers must not refill the bucket by the difference each time."""
    right = clock.now()
    await limiter.hit(LIMIT.name, subject, cost=LIMIT.burst)
    for _ in range(5):
        clock.advance(seconds=9)
        with pytest.raises(RateLimited):
            await limiter.hit(LIMIT.name, subject)
        clock.set(right)
        with pytest.raises(RateLimited):
            await limiter.hit(LIMIT.name, subject)
