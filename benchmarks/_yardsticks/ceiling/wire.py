"""The ceiling's JSON: the same keys as ours, as structs that the garbage collector need not look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

encode = msgspec.json.Encoder().encode
raw_pair = msgspec.json.Decoder(tuple[msgspec.Raw, msgspec.Raw]).decode
_to_builtins = msgspec.to_builtins
_NONE: list[Any] = []

_Peer = Annotated[int, Meta(ge=1, le=2**53 - 1)]


class Draft(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    target_id: _Peer
    client_id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[\x21-\x7e]+\Z")]
    body: Annotated[str, Meta(min_length=1, max_length=2**20, pattern=r"\A[^\x00]*\Z")]
    kind: Literal["text"] = "text"
    reply_to: UUID | None = None
    forwarded_from: UUID | None = None
    mentions: Annotated[list[_Peer], Meta(max_length=50)] = []


class Avatar(msgspec.Struct, gc=False):
    key: str
    url: str
    thumb_url: str
    width: int
    height: int
    placeholder: str


class User(msgspec.Struct, gc=False):
    id: int
    username: str | None
    name: str
    avatar: Avatar | None


class Peer(msgspec.Struct, gc=False):
    id: int
    kind: str
    username: str | None
    name: str
    avatar: Avatar | None


class Privacy(msgspec.Struct, gc=False):
    last_seen: str
    avatar: str
    messages_from: str
    calls_from: str
    groups_from: str
    receipts: str
    forwards: str


class Profile(msgspec.Struct, gc=False):
    id: int
    username: str
    name: str
    about: str
    avatar: Avatar | None
    status: str
    status_text: str
    last_activity: str
    created_at: str
    privacy: Privacy


class Contact(msgspec.Struct, gc=False):
    user: User
    state: str
    alias: str | None
    message: str | None
    since: str


class Page(msgspec.Struct, gc=False):
    items: list[Any]
    next: str | None


class Status(msgspec.Struct, gc=False):
    user_id: int
    status: str
    status_text: str
    online: bool
    last_activity: str | None


class Statuses(msgspec.Struct, gc=False):
    items: list[Status]
    next: str | None


class Message(msgspec.Struct, gc=False):
    id: UUID
    client_id: str
    target_id: int
    sender_id: int
    sender_device_id: UUID
    seq: int
    kind: str
    body: str | None
    envelopes: None
    attachments: list[Any]
    reply_to: UUID | None
    forwarded_from: UUID | None
    mentions: list[int]
    reactions: list[Any]
    created_at: str
    edited_at: str | None
    deleted_at: str | None
    deleted_by: int | None
    expires_at: str | None


class History(msgspec.Struct, gc=False):
    items: list[Message]
    next: int | None
    last_seq: int
    first_unread: int | None
    notices: list[Any]


class Receipt(msgspec.Struct, gc=False):
    read_seq: int
    delivered_seq: int


class Conversation(msgspec.Struct, gc=False):
    target: Peer | msgspec.Raw
    last_message: Message | None
    last_seq: int
    read_seq: int
    unread: int
    version: int
    muted_until: str | None
    pinned: bool
    archived: bool
    expire_after: int | None
    group: msgspec.Raw | None
    target_receipt: Receipt | None


class Conversations(msgspec.Struct, gc=False):
    items: list[Conversation]
    next: str | None
    cursor: str


class Event(msgspec.Struct, gc=False):
    type: str
    cursor: str
    event: str
    at: str
    data: Message | msgspec.Raw


class Sync(msgspec.Struct, gc=False):
    events: list[Event]
    cursor: str
    more: bool


def at(moment: datetime) -> str:
    """As the wire shows a time; several times faster than `isoformat`."""
    text: str = _to_builtins(moment)
    return text[:23] + "Z" if len(text) > 20 else text[:19] + ".000Z"


def avatar(key: str | None, width: int, height: int, placeholder: str) -> Avatar | None:
    """The avatar of four columns that are null together."""
    return key and Avatar(key, "/avatars/" + key, f"/avatars/{key}_thumb", width, height, placeholder)  # type: ignore[return-value]


def message(target_id: int, columns: Sequence[Any], now: datetime) -> Message:
    """A message as its reader sees it, of the sixteen columns of the statements."""
    (
        message_id,
        client_id,
        sender_id,
        device_id,
        seq,
        kind,
        body,
        reply_to,
        forwarded_from,
        mentions,
        created_at,
        edited_at,
        deleted_at,
        deleted_by,
        expires_at,
        hidden_at,
    ) = columns
    if deleted_at is not None or hidden_at is not None or (expires_at is not None and expires_at <= now):
        body, mentions, deleted_at = None, _NONE, deleted_at or hidden_at or expires_at
    return Message(
        message_id,
        client_id,
        target_id,
        sender_id,
        device_id,
        seq,
        kind,
        body,
        None,
        _NONE,
        reply_to,
        forwarded_from,
        mentions,
        _NONE,
        at(created_at),
        edited_at and at(edited_at),
        deleted_at and at(deleted_at),
        deleted_by,
        expires_at and at(expires_at),
    )
