"""Signals: typing and calls. They are passed on, and never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from messenger.actor import Actor
from messenger.errors import CannotTargetSelf, NotAContact, PeerNotFound
from messenger.errors.groups import Muted, NotPermitted
from messenger.repositories.addresses import by_target
from messenger.repositories.contacts import ReachRow
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWorkFactory


class SignalService:
    """Who receives a signal; one round trip each. Users are grouped by how they address the conversation."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter) -> None:
        self._uow = uow
        self._limiter = limiter

    async def typing_audience(self, actor: Actor, target_id: int) -> Mapping[int, Sequence[int]]:
        """The users who may see the actor type to this peer: those who would get a message, or none while the actor
        hides connections. Raises `PeerNotFound`, `NotAContact`, `NotPermitted`, `Muted`.
        """
        reach = await self._reach(actor, target_id)
        if reach.obstacle == "not_permitted":
            raise NotPermitted(extra={"permission": "post"})
        if reach.obstacle == "muted" and reach.obstacle_until is not None:
            raise Muted.until(reach.obstacle_until)
        # The slow mode lets a member write the next message before it may be sent.
        if not reach.may_write and reach.obstacle is None:
            await self._limiter.hit_look_up(actor, target_id)
            raise NotAContact
        return {} if reach.hidden else by_target(reach.recipients, reach.targets)

    async def is_hidden(self, actor: Actor) -> bool:
        """Whether the actor hides connections."""
        async with self._uow.read() as uow:
            return await uow.statuses.is_hidden(actor)

    async def call_audience(self, actor: Actor, target_id: int) -> Mapping[int, Sequence[int]]:
        """The users who receive the actor's call signals to this peer. Raises `PeerNotFound`, `NotAContact`."""
        reach = await self._reach(actor, target_id)
        if not reach.may_call:
            await self._limiter.hit_look_up(actor, target_id)
            raise NotAContact("This user only accepts calls from contacts")
        return by_target(reach.recipients, reach.targets)

    async def _reach(self, actor: Actor, target_id: int) -> ReachRow:
        if actor.user_id == target_id:
            raise CannotTargetSelf
        async with self._uow.read() as uow:
            reach = await uow.contacts.reach(actor, target_id)
        if reach is None:
            await self._limiter.hit_look_up(actor, target_id)
            raise PeerNotFound
        return reach
