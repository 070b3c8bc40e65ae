"""Views made of columns that several statements return alike."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from msgspec import convert

from messenger.schemas.messages import MessageView
from messenger.schemas.types import PeerId, timestamp
from messenger.schemas.users import AvatarView

# What an array of PostgreSQL's need not be: it may hold NULL, and arrays.
_Mentions = list[PeerId]


class AvatarColumns(Protocol):
    @property
    def avatar_key(self) -> str | None: ...
    @property
    def avatar_width(self) -> int | None: ...
    @property
    def avatar_height(self) -> int | None: ...
    @property
    def avatar_placeholder(self) -> str | None: ...


def avatar_view(row: AvatarColumns) -> AvatarView | None:
    """The avatar of a row, or null."""
    return AvatarView.of(row.avatar_key, row.avatar_width, row.avatar_height, row.avatar_placeholder)


class MessageColumns(Protocol):
    @property
    def id(self) -> UUID | None: ...
    @property
    def client_id(self) -> str: ...
    @property
    def target_id(self) -> int: ...
    @property
    def sender_id(self) -> int: ...
    @property
    def sender_device_id(self) -> UUID: ...
    @property
    def seq(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def body(self) -> str | None: ...
    @property
    def reply_to(self) -> UUID | None: ...
    @property
    def forwarded_from(self) -> UUID | None: ...
    @property
    def mentions(self) -> list[int]: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def edited_at(self) -> datetime | None: ...
    @property
    def deleted_at(self) -> datetime | None: ...
    @property
    def expires_at(self) -> datetime | None: ...


def message_view(row: MessageColumns) -> MessageView:
    """A message as its row shows it to the reader. Raises for one that is not there, or not the reader's."""
    # Of all views the one that is made most: it calls as little as it can.
    if row.id is None or row.target_id is None:
        raise LookupError("no message, or one of a conversation that is not the reader's")
    if row.mentions:
        convert(row.mentions, _Mentions)
    return MessageView(
        row.id,
        row.client_id,
        row.target_id,
        row.sender_id,
        row.sender_device_id,
        row.seq,
        row.kind,
        row.body,
        None,
        [],
        row.reply_to,
        row.forwarded_from,
        row.mentions,
        [],
        timestamp(row.created_at),
        None if row.edited_at is None else timestamp(row.edited_at),
        None if row.deleted_at is None else timestamp(row.deleted_at),
        None if row.expires_at is None else timestamp(row.expires_at),
    )
