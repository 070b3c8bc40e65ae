"""Messages and conversations on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from messenger.schemas.groups import GroupView, NoticeView
from messenger.schemas.moments import Moment
from messenger.schemas.types import ClientId, PeerId, Seq, Timestamp
from messenger.schemas.users import AvatarView, UserView

MAX_BODY_BYTES = 65536

# Only NUL is refused: PostgreSQL cannot store it. The size is counted in bytes and has a separate error.
Body = Annotated[
    str,
    Meta(
        min_length=1,
        pattern=r"\A[^\x00]*\Z",
        examples=["See you at eight?"],
        extra_json_schema={"maxLength": MAX_BODY_BYTES},
    ),
]
_BODY_LIMIT = "At most 64 KiB (65,536 bytes) of UTF-8"
MessageId = Annotated[UUID, Meta(examples=["019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f"])]
Kind = Literal["text"]


class MessageDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    target_id: PeerId
    client_id: ClientId
    kind: Kind = "text"
    body: Annotated[Body, Meta(description=f"Required, unless a message is forwarded. {_BODY_LIMIT}")] | UnsetType = (
        UNSET
    )
    reply_to: MessageId | None = None
    forwarded_from: Annotated[
        MessageId | None,
        Meta(description="A message that you can read; its text is copied, so omit `body`"),
    ] = None
    mentions: Annotated[
        list[PeerId],
        Meta(
            max_length=50,
            description="Members of the conversation; other user IDs are dropped",
            examples=[[26040983]],
        ),
    ] = []


class MessagePatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    body: Annotated[Body, Meta(description=_BODY_LIMIT)]


class MessageView(msgspec.Struct, frozen=True, gc=False):
    id: UUID
    client_id: str
    target_id: Annotated[PeerId, Meta(description="The conversation as you address it: in a 1:1, the other user")]
    sender_id: PeerId
    sender_device_id: UUID
    seq: Seq
    kind: str
    body: Annotated[str | None, Meta(description="null if the message was deleted or has expired")]
    envelopes: dict[str, Any] | None
    attachments: list[Any]
    reply_to: UUID | None
    forwarded_from: UUID | None
    mentions: list[PeerId]
    reactions: list[Any]
    created_at: Timestamp
    edited_at: Timestamp | None
    deleted_at: Timestamp | None
    deleted_by: Annotated[PeerId | None, Meta(description="The moderator who deleted it")]
    expires_at: Timestamp | None


EXAMPLE_MESSAGE = MessageView(
    id=UUID("019ab1df-0a11-7d52-9c3f-5e6f708192a3"),
    client_id="0b9c1f7e-6f43-4d2a-9d0e-0c1b2a3d4e5f",
    target_id=50947777,
    sender_id=26040983,
    sender_device_id=UUID("019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f"),
    seq=42,
    kind="text",
    body="See you at eight?",
    envelopes=None,
    attachments=[],
    reply_to=None,
    forwarded_from=None,
    mentions=[],
    reactions=[],
    created_at="2026-11-22T10:15:30.123Z",
    edited_at=None,
    deleted_at=None,
    deleted_by=None,
    expires_at=None,
)
"""The message in the examples of the OpenAPI document."""


class HistoryView(msgspec.Struct, frozen=True, gc=False):
    items: Annotated[list[MessageView], Meta(description="In ascending order of `seq`")]
    next: Annotated[
        int | None, Meta(description="Pass as `before` (or `after`) to get the next page; null on the last one")
    ]
    last_seq: Seq
    first_unread: Annotated[Seq | None, Meta(description="The first message that you have not read; null: none")]
    notices: Annotated[
        list[NoticeView],
        Meta(description="In a group: what has happened within this range, to be shown after `after_seq`"),
    ]


class TargetReceiptView(msgspec.Struct, frozen=True, gc=False):
    """How far the other user of a 1:1 conversation has read and received."""

    read_seq: Seq
    delivered_seq: Seq


class PeerView(msgspec.Struct, frozen=True, gc=False):
    """A user or a group, as the target of a conversation."""

    id: PeerId
    kind: Literal["user", "group"]
    username: Annotated[str | None, Meta(description="null for groups, and if the account was erased")]
    name: str
    avatar: AvatarView | None


class ConversationView(msgspec.Struct, frozen=True, gc=False):
    target: PeerView
    last_message: MessageView | None
    last_seq: Seq
    read_seq: Seq
    unread: Annotated[int, Meta(ge=0)]
    version: Annotated[int, Meta(description="Version of `unread`; of two counts, keep the higher version")]
    muted_until: Timestamp | None
    pinned: bool
    archived: bool
    expire_after: Annotated[int | None, Meta(description="New messages expire after this many seconds; null: never")]
    group: Annotated[GroupView | None, Meta(description="null for 1:1 conversations")]
    target_receipt: Annotated[
        TargetReceiptView | None, Meta(description="null for groups, and for users who do not share it with you")
    ]


class ConversationPage(msgspec.Struct, frozen=True, gc=False):
    items: list[ConversationView]
    next: str | None
    cursor: Annotated[str, Meta(description="Cursor of the event stream; this page reflects all events up to it")]


class ConversationPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    muted_until: (
        Annotated[
            Moment,
            Meta(
                examples=["2026-11-22T10:15:30.123Z"],
                extra_json_schema={"type": "string", "format": "date-time"},
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    pinned: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    expire_after: Annotated[int, Meta(ge=1, le=10 * 365 * 86400, examples=[86400])] | UnsetType | None = UNSET


class MessageReceiptView(msgspec.Struct, frozen=True, gc=False):
    user: UserView
    read: bool
    delivered: bool


class MessageReceiptPage(msgspec.Struct, frozen=True, gc=False):
    """Who has received and read a message of yours, among those who let you know."""

    items: Annotated[list[MessageReceiptView], Meta(description="By ascending ID of the user")]
    next: str | None
    members: Annotated[int | None, Meta(description="Members counted; null 7 days after sending, and in large groups")]
    read: int | None
    delivered: int | None


class ReceiptDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    target_id: PeerId
    read_seq: Seq | None = None
    delivered_seq: Seq | None = None
