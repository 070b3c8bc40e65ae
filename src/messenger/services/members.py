"""Members of groups: listing them, changing their rank, title or mute, removing them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from messenger.actor import Caller
from messenger.errors import PeerNotFound
from messenger.errors.groups import GroupFull, MemberNotFound, NotPermitted
from messenger.limits import MAX_STAFF
from messenger.policies.groups import Rank, ensure_above, ensure_gives_rank, ensure_lowers_own_rank, ensure_rank
from messenger.repositories.group_locks import Notice
from messenger.repositories.member_pages import MemberRow
from messenger.repositories.memberships import StandingRow
from messenger.schemas.groups import TITLE_LENGTH, MemberPage, MemberPatch, MemberView, RankName
from messenger.schemas.moments import Moment, plain
from messenger.schemas.text import clean_name
from messenger.schemas.types import timestamp_or_none
from messenger.services._group_views import rank_name, rank_of
from messenger.services._groups import OpenGroup, end_membership, notice, open_group, record_members
from messenger.services._purges import Purged, request_purge
from messenger.services._views import user_view
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict


class MemberService:
    """Members are listed in one round trip; every change locks the group."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter) -> None:
        self._uow = uow
        self._limiter = limiter

    async def list_page(
        self,
        caller: Caller,
        group_id: int,
        *,
        after: tuple[int, int],
        role: RankName | None = None,
        query: str | None = None,
        limit: int,
    ) -> MemberPage:
        """Members by descending rank, then by ID. `after`: the negative rank and the ID of the last one before.

        Raises `PeerNotFound`, and `NotPermitted` if the group shows its members to moderators only.
        """
        rank = None if role is None else int(rank_of(role))
        pattern = None if query is None else _escaped(query.lower())
        async with self._uow.read() as uow:
            rows = await uow.member_pages.list_members(
                caller, group_id, after=after, rank=rank, query=pattern, limit=limit + 1
            )
        return _page(_seen(rows), limit)

    async def list_invited(self, caller: Caller, group_id: int, *, after: int, limit: int) -> MemberPage:
        """Users with an open invitation, by ID. Raises `PeerNotFound`, `NotPermitted`."""
        async with self._uow.read() as uow:
            rows = await uow.member_pages.list_invited(caller, group_id, after=after, limit=limit + 1)
        return _page(_seen(rows), limit)

    async def get(self, caller: Caller, group_id: int, user_id: int) -> MemberView:
        """One member. Raises `PeerNotFound`, `MemberNotFound`, and `NotPermitted` as `list_page` does."""
        async with self._uow.read() as uow:
            row = await uow.member_pages.find(caller, group_id, user_id)
            actor = uow.actor
        if row is None:
            raise PeerNotFound
        if user_id != actor.user_id:
            _ensure_visible(row)
        if row.user is None:
            raise MemberNotFound
        return member_view(row)

    async def update(self, caller: Caller, group_id: int, user_id: int, patch: MemberPatch) -> MemberView:
        """Change the rank, the title or the mute of a member.

        Raises `PeerNotFound`, `MemberNotFound`, `RankTooLow`, `SuccessorNeeded`, `RateLimited`, `ValidationFailed`.
        """
        await self._count(caller, group_id)
        if isinstance(patch.title, str):
            patch = msgspec.structs.replace(patch, title=clean_name(patch.title, limit=TITLE_LENGTH, field="title"))
        return await self._update(caller, group_id, user_id, patch)

    @retry_on_conflict
    async def _update(self, caller: Caller, group_id: int, user_id: int, patch: MemberPatch) -> MemberView:
        async with self._uow() as uow:
            opened = await open_group(uow, caller, group_id, user_id)
            notices = await _change(uow, opened, user_id, patch)
            if notices is not None:
                await record_members(uow, opened.locked, notices, changed=() if notices else [user_id])
            row = await uow.member_pages.find(caller, group_id, user_id)
            assert row is not None
            return member_view(row)

    async def remove(self, caller: Caller, group_id: int, user_id: int, *, messages: Purged = "none") -> None:
        """End the membership of someone of a lower rank, and delete their messages of the last day, all, or none.

        Idempotent. Raises `PeerNotFound`, `RankTooLow`, `RateLimited`.
        """
        await self._count(caller, group_id)
        await self._remove(caller, group_id, user_id, messages)

    @retry_on_conflict
    async def _remove(self, caller: Caller, group_id: int, user_id: int, messages: Purged) -> None:
        async with self._uow() as uow:
            opened = await open_group(uow, caller, group_id, user_id)
            rank = opened.users[user_id].rank
            ensure_rank(opened.rank, Rank.MODERATOR)
            if rank is None:
                return
            ensure_above(opened.rank, Rank(rank))
            await end_membership(uow, opened.locked, user_id)
            await request_purge(uow, opened.locked, user_id, messages)
            await record_members(uow, opened.locked, [notice(uow, "removed", user_id=user_id)], left=[user_id])

    async def _count(self, caller: Caller, group_id: int) -> None:
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
        await self._limiter.hit("moderate", f"{group_id}:{actor.user_id}")


