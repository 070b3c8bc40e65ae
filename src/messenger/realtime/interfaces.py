"""What realtime needs of the rest: services, seen from here as interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from messenger.actor import Actor, Caller
from messenger.schemas.realtime import EventFrame
from messenger.schemas.users import StatusView


class StreamEvent(msgspec.Struct, frozen=True):
    """An event as its user's devices are told it; `incoming`: a message that somebody else sent."""

    position: int
    frame: EventFrame
    incoming: bool


class StreamPage(msgspec.Struct, frozen=True):
    """What a stream holds after a position. `end`: up to where this page reaches; `head`: where the stream ends.

    `epoch`: the database history that the positions belong to. `acked_position`: what the device has acknowledged.
    `lost`: the next events after the position have been removed, or never existed.
    """

    events: list[StreamEvent]
    end: int
    head: int
    acked_position: int
    epoch: str = ""
    lost: bool = False


class DeliveryAck(msgspec.Struct, frozen=True):
    """A device of this user has acknowledged all events up to `position`."""

    user_id: int
    position: int


class SocketRef(msgspec.Struct, frozen=True):
    """A device and its socket here; of two sockets the one with the higher generation is the newer."""

    actor: Actor
    generation: int


class SocketAudit(msgspec.Struct, frozen=True):
    """What the tables say of the sockets that are here."""

    positions: dict[int, int]
    """By user, where the stream ends."""
    epoch: str | None
    """The database history that these belong to; None without a position."""
    signed_out: set[UUID]
    """Devices that are no more."""
    replaced: set[int]
    """Sockets whose device has a newer one."""
    unregistered: set[int]
    """Sockets that the table has forgotten."""


class Presence(msgspec.Struct, frozen=True):
    """A user's presence as mutual contacts see it, and which of these are connected.

    `hidden`: `view` does not show whether the user is connected.
    """

    view: StatusView
    watchers: tuple[int, ...]
    hidden: bool


class Handshake(msgspec.Struct, frozen=True):
    """A device that may open a socket: the end and the `epoch` of its user's stream, the position that it has
    acknowledged (`acked_position`), and the generation of this arrival.
    """

    actor: Actor
    position: int
    acked_position: int
    epoch: str
    generation: int


class Streams(Protocol):
    async def open_socket(self, caller: Caller | None, ticket: str | None = None) -> Handshake:
        """Who knocks, by token or by ticket. Raises `Unauthenticated`, `Unavailable`."""
        ...

    async def read_page(self, actor: Actor, *, after: int, limit: int) -> StreamPage:
        """A page of the actor's stream. Raises `Unauthenticated`, `Unavailable`."""
        ...

    async def record_delivered(self, acks: Sequence[DeliveryAck]) -> None:
        """Move delivered receipts to where devices have acknowledged."""
        ...

    async def reconcile(self, sockets: Sequence[SocketRef], waiting: Sequence[int]) -> SocketAudit:
        """Compare these sockets with the tables, and where the streams of their users and of `waiting` ones end."""
        ...


class Presences(Protocol):
    async def write(
        self, worker_id: UUID, connected: Sequence[SocketRef], disconnected: Sequence[SocketRef]
    ) -> list[int]:
        """Record connections and disconnections; returns users with a first connection and users without any left."""
        ...

    async def describe(self, users: Sequence[int]) -> dict[int, Presence]:
        """How these users are now, and who is to be told."""
        ...

    async def renew(self, worker_id: UUID) -> list[int]:
        """Renew this worker's lease; returns users whose last connection was on a dead worker."""
        ...
