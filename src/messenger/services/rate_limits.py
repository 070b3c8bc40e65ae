"""Rate limits, shared by the services."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

from messenger.actor import Actor, Caller
from messenger.errors import RateLimited, Unavailable
from messenger.limits import LIMITS, Limit
from messenger.services._limit_leases import LimitLeases
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory

logger = logging.getLogger(__name__)

UNLIMITED_SECONDS = 1e9
"""A limit that no sender can reach."""

_LONGEST_SUBJECT = 64
_LEASED = [limit for limit in LIMITS.values() if limit.lease]


class RateLimiter:
    """Counts requests before their work begins, in separate units of work: a refused attempt counts, too."""

    def __init__(self, uow: UnitOfWorkFactory, *, enabled: bool) -> None:
        self._uow = uow
        self._enabled = enabled
        self._known = uow.known
        self._leases = LimitLeases()
        self._token_leases = LimitLeases()
        uow.known.on_learned(self._learned)

    async def hit(self, name: str, subject: object, *, cost: float = 1.0) -> None:
        """Count one request of this subject, or `cost`. Raises `RateLimited`."""
        if self._enabled:
            limit = LIMITS[name]
            await self._charge(limit, lambda uow: _consume(uow, limit, subject, cost))

    def try_lease(self, name: str, caller: Caller) -> bool:
        """Count a request against the worker's lease, without the database; False: use `hit_leased`."""
        if not self._enabled:
            return True
        if isinstance(caller, Actor):
            return self._leases.use(LIMITS[name], caller.device_id)
        device_id = self._known.devices.get(caller.token_hash)
        if device_id is not None:
            return self._leases.use(LIMITS[name], device_id)
        # A token that is new to this worker: its use is charged to its device once the device is known.
        return self._token_leases.use(LIMITS[name], caller.token_hash)

    def _learned(self, token_hash: bytes, device_id: UUID) -> None:
        for limit in _LEASED:
            used = self._token_leases.close(limit, token_hash)
            if used:
                self._leases.charge(limit, device_id, used)

    async def hit_leased(self, name: str, caller: Caller) -> None:
        """Count a frequent request of a device. Raises `RateLimited`, `Unauthenticated`."""
        if self.try_lease(name, caller):
            return
        limit = LIMITS[name]
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
        # When the bucket has less than a whole lease, consume single tokens, so that the last ones can be used.
        if not await self._charge(limit, lambda uow: _consume(uow, limit, actor.device_id, limit.lease), refuse=False):
            self._leases.grant(limit, actor.device_id, limit.lease - 1)
            return
        await self._charge(limit, lambda uow: _consume(uow, limit, actor.device_id, 1.0))

    async def hit_within(self, uow: UnitOfWork, name: str, subject: object, *, cost: float = 1.0) -> None:
        """Count one request of this subject, or `cost`, in the transaction of the work itself. Raises `RateLimited`."""
        limit = LIMITS[name]
        if not self._enabled or (limit.lease and self._leases.use(limit, subject)):
            return
        wait = await _consume(uow, limit, subject, cost)
        if wait:
            raise rate_limited(limit, wait)

    async def hit_look_up(self, caller: Caller, target: int | str) -> None:
        """Count the look-up of a stranger, by ID or by username. Raises `RateLimited`.

        The look-up of someone with whom the caller has an edge or a conversation is not counted.
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
            lambda uow: uow.limits.consume_once(
                _key(limit, actor.user_id), thing, capacity=limit.burst, rate=limit.rate
            ),
        )

    async def hit_contact_request(self, asker: int, target: int, *, counts: bool) -> None:
        """Count a contact request against the receiver's limit, once a day for each sender. Raises `RateLimited`.

        A request that is not counted consumes nothing, and looks the same to its sender.
        """
        if not self._enabled:
            return
        limit, thing, cost = LIMITS["subscribed_to"], f"asked:{asker}:{target}", float(counts)
        await self._charge(
            limit,
            lambda uow: uow.limits.consume_once(
                _key(limit, target), thing, capacity=limit.burst, rate=limit.rate, cost=cost
            ),
        )

    async def hit_invitation(self, uow: UnitOfWork, group_id: int, target: int, *, counts: bool) -> None:
        """Count an invitation against the receiver's limit, once a day for each group. Raises `RateLimited`.

        An invitation that is not counted takes nothing from the limit, and looks the same to its sender.
        """
        if not self._enabled:
            return
        limit = LIMITS["invited_to"]
        wait = await uow.limits.consume_once(
            _key(limit, target),
            f"invited:{group_id}:{target}",
            capacity=limit.burst,
            rate=limit.rate,
            cost=float(counts),
        )
        if wait:
            raise rate_limited(limit, wait)

    def send_parameters(self) -> dict[str, float]:
        """The limits `message` and `message_to` as parameters of the sending statement, which counts them itself."""
        message, message_to = LIMITS["message"], LIMITS["message_to"]
        if not self._enabled:
            return {"room": UNLIMITED_SECONDS, "room_to": UNLIMITED_SECONDS, "step": 0.0, "step_to": 0.0}
        return {
            "room": (message.burst - 1) * message.every,
            "room_to": (message_to.burst - 1) * message_to.every,
            "step": message.every,
            "step_to": message_to.every,
        }

    async def _charge(
        self, limit: Limit, consume: Callable[[UnitOfWork], Awaitable[float]], *, refuse: bool = True
    ) -> float:
        """Consume tokens; if there are too few, return the seconds to wait or, with `refuse`, raise `RateLimited`."""
        try:
            async with self._uow.command() as uow:
                wait = await consume(uow)
        except Unavailable:
            if not limit.fail_open:
                raise
            logger.warning("limit %s cannot be counted; the request is allowed", limit.name)
            return 0.0
        if wait and refuse:
            raise rate_limited(limit, wait)
        return wait


async def _consume(uow: UnitOfWork, limit: Limit, subject: object, cost: float) -> float:
    return await uow.limits.consume(_key(limit, subject), capacity=limit.burst, rate=limit.rate, cost=cost)


def _key(limit: Limit, subject: object) -> str:
    return f"{limit.name}:{_short(str(subject))}"


def _short(subject: str) -> str:
    """The subject as part of a bucket's key: a login can grow when it is lower-cased."""
    return subject if len(subject) <= _LONGEST_SUBJECT else hashlib.sha256(subject.encode()).hexdigest()


def rate_limited(limit: Limit, wait: float) -> RateLimited:
    """The error, with the headers that say when to retry."""
    return RateLimited(headers=rate_limit_headers(limit, wait))


def rate_limit_headers(limit: Limit, wait: float) -> dict[str, str]:
    """`Retry-After` (RFC 9110 section 10.2.3) and the fields of draft-ietf-httpapi-ratelimit-headers."""
    seconds = int(-(-wait // 1))
    return {
        "Retry-After": str(seconds),
        "RateLimit-Policy": f'"{limit.name}";q={limit.burst};w={limit.window}',
        "RateLimit": f'"{limit.name}";r=0;t={seconds}',
    }