async def _change(uow: UnitOfWork, opened: OpenGroup, user_id: int, patch: MemberPatch) -> list[Notice] | None:
    """Apply a patch to a member; returns the notices, or None if nothing changes."""
    member = opened.member(user_id)
    rank = Rank(member.rank or 0)
    changes: dict[str, Any] = {}
    notices: list[Notice] = []
    if isinstance(patch.role, str):
        new = _new_rank(opened, member, rank_of(patch.role))
        if new != rank:
            if rank < Rank.MODERATOR <= new:
                _ensure_room_for_staff(await uow.memberships.count_staff(opened.locked))
            changes["rank"] = int(new)
            notices.append(notice(uow, "role", user_id=user_id, before=rank_name(rank), after=patch.role))
    if patch.title is not UNSET:
        title = _new_title(opened, member, patch.title)
        if title != member.title:
            changes |= {"set_title": True, "title": title}
    if patch.muted_until is not UNSET:
        ensure_above(opened.rank, rank)
        until = plain(patch.muted_until) if isinstance(patch.muted_until, Moment) else None
        if until != member.silenced_until:
            changes |= {"set_silenced": True, "silenced_until": until}
            before, after = timestamp_or_none(member.silenced_until), timestamp_or_none(until)
            notices.append(notice(uow, "muted", user_id=user_id, before=before, after=after))
    if not changes:
        return None
    await uow.memberships.change(opened.locked, user_id, **changes)
    if changes.get("rank", rank) < rank:
        await uow.joins.revoke_unentitled(opened.locked)
    return notices


def _new_rank(opened: OpenGroup, member: StandingRow, new: Rank) -> Rank:
    """The rank that the caller gives a member. Raises `RankTooLow`, `SuccessorNeeded`."""
    if member.user_id == opened.me.user_id:
        ensure_lowers_own_rank(opened.rank, new)
    else:
        ensure_gives_rank(opened.rank, Rank(member.rank or 0), new)
    return new


def _new_title(opened: OpenGroup, member: StandingRow, title: str | UnsetType | None) -> str | None:
    """The title that the caller gives a member. Raises `RankTooLow`."""
    if member.user_id == opened.me.user_id:
        ensure_rank(opened.rank, Rank.ADMIN)
    else:
        ensure_gives_rank(opened.rank, Rank(member.rank or 0), Rank(member.rank or 0))
    return title if isinstance(title, str) else None


def _ensure_room_for_staff(count: int) -> None:
    if count >= MAX_STAFF:
        raise GroupFull("The group has as many admins and moderators as it may have")


def _seen(rows: list[MemberRow]) -> list[MemberRow]:
    """The rows of a page whose reader may see it. Raises `PeerNotFound`, `NotPermitted`."""
    if not rows:
        raise PeerNotFound
    _ensure_visible(rows[0])
    return [row for row in rows if row.user is not None]


def _ensure_visible(row: MemberRow) -> None:
    if row.members_visible == "moderators" and row.my_rank < Rank.MODERATOR:
        raise NotPermitted(extra={"permission": "members_visible"})


def _page(rows: list[MemberRow], limit: int) -> MemberPage:
    more = len(rows) > limit
    shown = rows[:limit]
    last = shown[-1] if more else None
    after = None if last is None or last.user is None else f"{last.rank or 0}.{last.user.user_id}"
    return MemberPage([member_view(row) for row in shown], after)


def _escaped(text: str) -> str:
    """The text as a pattern of LIKE that matches only itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def member_view(row: MemberRow) -> MemberView:
    """A member as other members see them."""
    assert row.user is not None
    return MemberView(
        user_view(row.user),
        rank_name(row.rank or 0),
        row.title,
        timestamp_or_none(row.joined_at),
        row.invited_by,
        timestamp_or_none(row.silenced_until),
    )
