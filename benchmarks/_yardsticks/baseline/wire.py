"""The baseline's JSON: pydantic models with our keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from _yardsticks.baseline import models

Instant = Annotated[
    datetime, PlainSerializer(lambda at: at.isoformat(timespec="milliseconds")[:-6] + "Z", return_type=str)
]
PeerId = Annotated[int, Field(ge=1, le=2**53 - 1)]


class Draft(BaseModel):
    model_config = ConfigDict(extra="forbid")

    target_id: PeerId
    client_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]
    kind: Literal["text"] = "text"
    body: Annotated[str, Field(min_length=1, max_length=65536)]
    reply_to: UUID | None = None
    forwarded_from: UUID | None = None
    mentions: Annotated[list[PeerId], Field(max_length=50)] = []


class Avatar(BaseModel):
    key: str
    url: str
    thumb_url: str
    width: int
    height: int
    placeholder: str

    @classmethod
    def of(cls, user: models.User, mutual: bool) -> Avatar | None:
        avatar, shown = user.avatar, user.privacy_avatar
        if avatar is None or not (shown == "everyone" or (shown == "contacts" and mutual)):
            return None
        return cls(
            key=avatar.key,
            url=f"/avatars/{avatar.key}",
            thumb_url=f"/avatars/{avatar.key}_thumb",
            width=avatar.width,
            height=avatar.height,
            placeholder=avatar.placeholder,
        )


class User(BaseModel):
    id: int
    username: str | None
    name: str
    avatar: Avatar | None


class Privacy(BaseModel):
    last_seen: str
    avatar: str
    messages_from: str
    calls_from: str
    groups_from: str
    receipts: str
    forwards: str


class Profile(BaseModel):
    id: int
    username: str
    name: str
    about: str
    avatar: Avatar | None
    status: str
    status_text: str
    last_activity: Instant
    created_at: Instant
    privacy: Privacy


class Contact(BaseModel):
    user: User
    state: str
    alias: str | None
    message: str | None
    since: Instant


class ContactPage(BaseModel):
    items: list[Contact]
    next: str | None


class Status(BaseModel):
    user_id: int
    status: str
    status_text: str
    online: bool
    last_activity: Instant | None


class Statuses(BaseModel):
    items: list[Status]
    next: str | None


class Message(BaseModel):
    id: UUID
    client_id: str
    target_id: int
    sender_id: int
    sender_device_id: UUID
    seq: int
    kind: str
    body: str | None
    envelopes: dict[str, Any] | None = None
    attachments: list[Any] = []
    reply_to: UUID | None
    forwarded_from: UUID | None
    mentions: list[int]
    reactions: list[Any] = []
    created_at: Instant
    edited_at: Instant | None
    deleted_at: Instant | None
    deleted_by: int | None
    expires_at: Instant | None

    @classmethod
    def of(cls, message: models.Message, target_id: int, now: datetime, hidden_at: datetime | None = None) -> Message:
        expired = message.expires_at is not None and message.expires_at <= now
        gone = message.deleted_at or hidden_at or (message.expires_at if expired else None)
        return cls(
            id=message.id,
            client_id=message.client_id,
            target_id=target_id,
            sender_id=message.sender_id,
            sender_device_id=message.sender_device_id,
            seq=message.seq,
            kind=message.kind,
            body=None if gone else message.body,
            reply_to=message.reply_to,
            forwarded_from=message.forwarded_from,
            mentions=[] if gone else message.mentions,
            created_at=message.created_at,
            edited_at=message.edited_at,
            deleted_at=gone,
            deleted_by=message.deleted_by,
            expires_at=message.expires_at,
        )


class History(BaseModel):
    items: list[Message]
    next: int | None
    last_seq: int
    first_unread: int | None
    notices: list[Any]
