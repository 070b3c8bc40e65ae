"""The event catalogue: events for a user's devices, in the past tense. Names are those on the wire.

An event keeps as little as it can: what may change or vanish since (a message, a name, settings) is pointed at and read
when the event is delivered, so that what was deleted never comes back out of a stream.
"""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One thing that happened, with what it points at: a message (`subject`), a peer; or what it says (`payload`)."""

    name: ClassVar[str]

    @property
    def subject(self) -> UUID | None:
        return None

    @property
    def peer(self) -> int | None:
        return None

    @property
    def payload(self) -> dict[str, Any] | None:
        return None


class _AboutMessage(Event, frozen=True):
    message_id: UUID

    @property
    def subject(self) -> UUID:
        return self.message_id


class _AboutPeer(Event, frozen=True):
    peer_id: int

    @property
    def peer(self) -> int:
        return self.peer_id


class _Telling(Event, frozen=True):
    data: dict[str, Any]

    @property
    def payload(self) -> dict[str, Any]:
        return self.data


class MessageCreated(_AboutMessage, frozen=True):
    name = "message.created"


class MessageEdited(_AboutMessage, frozen=True):
    name = "message.edited"


class MessageDeleted(_AboutMessage, frozen=True):
    name = "message.deleted"


class ReceiptUpdated(_Telling, frozen=True):
    name = "receipt.updated"


class ConversationUpdated(_AboutPeer, frozen=True):
    """The conversation with this peer has other settings."""

    name = "conversation.updated"


class ContactUpdated(_AboutPeer, frozen=True):
    """The edge to this peer; `data` is what its owner has written on it, the peer's name is read later."""

    data: dict[str, Any]

    name = "contact.updated"

    @property
    def payload(self) -> dict[str, Any]:
        return self.data


class ProfileUpdated(_AboutPeer, frozen=True):
    """This user's profile; what of it a contact may see is decided where the event is read."""

    name = "profile.updated"


class DeviceAdded(_Telling, frozen=True):
    name = "device.added"


class DeviceRemoved(_Telling, frozen=True):
    name = "device.removed"


class WakeUp(msgspec.Struct, frozen=True):
    """A hint, sent after the commit: this user's stream has news up to this position.

    `data` is what the event at `position` shows to that user, where the one who commits has it at hand: a socket of
    this process then costs no read. `at` is its time on the wire.
    """

    user_id: int
    position: int
    name: str
    data: msgspec.Struct | None = None
    at: str = ""
