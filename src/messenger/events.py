"""The event catalogue: events for a user's devices, in the past tense. Names are those on the wire.

An event refers to whatever can change or be deleted later (a message, a name, settings), and does not copy it. The
current state is read when the event is delivered, so deleted content never reappears in a stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol
from uuid import UUID

import msgspec


class Event(msgspec.Struct, frozen=True):
    """An event refers to a message (`subject`) or a peer, or carries a `payload`."""

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


class _WithPayload(Event, frozen=True):
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


class ReceiptUpdated(_WithPayload, frozen=True):
    name = "receipt.updated"


class ConversationUpdated(_AboutPeer, frozen=True):
    """The settings of the conversation with this peer have changed."""

    name = "conversation.updated"


class _AboutGroup(_AboutPeer, frozen=True):
    """`subject`: the notice of the change, if it has one."""

    notice_id: UUID | None = None

    @property
    def subject(self) -> UUID | None:
        return self.notice_id


class GroupUpdated(_AboutGroup, frozen=True):
    """The group has changed, or the owner of the stream has joined or left it. It is read on delivery."""

    name = "group.updated"


class _AboutGroupUser(_AboutGroup, frozen=True):
    user_id: int = 0

    @property
    def payload(self) -> dict[str, Any]:
        return {"user_id": self.user_id}


class GroupMemberChanged(_AboutGroupUser, frozen=True):
    """A user has joined the group, left it, or has changed as a member. The member is read on delivery."""

    name = "group.member"


class GroupInvited(_AboutPeer, frozen=True):
    """An invitation to this group was received, or has ended. It is read on delivery."""

    name = "group.invited"


class GroupRequested(_AboutGroupUser, frozen=True):
    """A user has asked to join the group, or the request has ended. It is read on delivery."""

    name = "group.requested"


class ContactUpdated(_AboutPeer, frozen=True):
    """The owner's edge to this peer has changed; `data` holds the owner's own texts. The peer's name is read on
    delivery.
    """

    data: dict[str, Any]

    name = "contact.updated"

    @property
    def payload(self) -> dict[str, Any]:
        return self.data


class ProfileUpdated(_AboutPeer, frozen=True):
    """This user's profile has changed; privacy settings are applied on delivery."""

    name = "profile.updated"


class DeviceAdded(_WithPayload, frozen=True):
    name = "device.added"


class DeviceRemoved(_WithPayload, frozen=True):
    name = "device.removed"


class WakeUp(msgspec.Struct, frozen=True):
    """A hint, sent after the commit: this user's stream has new events up to this position.

    `data`, if known, is the view of the event at `position` for this user: sockets of this process then need no read.
    `at` is the time of the event in the API's format.
    """

    user_id: int
    position: int
    name: str
    data: msgspec.Struct | None = None
    at: str = ""


class Announcer(Protocol):
    """Receives, after each commit, the streams with new events, and the groups whose members have received or read
    more. What is lost is harmless: readers use cursors.
    """

    async def announce(self, news: list[WakeUp]) -> None: ...

    def announce_receipts(self, group_ids: Iterable[int]) -> None: ...
