"""The event catalogue: what a user's devices must be told, in past tense. Names are those of `API.md` section 5."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One thing that happened. `subject` points at a message; `payload` is the data of any other event."""

    name: ClassVar[str]

    @property
    def subject(self) -> UUID | None:
        return None

    @property
    def payload(self) -> dict[str, Any] | None:
        return None


class _AboutMessage(Event, frozen=True):
    # A message's event keeps no copy of it: what was deleted since must not come back out of a stream.
    message_id: UUID

    @property
    def subject(self) -> UUID:
        return self.message_id


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


class ConversationUpdated(_Telling, frozen=True):
    name = "conversation.updated"


class ContactUpdated(_Telling, frozen=True):
    name = "contact.updated"


class ProfileUpdated(_Telling, frozen=True):
    name = "profile.updated"


class DeviceAdded(_Telling, frozen=True):
    name = "device.added"


class DeviceRemoved(_Telling, frozen=True):
    name = "device.removed"


class WakeUp(msgspec.Struct, frozen=True):
    """A hint, sent after the commit: this user's stream has news up to this position."""

    user_id: int
    position: int
    name: str
