"""Events of groups as they are delivered: what they refer to, as the owner of the stream sees it now."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from messenger.actor import Actor
from messenger.repositories.group_events import EventUserRow, GroupEventRow
from messenger.repositories.group_rows import GroupRow
from messenger.repositories.streams import CorruptEvent, StreamRow
from messenger.schemas.groups import GroupPreview, Membership, MemberView
from messenger.schemas.realtime import GroupChangeView, InvitationChangeView, JoinRequestView, MemberChangeView
from messenger.schemas.types import PeerId, timestamp_or_none
from messenger.services._avatar_views import avatar_view
from messenger.services._group_views import group_view, notice_view, rank_name
from messenger.services._views import user_view
from messenger.unit_of_work import UnitOfWork


class _About(msgspec.Struct, frozen=True):
    """What an event of a group keeps: the user that it is about."""

    user_id: PeerId | None = None


_decode = msgspec.json.Decoder(_About).decode


async def read_details(
    uow: UnitOfWork, reader: Actor, rows: Sequence[StreamRow | CorruptEvent]
) -> dict[int, GroupEventRow]:
    """What the group events of a page refer to, by position; no statement for a page without any."""
    events = [
        (row.position, row.event, row.peer_id, row.subject, _decode(row.payload or "{}").user_id)
        for row in rows
        if type(row) is StreamRow and row.event in _SHOW and row.position is not None and row.peer_id is not None
    ]
    return await uow.group_events.find(reader, events) if events else {}


def show(name: str, row: GroupEventRow) -> object | None:
    """The data of an event; None if it is not delivered any more, because the reader has left the group since."""
    return _SHOW[name](row)


def _updated(row: GroupEventRow) -> object | None:
    group = row.group
    notice = None if row.notice is None else notice_view(row.notice)
    if row.ends:
        # Also for a reader who is a member again: nothing of the former membership remains.
        return GroupChangeView(_preview(row), notice)
    return GroupChangeView(group_view(group), notice) if _is_seen(row) else None


def _is_seen(row: GroupEventRow) -> bool:
    """Whether the reader is a member, and the event is none of a former membership."""
    return row.group.rank is not None and row.seen


def _member(row: GroupEventRow) -> object | None:
    user, group = row.user, row.group
    if user is None or not _is_seen(row):
        return None
    is_member = user.member_rank is not None
    notice = None if row.notice is None else notice_view(row.notice)
    return MemberChangeView(
        group.group_id,
        _member_view(user),
        "member" if is_member else "none",
        group.member_count,
        group.group_version,
        notice,
    )


def _invited(row: GroupEventRow) -> object:
    inviter = None if row.user is None else user_view(row.user.user)
    return InvitationChangeView(_preview(row), inviter, row.invitation_message, timestamp_or_none(row.invitation_at))


def _requested(row: GroupEventRow) -> object | None:
    user, group = row.user, row.group
    if group.rank is None or user is None:
        return None
    membership: Membership = "none"
    if user.member_rank is not None:
        membership = "member"
    elif user.asked_at is not None:
        membership = "requested"
    return JoinRequestView(
        group.group_id,
        user_view(user.user),
        user.asked,
        timestamp_or_none(user.asked_at),
        row.pending,
        membership,
    )


_SHOW = {
    "group.updated": _updated,
    "group.member": _member,
    "group.invited": _invited,
    "group.requested": _requested,
}


def _member_view(user: EventUserRow) -> MemberView:
    return MemberView(
        user_view(user.user),
        rank_name(user.member_rank or 0),
        user.member_title,
        timestamp_or_none(user.member_joined_at),
        user.member_invited_by,
        timestamp_or_none(user.member_silenced_until),
    )


def _preview(row: GroupEventRow) -> GroupPreview:
    group = row.group
    membership: Membership = "none"
    if group.rank is not None:
        membership = "member"
    elif row.invitation_at is not None:
        membership = "invited"
    elif row.requested:
        membership = "requested"
    shown = preview_view(group, membership)
    if membership != "none":
        return shown
    # Nothing that may have changed since: the reader may be banned.
    return msgspec.structs.replace(shown, name="", about="", avatar=None, member_count=0)


def preview_view(group: GroupRow, membership: Membership) -> GroupPreview:
    """A group as users see it who are not members."""
    return GroupPreview(
        group.group_id,
        "group",
        group.group_name,
        group.about,
        avatar_view(group.avatar),
        group.member_count,
        group.encrypted,
        approval=False,
        membership=membership,
    )
