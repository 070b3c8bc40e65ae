"""Events, frames and signals on the wire."""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple, get_args
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from messenger.errors import FieldError, ValidationFailed
from messenger.schemas.accounts import DeviceView
from messenger.schemas.groups import GroupPreview, GroupView, Membership, MemberView, NoticeView
from messenger.schemas.messages import ConversationView, MessageView
from messenger.schemas.types import AnyContactState, PeerId, Seq, StatusName, Timestamp, one_of
from messenger.schemas.users import PersonView, ProfileView, StatusText, UserView

Cursor = Annotated[str, Meta(description="Position in the event stream; opaque", examples=["e42"])]

MAX_SIGNAL_BYTES = 65536


CURSOR_PATTERN = r"^e[0-9]{1,15}(-[a-z0-9]{1,16})?$"
"""Numbers on the wire are below 2**53, so no position has more digits."""
_CURSOR = re.compile(r"e([0-9]{1,15})(?:-([a-z0-9]{1,16}))?")


class Place(NamedTuple):
    """A position in a user's stream, with the epoch of the database; the first epoch has an empty name."""

    position: int
    epoch: str


def stream_cursor(position: int, epoch: str = "") -> str:
    """A place in a user's event stream, as clients carry it."""
    return f"e{position}-{epoch}" if epoch else f"e{position}"


def cursor_place(cursor: str) -> Place | None:
    """The place that a cursor refers to; None for an invalid cursor."""
    found = _CURSOR.fullmatch(cursor)
    return None if found is None else Place(int(found[1]), found[2] or "")


def require_place(cursor: str) -> Place:
    """The place that a cursor refers to. Raises `ValidationFailed` for an invalid cursor."""
    place = cursor_place(cursor)
    if place is None:
        raise unknown_cursor()
    return place


def unknown_cursor() -> ValidationFailed:
    """The refusal of a cursor of any endpoint that this API has not returned."""
    refused = FieldError("cursor", "invalid", "use a cursor returned by this API")
    return ValidationFailed("cursor: unknown cursor", errors=(refused,))


# --- what events say ------------------------------------------------------------------------------


class ReceiptView(msgspec.Struct, frozen=True):
    """How far `user_id` has read and received. Only that user sees `unread` and `version`."""

    target_id: PeerId
    user_id: PeerId
    read_seq: Seq
    delivered_seq: Seq
    unread: Annotated[int, Meta(ge=0)] | None
    version: Annotated[int, Meta(description="Version of `unread`; of two counts, keep the higher version")] | None


class ContactChangeView(msgspec.Struct, frozen=True):
    target_id: PeerId
    user: UserView
    state: Annotated[str, Meta(extra_json_schema={"enum": list(get_args(AnyContactState))})]
    alias: str | None
    message: str | None
    since: Timestamp | None


class RemovedDeviceView(msgspec.Struct, frozen=True):
    id: UUID


class EventFrame(msgspec.Struct, frozen=True, tag_field="type", tag="event"):
    """One event of the stream, over the socket and in `GET /sync` alike."""

    cursor: Cursor
    event: Annotated[str, Meta(examples=["message.created"])]
    at: Timestamp
    data: Annotated[
        Any,
        Meta(
            description="By the event's name: a message, a receipt, a conversation, a contact, a profile, a device",
        ),
    ]


class GroupChangeView(msgspec.Struct, frozen=True, gc=False):
    """`group`: a `GroupView` for members, a `GroupPreview` for others."""

    group: Annotated[
        Any,
        Meta(
            description="The group; its preview if you are not a member any more",
            extra_json_schema=one_of(GroupView, GroupPreview),
        ),
    ]
    notice: NoticeView | None


class MemberChangeView(msgspec.Struct, frozen=True, gc=False):
    target_id: PeerId
    member: MemberView
    membership: Annotated[Membership, Meta(description="`none`: the user is not a member any more")]
    member_count: int
    version: Annotated[int, Meta(description="Version of the group; of two counts, keep the higher version")]
    notice: NoticeView | None


class InvitationChangeView(msgspec.Struct, frozen=True, gc=False):
    group: Annotated[GroupPreview, Meta(description="`membership` is `invited`, or what has ended the invitation")]
    inviter: UserView | None
    message: str | None
    at: Timestamp | None


class JoinRequestView(msgspec.Struct, frozen=True, gc=False):
    target_id: PeerId
    user: UserView
    message: str | None
    at: Timestamp | None
    pending: Annotated[int, Meta(description="How many requests to join wait")]
    membership: Annotated[Membership, Meta(description="`requested`, or what has ended the request")]


EVENT_DATA: dict[str, Any] = {
    "message.created": MessageView,
    "message.edited": MessageView,
    "message.deleted": MessageView,
    "receipt.updated": ReceiptView,
    "conversation.updated": ConversationView,
    "contact.updated": ContactChangeView,
    "profile.updated": ProfileView | PersonView,
    "device.added": DeviceView,
    "device.removed": RemovedDeviceView,
    "group.updated": GroupChangeView,
    "group.member": MemberChangeView,
    "group.invited": InvitationChangeView,
    "group.requested": JoinRequestView,
}
"""The type of each event's `data`. `profile.updated` has two: your own profile, or another user's."""


EVENT_STRUCTS = tuple(dict.fromkeys(kind for data in EVENT_DATA.values() for kind in get_args(data) or (data,)))
"""All that `data` can be."""


class SyncView(msgspec.Struct, frozen=True):
    events: list[EventFrame]
    cursor: Cursor
    more: Annotated[bool, Meta(description="True if more events are available now")]


class TicketView(msgspec.Struct, frozen=True):
    ticket: Annotated[str, Meta(description="Pass as `GET /ws?ticket=`; valid once")]
    expires_in: Annotated[int, Meta(description="Lifetime of the ticket in seconds")]

    def __repr__(self) -> str:
        return f"TicketView(expires_in={self.expires_in})"


# --- what a socket may ask ------------------------------------------------------------------------


class TypingDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    target_id: PeerId
    typing: bool = True


class WatchDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The conversations that are on the screen of this device, for the next 60 seconds."""

    target_ids: Annotated[list[PeerId], Meta(max_length=5)]


class PresencePatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    status: StatusName | UnsetType = UNSET
    status_text: StatusText | UnsetType = UNSET


class CallSignalDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    target_id: PeerId
    call_id: UUID
    payload: dict[str, Any]


class NoData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty request."""


# --- signals --------------------------------------------------------------------------------------


class TypingView(msgspec.Struct, frozen=True):
    """`user_id` is typing in the conversation with `target_id`."""

    target_id: PeerId
    user_id: PeerId
    typing: bool
    expires_at: Timestamp | None


class ReceiptCountsView(msgspec.Struct, frozen=True):
    """How many members have read and received your newest message in the group, of those who let you know."""

    target_id: PeerId
    seq: Seq
    read: Annotated[int, Meta(ge=0)]
    delivered: Annotated[int, Meta(ge=0)]
    members: Annotated[int, Meta(ge=0, description="How many other members let you know")]


class CallSignalView(msgspec.Struct, frozen=True):
    target_id: PeerId
    user_id: PeerId
    device_id: UUID
    call_id: UUID
    payload: dict[str, Any]
