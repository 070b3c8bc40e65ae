"""The interfaces of the services that realtime uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from messenger.actor import Actor, Caller
from messenger.schemas.realtime import EventFrame, ReceiptCountsView
from messenger.schemas.users import StatusView


class StreamEvent(msgspec.Struct, frozen=True):
    """An event in the form in which a user's devices receive it; `incoming`: it is a message from another user."""

    position: int
    frame: EventFrame
    incoming: bool


class StreamPage(msgspec.Struct, frozen=True):
    """Events after a position of a stream. `end`: the last position of this page; `head`: the end of the stream.

    `epoch`: the database history of the positions. `acked_position`: the position that the device has acknowledged.
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
    """A device and its socket in this process; of two sockets the one with the higher generation is newer."""

    actor: Actor
    generation: int


class SocketAudit(msgspec.Struct, frozen=True):
    """The result of comparing the sockets of this process with the tables."""

    positions: dict[int, int]
    """The end of each user's stream."""
    epoch: str | None
    """The database history that the positions belong to; None without positions."""
    signed_out: set[UUID]
    """Devices that were signed out."""
    replaced: set[int]
    """Sockets whose device has a newer one."""
    unregistered: set[int]
    """Sockets without a row in the table."""


class Presence(msgspec.Struct, frozen=True):
    """A user's presence as mutual contacts see it, and which of these are connected.

    `hidden`: `view` does not show whether the user is connected.
    """

    view: StatusView
    watchers: tuple[int, ...]
    hidden: bool


class Handshake(msgspec.Struct, frozen=True):
    """A device that may open a socket: the end and the `epoch` of its user's stream, the position that it has
    acknowledged (`acked_position`), and the generation of the new socket.
    """

    actor: Actor
    position: int
    acked_position: int
    epoch: str
    generation: int


class Streams(Protocol):
    async def open_socket(self, caller: Caller | None, ticket: str | None = None) -> Handshake:
        """Authenticate a handshake by token or ticket. Raises `Unauthenticated`, `Unavailable`."""
        ...

    async def read_page(self, actor: Actor, *, after: int, limit: int) -> StreamPage:
        """A page of the actor's stream. Raises `Unauthenticated`, `Unavailable`."""
        ...

    async def record_delivered(self, acks: Sequence[DeliveryAck]) -> None:
        """Advance delivered receipts to the acknowledged positions."""
        ...

    async def reconcile(self, sockets: Sequence[SocketRef], waiting: Sequence[int]) -> SocketAudit:
        """Compare these sockets with the tables; returns also the stream ends of their users and of `waiting` users."""
        ...


class ReceiptCounts(Protocol):
    async def count_receipts(self, watchers: Sequence[tuple[int, int]]) -> dict[tuple[int, int], ReceiptCountsView]:
        """For each user and group: how many members have received and read the user's newest message. A pair without
        counts is left out. Raises `Unavailable`.
        """
        ...


class Presences(Protocol):
    async def write(
        self, worker_id: UUID, connected: Sequence[SocketRef], disconnected: Sequence[SocketRef]
    ) -> list[int]:
        """Record connections and disconnections; returns users with a first connection and users without any left."""
        ...

    async def describe(self, users: Sequence[int]) -> dict[int, Presence]:
        """The current presence of these users, and the contacts to notify."""
        ...

    async def renew(self, worker_id: UUID) -> list[int]:
        """Renew this worker's lease; returns users whose last connection was on a dead worker."""
        ...
