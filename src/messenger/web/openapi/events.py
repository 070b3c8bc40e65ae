"""The events in the OpenAPI document: one schema for each name, so that generated clients can distinguish them."""

from __future__ import annotations

from typing import Any, get_args
from uuid import UUID

import msgspec
from msgspec.structs import replace

from messenger.schemas.accounts import DeviceView
from messenger.schemas.groups import (
    GroupPreview,
    GroupSettingsView,
    GroupView,
    MemberView,
    NoticeView,
    OwnMembershipView,
    PermissionsView,
    ReactionRuleView,
)
from messenger.schemas.messages import EXAMPLE_MESSAGE, ConversationView, MessageView, PeerView, TargetReceiptView
from messenger.schemas.realtime import (
    EVENT_DATA,
    ContactChangeView,
    EventFrame,
    GroupChangeView,
    InvitationChangeView,
    JoinRequestView,
    MemberChangeView,
    ReceiptView,
    RemovedDeviceView,
    stream_cursor,
)
from messenger.schemas.users import AvatarView, PersonView, PrivacyView, ProfileView, UserView
from messenger.web.openapi.schemas import REFERENCE, reference

_ADA, _BOB = 26040983, 50947777
_PHONE = UUID("019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f")
_SENT, _EDITED, _DELETED = "2026-11-22T10:15:30.123Z", "2026-11-22T10:16:04.567Z", "2026-11-22T10:17:12.890Z"
_KEY = "debb0f2177d7ccbd9cb562a83968d14bcc9dedfc3a46b79c2d5f5a1e0e9b736d"
_AVATAR = AvatarView(_KEY, f"/avatars/{_KEY}", f"/avatars/{_KEY}_thumb", 256, 256, "KRcONwoHd4hxiYmGemeHaIeJB1NHYHwH")
_BOB_VIEW = UserView(_BOB, "bob", "Bob", None)


def _message(body: str | None, *, edited_at: str | None = None, deleted_at: str | None = None) -> MessageView:
    return msgspec.structs.replace(EXAMPLE_MESSAGE, body=body, edited_at=edited_at, deleted_at=deleted_at)


_CONVERSATION = ConversationView(
    target=PeerView(_BOB, "user", "bob", "Bob", None),
    last_message=_message("See you at eight?"),
    last_seq=42,
    read_seq=42,
    unread=0,
    version=84,
    muted_until=None,
    pinned=True,
    archived=False,
    expire_after=None,
    group=None,
    target_receipt=TargetReceiptView(read_seq=41, delivered_seq=42),
)
_PROFILE = ProfileView(
    id=_ADA,
    username="ada",
    name="Ada Lovelace",
    about="Poet of numbers",
    avatar=_AVATAR,
    status="busy",
    status_text="Reading",
    last_activity=_SENT,
    created_at="2026-10-01T08:00:00.000Z",
    privacy=PrivacyView("contacts", "everyone", "contacts", "contacts", "contacts", "contacts", "contacts"),
)
_PERSON = PersonView(
    id=_BOB,
    username="bob",
    name="Bob",
    avatar=None,
    about="",
    status="online",
    status_text="",
    online=True,
    last_activity=_SENT,
    contact="mutual",
)
_DEVICE = DeviceView(id=_PHONE, name="Ada's phone", created_at=_SENT, last_activity=_SENT, current=False)

_READING = 52_006_113
_GROUP = GroupView(
    id=_READING,
    kind="group",
    name="Reading group",
    about="A book a month",
    avatar=_AVATAR,
    owner_id=_ADA,
    member_count=2,
    version=7,
    encrypted=False,
    protected=False,
    large=False,
    permissions=PermissionsView(
        "member", "member", "member", "member", "member", "moderator", "moderator", "member", "moderator", "admin"
    ),
    settings=GroupSettingsView("none", 0, "all", "members", ReactionRuleView(None, 3), 172_800, None, "members", None),
    created_at="2026-10-01T08:00:00.000Z",
    me=OwnMembershipView("member", "owner", None, "2026-10-01T08:00:00.000Z", 0, None, None),
)
_PREVIEW = GroupPreview(
    _READING, "group", "Reading group", "A book a month", _AVATAR, 2, encrypted=False, approval=False, membership="none"
)
_BOB_MEMBER = MemberView(_BOB_VIEW, "member", None, _SENT, _ADA, None)
_RENAMED = NoticeView(_PHONE, 42, _SENT, _ADA, "renamed", None, "Readers", "Reading group")
_JOINED = NoticeView(_PHONE, 42, _SENT, _BOB, "joined", _BOB, None, None)

