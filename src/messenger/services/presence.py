"""Presence: connected sockets, and the status that others may see. It is never stored as events."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Protocol
from uuid import UUID

from messenger.clock import Clock
from messenger.realtime.interfaces import Presence, SocketRef
from messenger.services._views import status_view
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict


class PresenceAnnouncer(Protocol):
    """Notifies connected contacts; no method waits."""

    def status_changed(self, user_id: int) -> None: ...
    def contact_started(self, one: int, other: int) -> None: ...
    def contact_ended(self, one: int, other: int) -> None: ...


class PresenceService:
    """The reads and writes of a process's presence tracker, in batches."""

    def __init__(self, uow: UnitOfWorkFactory, clock: Clock) -> None:
        self._uow = uow
        self._clock = clock

    @retry_on_conflict
    async def write(
        self, worker_id: UUID, connected: Sequence[SocketRef], disconnected: Sequence[SocketRef]
    ) -> list[int]:
        """Record connections and disconnections; returns users who got a first connection or lost the last one.

        Two round trips.
        """
        up, down = [_row(each) for each in connected], [_row(each) for each in disconnected]
        async with self._uow.command() as uow:
            before = await uow.connections.write(worker_id, up, down)
            after = await uow.connections.list_connected(list(before))
        return [user_id for user_id, was in before.items() if was != (user_id in after)]

    async def describe(self, users: Sequence[int]) -> dict[int, Presence]:
        """The presence of these users and their connected mutual contacts; one round trip."""
        async with self._uow.read() as uow:
            rows = await uow.connections.describe(users)
        return {row.user_id: Presence(status_view(row), tuple(row.watchers), row.hidden) for row in rows}

    @retry_on_conflict
    async def renew(self, worker_id: UUID) -> list[int]:
        """Renew the worker's lease and set its clock; returns users whose last connection was on a dead worker."""
        async with self._uow.command() as uow:
            asked = monotonic()
            seen_at = await uow.connections.renew_lease(worker_id)
            self._clock.learn(seen_at, asked=asked, answered=monotonic())
        async with self._uow.command() as uow:
            return await uow.connections.reap_dead_workers()


def _row(socket: SocketRef) -> tuple[UUID, int, int]:
    return socket.actor.device_id, socket.actor.user_id, socket.generation
