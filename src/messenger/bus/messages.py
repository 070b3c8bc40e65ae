"""What workers send each other."""

from __future__ import annotations

from uuid import UUID

import msgspec


class StreamAdvanced(msgspec.Struct, frozen=True, tag="n", array_like=True):
    """The user's event stream has reached this position."""

    user_id: int
    position: int


class Signal(msgspec.Struct, frozen=True, tag="s", array_like=True):
    """A transient signal, in JSON, for the sockets of these users, of them those that watch `watched` if it is set."""

    users: tuple[int, ...]
    event: str
    data: msgspec.Raw
    watched: int | None = None


class SocketOpened(msgspec.Struct, frozen=True, tag="c", array_like=True):
    """A device has opened a socket; its older sockets must close."""

    user_id: int
    device_id: UUID


class DevicesRevoked(msgspec.Struct, frozen=True, tag="r", array_like=True):
    """Devices of this user may have been signed out; check the tables."""

    user_id: int


class GroupReceipts(msgspec.Struct, frozen=True, tag="g", array_like=True):
    """Members of this group have received or read more than before."""

    group_id: int


BusMessage = StreamAdvanced | Signal | SocketOpened | DevicesRevoked | GroupReceipts


def coalesced(messages: list[BusMessage]) -> list[BusMessage]:
    """Keep only the newest `StreamAdvanced` of each user, first, and one `GroupReceipts` of each group, last; other
    messages keep their order.
    """
    positions: dict[int, int] = {}
    groups: dict[GroupReceipts, None] = {}
    for message in messages:
        if isinstance(message, StreamAdvanced):
            positions[message.user_id] = max(message.position, positions.get(message.user_id, 0))
        elif isinstance(message, GroupReceipts):
            groups[message] = None
    kept = [message for message in messages if not isinstance(message, StreamAdvanced | GroupReceipts)]
    return [*(StreamAdvanced(user, position) for user, position in positions.items()), *kept, *groups]
