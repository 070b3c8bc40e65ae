"""Groups and notices as their members see them."""

from __future__ import annotations

import functools
from operator import attrgetter
from typing import Any, cast

import msgspec

from messenger.policies.groups import PERMISSIONS, Rank
from messenger.repositories.group_records import NoticeRow
from messenger.repositories.group_rows import GroupRow
from messenger.schemas.groups import (
    GroupSettingsView,
    GroupView,
    LoggedNoticeView,
    NoticeView,
    OwnMembershipView,
    PermissionsView,
    RankName,
    ReactionRuleView,
)
from messenger.schemas.types import timestamp, timestamp_or_none
from messenger.services._avatar_views import avatar_view

_RANK_NAMES = tuple(cast(RankName, rank.name.lower()) for rank in sorted(Rank))
_permission_ranks = attrgetter(*(f"{name}_rank" for name in PERMISSIONS))


def rank_name(rank: int) -> RankName:
    """A rank as the wire names it."""
    return _RANK_NAMES[rank]


def rank_of(name: str) -> Rank:
    """The rank that the wire names so."""
    return Rank[name.upper()]


def group_view(row: GroupRow) -> GroupView:
    """A group as its member sees it."""
    return GroupView(
        id=row.group_id,
        kind="group",
        name=row.group_name,
        about=row.about,
        avatar=avatar_view(row.avatar),
        owner_id=row.owner_id or 0,
        member_count=row.member_count,
        version=row.group_version,
        encrypted=row.encrypted,
        protected=row.protected,
        large=row.large,
        permissions=_permissions_view(_permission_ranks(row)),
        settings=_settings_view(row),
        created_at=timestamp(row.group_created_at),
        me=_own_view(row),
    )


@functools.lru_cache
def _permissions_view(ranks: tuple[int, ...]) -> PermissionsView:
    """Cached: nearly all groups of a list have the same permissions."""
    return PermissionsView(*map(rank_name, ranks))


def _settings_view(row: GroupRow) -> GroupSettingsView:
    return GroupSettingsView(
        history=cast(Any, row.history),
        slow_mode=row.slow_mode,
        notices=cast(Any, row.notices),
        members_visible=cast(Any, row.members_visible),
        reactions=ReactionRuleView(row.reactions_allowed, row.reactions_per_user),
        edit_window=row.edit_window,
        delete_window=row.delete_window,
        edit_history=cast(Any, row.edit_history),
        expire_after=row.group_expire_after,
    )


def _own_view(me: GroupRow) -> OwnMembershipView:
    assert me.rank is not None
    assert me.joined_at is not None
    return OwnMembershipView(
        membership="member",
        role=rank_name(me.rank),
        title=me.title,
        joined_at=timestamp(me.joined_at),
        visible_from=me.visible_from or 0,
        muted_until=timestamp_or_none(me.silenced_until),
        slow_until=timestamp_or_none(me.slow_until),
    )


def notice_view(row: NoticeRow) -> NoticeView:
    """A notice as members see it."""
    return NoticeView(
        row.id,
        row.after_seq,
        timestamp(row.at),
        row.actor_id,
        row.action,
        row.user_id,
        _value(row.before),
        _value(row.after),
    )


def logged_notice_view(row: NoticeRow) -> LoggedNoticeView:
    """A notice as moderators see it, with its reason."""
    return LoggedNoticeView(**msgspec.structs.asdict(notice_view(row)), reason=row.reason)


def _value(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