_EXAMPLES: dict[str, list[msgspec.Struct]] = {
    "message.created": [_message("See you at eight?")],
    "message.edited": [_message("See you at nine?", edited_at=_EDITED)],
    "message.deleted": [_message(None, deleted_at=_DELETED)],
    "receipt.updated": [
        ReceiptView(_BOB, _BOB, read_seq=42, delivered_seq=42, unread=None, version=None),
        ReceiptView(_BOB, _ADA, read_seq=42, delivered_seq=42, unread=0, version=84),
    ],
    "conversation.updated": [_CONVERSATION],
    "contact.updated": [ContactChangeView(_BOB, _BOB_VIEW, "mutual", "Bob from work", None, _SENT)],
    "profile.updated": [_PROFILE, _PERSON],
    "device.added": [_DEVICE],
    "device.removed": [RemovedDeviceView(_PHONE)],
    "group.updated": [GroupChangeView(_GROUP, _RENAMED), GroupChangeView(_PREVIEW, None)],
    "group.member": [MemberChangeView(_READING, _BOB_MEMBER, "member", 2, 8, _JOINED)],
    "group.invited": [InvitationChangeView(replace(_PREVIEW, membership="invited"), _BOB_VIEW, None, _SENT)],
    "group.requested": [JoinRequestView(_READING, _BOB_VIEW, "It's Bob", _SENT, 1, "requested")],
}
_DESCRIPTIONS = {
    "message.created": "A message was sent.",
    "message.edited": "A message was edited.",
    "message.deleted": "A message was deleted for everyone (its `body` is null), or you hid it.",
    "receipt.updated": "A user has read or received more of a conversation.",
    "conversation.updated": "The settings, receipts, unread count or last message of a conversation changed.",
    "contact.updated": "The state or the alias of a contact changed; `none`: the contact ended.",
    "profile.updated": "Your profile changed (as in `GET /profile`), or a contact's (as in `GET /users/{user_id}`).",
    "device.added": "A device signed in to your account.",
    "device.removed": "A device of your account was signed out.",
    "group.updated": "A group changed, or you joined or left it. It is the last event of a group that you have left.",
    "group.member": "A user joined a group, left it, or changed as a member.",
    "group.invited": "You were invited to a group, or the invitation ended.",
    "group.requested": "A user asked to join a group that you moderate, or the request ended.",
}


def schema_name(event: str) -> str:
    """The schema of an event: `MessageCreatedEvent` for `message.created`."""
    return "".join(part.capitalize() for part in event.split(".")) + "Event"


def describe_events(schemas: dict[str, Any]) -> None:
    """Make `EventFrame` a union of the events, each with its own schema and examples."""
    frame = schemas["EventFrame"]
    mapping = {}
    for position, (event, data) in enumerate(EVENT_DATA.items(), start=41):
        schemas[schema_name(event)] = _schema(frame, event, data, position)
        mapping[event] = REFERENCE.format(name=schema_name(event))
    schemas["EventFrame"] = {
        "title": "EventFrame",
        "type": "object",
        "description": "An event of the stream. Ignore events with an unknown name: later releases may add some.",
        "oneOf": [{"$ref": target} for target in mapping.values()],
        "discriminator": {"propertyName": "event", "mapping": mapping},
    }


def _schema(frame: dict[str, Any], event: str, data: Any, position: int) -> dict[str, Any]:
    kinds = [reference(kind.__name__) for kind in get_args(data) or (data,)]
    examples = [EventFrame(stream_cursor(position), event, _SENT, example) for example in _EXAMPLES[event]]
    return {
        **frame,
        "title": schema_name(event),
        "description": _DESCRIPTIONS[event],
        "properties": {
            **frame["properties"],
            "event": {"type": "string", "const": event},
            "data": kinds[0] if len(kinds) == 1 else {"oneOf": kinds},
        },
        "examples": [msgspec.to_builtins(example) for example in examples],
    }
