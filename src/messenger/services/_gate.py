"""The door of rate limits and of repeated requests, which several services share."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import msgspec

from messenger.actor import Actor, Caller
from messenger.errors import RateLimited, Unavailable
from messenger.limits import LIMITS, Limit
from messenger.services._purses import Purses
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_SUBJECT = 64
_AGES = 1e9
_LEASED = [limit for limit in LIMITS.values() if limit.lease]


class Once(msgspec.Struct, frozen=True):
    """An `Idempotency-Key` as it came: whose it is where no account is known, and a hash of the request's body."""

    key: str
    fingerprint: bytes


class Gate:
    """Takes tokens of a limit before the work begins, in a unit of work of its own: a refused try still counts."""

    def __init__(self, uow: UnitOfWorkFactory, *, enabled: bool) -> None:
        self._uow = uow
        self._enabled = enabled
        self._known = uow.known
        self._purses = Purses()
        self._unknown = Purses()
        uow.known.on_learned(self._learned)

    async def take(self, name: str, subject: object, *, cost: float = 1.0) -> None:
        """One more for this subject, or `cost`. Raises `RateLimited`."""
        if self._enabled:
            limit = LIMITS[name]
            await self._charge(limit, lambda uow: _take(uow, limit, subject, cost))

    def passes(self, name: str, caller: Caller) -> bool:
        """`pass_by`, as far as that takes no database: whether it is done."""
        if not self._enabled:
            return True
        if isinstance(caller, Actor):
            return self._purses.spend(LIMITS[name], caller.device_id)
        device_id = self._known.devices.get(caller.token_hash)
        if device_id is not None:
            return self._purses.spend(LIMITS[name], device_id)
        # A token that is new to this worker: its use is charged to its device once the device is known.
        return self._unknown.spend(LIMITS[name], caller.token_hash)

    def _learned(self, token_hash: bytes, device_id: UUID) -> None:
        for limit in _LEASED:
            spent = self._unknown.spent(limit, token_hash)
            if spent:
                self._purses.charge(limit, device_id, spent)

    async def pass_by(self, name: str, caller: Caller) -> None:
        """One more of what a device does all the time. Raises `RateLimited`, `Unauthenticated`."""
        if self.passes(name, caller):
            return
        limit = LIMITS[name]
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
        # Near its end the bucket is asked for single tokens, so that nobody is refused for what a lease would take.
        if not await self._charge(limit, lambda uow: _take(uow, limit, actor.device_id, limit.lease), refuse=False):
            self._purses.fill(limit, actor.device_id, limit.lease - 1)
            return
        await self._charge(limit, lambda uow: _take(uow, limit, actor.device_id, 1.0))

    async def take_within(self, uow: UnitOfWork, name: str, subject: object) -> None:
        """Count one for this subject, in the transaction of the work itself. Raises `RateLimited`."""
        limit = LIMITS[name]
        if not self._enabled or (limit.lease and self._purses.spend(limit, subject)):
            return
        wait = await _take(uow, limit, subject, 1.0)
        if wait:
            raise refused(limit, wait)

    async def look_up(self, caller: Caller, target: int | str) -> None:
        """Somebody looks for a user, by number or by name. Raises `RateLimited`.

        One whom they have an edge to, or have talked with, is no stranger, and takes nothing.
        """
        if not self._enabled:
            return
        limit = LIMITS["look_up"]
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
            pair = await uow.contacts.pair(actor.user_id, target) if isinstance(target, int) else None
        if pair is not None and (pair.mine is not None or pair.have_talked):
            return
        thing = f"looked_up:{actor.user_id}:{_short(str(target))}"
        await self._charge(
            limit,
            lambda uow: uow.limits.take_new(_key(limit, actor.user_id), thing, capacity=limit.burst, rate=limit.rate),
        )

    async def ask(self, asker: int, target: int, *, counts: bool) -> None:
        """Count a contact request against the receiver's limit, once a day for each sender. Raises `RateLimited`.

        A request that is not counted takes nothing from the limit, and looks the same to its sender.
        """
        if not self._enabled:
            return
        limit, thing, cost = LIMITS["subscribed_to"], f"asked:{asker}:{target}", float(counts)
        await self._charge(
            limit,
            lambda uow: uow.limits.take_new(
                _key(limit, target), thing, capacity=limit.burst, rate=limit.rate, cost=cost
            ),
        )

    def pace(self) -> dict[str, float]:
        """The parameters of the limits `message` and `message_to`, which a statement that sends counts itself."""
        message, message_to = LIMITS["message"], LIMITS["message_to"]
        if not self._enabled:
            return {"room": _AGES, "room_to": _AGES, "step": 0.0, "step_to": 0.0}
        return {
            "room": (message.burst - 1) * message.every,
            "room_to": (message_to.burst - 1) * message_to.every,
            "step": message.every,
            "step_to": message_to.every,
        }

    async def _charge(
        self, limit: Limit, take: Callable[[UnitOfWork], Awaitable[float]], *, refuse: bool = True
    ) -> float:
        """The seconds to wait, which is none where it was taken. Raises `RateLimited` where that is to be refused."""
        try:
            async with self._uow.command() as uow:
                wait = await take(uow)
        except Unavailable:
            if not limit.fail_open:
                raise
            logger.warning("limit %s can't be counted; allowed", limit.name)
            return 0.0
        if wait and refuse:
            raise refused(limit, wait)
        return wait


async def _take(uow: UnitOfWork, limit: Limit, subject: object, cost: float) -> float:
    return await uow.limits.take(_key(limit, subject), capacity=limit.burst, rate=limit.rate, cost=cost)


def _key(limit: Limit, subject: object) -> str:
    return f"{limit.name}:{_short(str(subject))}"


def refused(limit: Limit, wait: float) -> RateLimited:
    """The error, with what it says of when to come back."""
    return RateLimited(headers=refusal_headers(limit, wait))


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
