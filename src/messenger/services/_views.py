"""Views that several services make of their rows alike."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from msgspec import convert

from messenger.models import Audience, ContactState, Status
from messenger.policies import is_online, shown_activity, shown_status, shows
from messenger.repositories.message_rows import MessageRow
from messenger.schemas.messages import ConversationView, MessageView, TargetReceiptView
from messenger.schemas.types import PeerId, timestamp, timestamp_or_none
from messenger.schemas.users import PersonView, PrivacyView, ProfileView, StatusView, UserView
from messenger.schemas.views import AvatarColumns, avatar_view

# An array of PostgreSQL may also contain NULL, and arrays.
_Mentions = list[PeerId]


class NameColumns(AvatarColumns, Protocol):
    @property
    def username(self) -> str | None: ...
    @property
    def name(self) -> str: ...


class StatusColumns(Protocol):
    @property
    def status(self) -> Status: ...
    @property
    def status_text(self) -> str: ...
    @property
    def invisible_since(self) -> datetime | None: ...
    @property
    def last_activity(self) -> datetime: ...
    @property
    def privacy_last_seen(self) -> Audience: ...
    @property
    def connected(self) -> bool: ...


class ShownStatusColumns(Protocol):
    @property
    def user_id(self) -> int: ...
    @property
    def status(self) -> Status: ...
    @property
    def status_text(self) -> str: ...
    @property
    def online(self) -> bool: ...
    @property
    def last_activity(self) -> datetime | None: ...


class PersonColumns(NameColumns, StatusColumns, Protocol):
    @property
    def about(self) -> str: ...
    @property
    def privacy_avatar(self) -> Audience: ...
    @property
    def mine(self) -> ContactState | None: ...
    @property
    def theirs(self) -> ContactState | None: ...


class ProfileColumns(NameColumns, Protocol):
    @property
    def about(self) -> str: ...
    @property
    def status(self) -> Status: ...
    @property
    def status_text(self) -> str: ...
    @property
    def last_activity(self) -> datetime: ...
    @property
    def privacy_last_seen(self) -> Audience: ...
    @property
    def privacy_avatar(self) -> Audience: ...
    @property
    def privacy_messages_from(self) -> Audience: ...
    @property
    def privacy_calls_from(self) -> Audience: ...
    @property
    def privacy_groups_from(self) -> Audience: ...


class ConversationColumns(NameColumns, Protocol):
    @property
    def last_seq(self) -> int: ...
    @property
    def read_seq(self) -> int: ...
    @property
    def unread(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def muted_until(self) -> datetime | None: ...
    @property
    def pinned(self) -> bool: ...
    @property
    def archived(self) -> bool: ...
    @property
    def expire_after(self) -> int | None: ...
    @property
    def other_read_seq(self) -> int | None: ...
    @property
    def other_delivered_seq(self) -> int | None: ...


def message_view(row: MessageRow) -> MessageView:
    """A message as its reader sees it. Raises `ValidationError` if its mentions are not IDs."""
    # The most frequent view by far: it makes as few calls as possible.
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


def user_view(user_id: int, row: NameColumns) -> UserView:
    """A user as everyone may see them; the row's avatar is chosen by the statement."""
    # Pages are full of users, most of whom have no avatar.
    return UserView(user_id, row.username, row.name, None if row.avatar_key is None else avatar_view(row))


def profile_view(user_id: int, row: ProfileColumns, *, created_at: datetime) -> ProfileView:
    """One's own profile."""
    return ProfileView(
        id=user_id,
        username=row.username or "",
        name=row.name,
        about=row.about,
        avatar=None if row.avatar_key is None else avatar_view(row),
        status=row.status,
        status_text=row.status_text,
        last_activity=timestamp(row.last_activity),
        created_at=timestamp(created_at),
        privacy=PrivacyView(
            row.privacy_last_seen,
            row.privacy_avatar,
            row.privacy_messages_from,
            row.privacy_calls_from,
            row.privacy_groups_from,
        ),
    )


def person_view(user_id: int, row: PersonColumns, *, is_self: bool) -> PersonView:
    """Another user as their privacy shows them to the one who asks."""
    mutual = is_self or row.mine == "mutual"
    seen = shows(row.privacy_last_seen, mutual=mutual) and row.theirs != "blocked"
    return PersonView(
        id=user_id,
        username=row.username,
        name=row.name,
        about=row.about,
        avatar=avatar_view(row) if shows(row.privacy_avatar, mutual=mutual) or is_self else None,
        status=shown_status(row.status) if mutual else None,
        status_text=row.status_text if mutual else None,
        online=seen and is_online(row.connected, row.invisible_since),
        last_activity=timestamp(shown_activity(row.last_activity, row.invisible_since)) if seen else None,
        contact=row.mine or "none",
    )


def status_view(row: ShownStatusColumns) -> StatusView:
    """How a user is; what shows of it is chosen by the statement."""
    at = row.last_activity
    return StatusView(row.user_id, row.status, row.status_text, row.online, None if at is None else timestamp(at))


def conversation_view(peer_id: int, row: ConversationColumns, last: MessageRow | None) -> ConversationView:
    """A conversation as its member sees it, with its last message."""
    return ConversationView(
        user_view(peer_id, row),
        None if last is None else message_view(last),
        row.last_seq,
        row.read_seq,
        row.unread,
        row.version,
        timestamp_or_none(row.muted_until),
        row.pinned,
        row.archived,
        row.expire_after,
        _target_receipt(row),
    )


def _target_receipt(row: ConversationColumns) -> TargetReceiptView | None:
    if row.other_read_seq is None or row.other_delivered_seq is None:
        return None
    return TargetReceiptView(row.other_read_seq, row.other_delivered_seq)
