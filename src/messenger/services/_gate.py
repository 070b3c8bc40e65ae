"""The door of rate limits and of repeated requests, which several services share."""

from __future__ import annotations

import hashlib
import logging
from typing import TypeVar

import msgspec

from messenger.errors import RateLimited, Unavailable
from messenger.limits import LIMITS, Limit
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_SUBJECT = 64


class Once(msgspec.Struct, frozen=True):
    """An `Idempotency-Key` as it came: whose it is where no account is known, and a hash of the request's body."""

    key: str
    fingerprint: bytes


class Gate:
    """Takes tokens of a limit before the work begins, in a unit of work of its own: a refused try still counts."""

    def __init__(self, uow: UnitOfWorkFactory, *, enabled: bool) -> None:
        self._uow = uow
        self._enabled = enabled

    async def take(self, name: str, subject: object, *, cost: float = 1.0) -> None:
        """One more for this subject. Raises `RateLimited`."""
        if not self._enabled:
            return
        limit = LIMITS[name]
        try:
            async with self._uow.command() as uow:
                wait = await uow.limits.take(
                    f"{name}:{_short(str(subject))}", capacity=limit.burst, rate=limit.rate, cost=cost
                )
        except Unavailable:
            if not limit.fail_open:
                raise
            logger.warning("limit %s can't be counted; allowed", name)
            return
        if wait:
            raise RateLimited(headers=refusal_headers(limit, wait))


def _short(subject: str) -> str:
    """What fits into a bucket's key: a login grows where its letters have longer lower-case forms."""
    return subject if len(subject) <= _LONGEST_SUBJECT else hashlib.sha256(subject.encode()).hexdigest()


def refusal_headers(limit: Limit, wait: float) -> dict[str, str]:
    """`Retry-After` (RFC 9110 section 10.2.3) and the fields of draft-ietf-httpapi-ratelimit-headers."""
    seconds = int(-(-wait // 1))
    return {
        "Retry-After": str(seconds),
        "RateLimit-Policy": f'"{limit.name}";q={limit.burst};w={limit.window}',
        "RateLimit": f'"{limit.name}";r=0;t={seconds}',
    }


async def earlier_answer(uow: UnitOfWork, scope: object, once: Once | None, kind: type[T]) -> T | None:
    """The answer that this request had before, or None: do the work. Raises `IdempotencyKeyReused`."""
    if once is None:
        return None
    answer = await uow.idempotency.claim(str(scope), once.key, once.fingerprint)
    return None if answer is None else msgspec.json.decode(answer, type=kind)


async def keep_answer(uow: UnitOfWork, scope: object, once: Once | None, answer: object) -> None:
    """Remember what was answered, in the transaction of the work itself."""
    if once is not None:
        await uow.idempotency.keep(str(scope), once.key, msgspec.json.encode(answer))
