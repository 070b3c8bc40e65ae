"""Views of rows, shared by the services."""

from __future__ import annotations

from msgspec import convert

from messenger.policies import is_online, shown_activity, shown_status, shows
from messenger.repositories.conversations import MembershipRow
from messenger.repositories.group_rows import GroupRow
from messenger.repositories.message_rows import MessageRow
from messenger.repositories.user_rows import PersonRow, ProfileRow, StatusRow, UserRow
from messenger.schemas.messages import ConversationView, MessageView, PeerView, TargetReceiptView
from messenger.schemas.types import PeerId, timestamp, timestamp_or_none
from messenger.schemas.users import PersonView, PrivacyView, ProfileView, StatusView, UserView
from messenger.services._avatar_views import avatar_view
from messenger.services._group_views import group_view

# An array of PostgreSQL may also contain NULL, and arrays.
_Mentions = list[PeerId]


def message_view(row: MessageRow) -> MessageView:
    """A message as its reader sees it. Raises `ValidationError` if its mentions are not IDs."""
    # By far the most frequent view, so this function makes as few calls as possible.
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
        row.deleted_by,
        None if row.expires_at is None else timestamp(row.expires_at),
    )


def user_view(row: UserRow) -> UserView:
    """A user as everyone may see them; the statement has applied the privacy of the avatar."""
    # Most users on a page have no avatar, and cost no call.
    return UserView(row.user_id, row.username, row.name, None if row.avatar is None else avatar_view(row.avatar))


def profile_view(row: ProfileRow) -> ProfileView:
    """A user's own profile."""
    return ProfileView(
        id=row.user_id,
        username=row.username or "",
        name=row.name,
        about=row.about,
        avatar=avatar_view(row.avatar),
        status=row.status,
        status_text=row.status_text,
        last_activity=timestamp(row.last_activity),
        created_at=timestamp(row.created_at),
        privacy=PrivacyView(
            row.privacy_last_seen,
            row.privacy_avatar,
            row.privacy_messages_from,
            row.privacy_calls_from,
            row.privacy_groups_from,
            row.privacy_receipts,
            row.privacy_forwards,
        ),
    )


def person_view(row: PersonRow, *, is_self: bool) -> PersonView:
    """Another user, as their privacy settings show them to the caller."""
    mutual = is_self or row.mine == "mutual"
    seen = shows(row.privacy_last_seen, mutual=mutual) and row.theirs != "blocked"
    return PersonView(
        id=row.user_id,
        username=row.username,
        name=row.name,
        about=row.about,
        avatar=avatar_view(row.avatar) if shows(row.privacy_avatar, mutual=mutual) or is_self else None,
        status=shown_status(row.status) if mutual else None,
        status_text=row.status_text if mutual else None,
        online=seen and is_online(row.connected, row.invisible_since),
        last_activity=timestamp(shown_activity(row.last_activity, row.invisible_since)) if seen else None,
        contact=row.mine or "none",
    )


def status_view(row: StatusRow) -> StatusView:
    """A user's status; the statement has applied privacy."""
    at = row.last_activity
    return StatusView(row.user_id, row.status, row.status_text, row.online, None if at is None else timestamp(at))


def conversation_view(
    peer: UserRow, row: MembershipRow, last: MessageRow | None, group: GroupRow | None
) -> ConversationView:
    """A conversation as its member sees it, with its last message; `group`: None for a 1:1."""
    shown = None if group is None else group_view(group)
    return ConversationView(
        PeerView(peer.user_id, "user", peer.username, peer.name, avatar_view(peer.avatar))
        if shown is None
        else PeerView(shown.id, "group", None, shown.name, shown.avatar),
        None if last is None else message_view(last),
        row.last_seq,
        row.read_seq,
        row.unread,
        row.version,
        timestamp_or_none(row.muted_until),
        row.pinned,
        row.archived,
        row.expire_after,
        shown,
        _target_receipt(row),
    )


def _target_receipt(row: MembershipRow) -> TargetReceiptView | None:
    if row.other_read_seq is None or row.other_delivered_seq is None:
        return None
    return TargetReceiptView(row.other_read_seq, row.other_delivered_seq)
