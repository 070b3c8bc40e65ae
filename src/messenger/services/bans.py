"""Bans from groups."""

from __future__ import annotations

from messenger.actor import Caller
from messenger.errors import FieldError, PeerNotFound, ValidationFailed
from messenger.errors.groups import GroupFull
from messenger.events import GroupInvited
from messenger.limits import MAX_BANS
from messenger.policies.groups import Rank, ensure_above, ensure_rank
from messenger.repositories.group_records import BanRow
from messenger.schemas.admission import REASON_LENGTH, BanDraft, BanPage, BanView
from messenger.schemas.moments import plain
from messenger.schemas.text import clean_text
from messenger.schemas.types import timestamp, timestamp_or_none
from messenger.services._groups import end_membership, notice, open_group, record_members
from messenger.services._purges import request_purge
from messenger.services._views import user_view
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict


class BanService:
    """Bans are written under the lock of the group, so that a message or a join is either before one or refused."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter) -> None:
        self._uow = uow
        self._limiter = limiter

    async def ban(self, caller: Caller, group_id: int, user_id: int, draft: BanDraft) -> BanView:
        """Ban a user, member or not; ends a membership, an invitation and a request.

        Raises `PeerNotFound`, `RankTooLow`, `RateLimited`, `ValidationFailed`.
        """
        async with self._uow.read() as uow:
            actor, now = await uow.devices.authenticate(caller), uow.now
        await self._limiter.hit("moderate", f"{group_id}:{actor.user_id}")
        if draft.until is not None and draft.until <= now:
            raise ValidationFailed("until: in the past", errors=(FieldError("until", "too_early", "in the past"),))
        reason = None
        if draft.reason is not None:
            reason = clean_text(draft.reason, limit=REASON_LENGTH, field="reason")
        return await self._ban(caller, group_id, user_id, draft, reason)

    @retry_on_conflict
    async def _ban(self, caller: Caller, group_id: int, user_id: int, draft: BanDraft, reason: str | None) -> BanView:
        async with self._uow() as uow:
            opened = await open_group(uow, caller, group_id, user_id)
            ensure_rank(opened.rank, Rank.MODERATOR)
            user = opened.users[user_id]
            ensure_above(opened.rank, Rank(user.rank or 0))
            known, count = await uow.group_records.bannable(opened.locked, user_id)
            if not known:
                raise PeerNotFound
            if count >= MAX_BANS and not user.banned:
                raise GroupFull("The group has as many bans as it may have")
            invited = await uow.invitations.find_inviter(opened.locked, user_id) is not None
            await uow.group_records.ban(
                opened.locked, user_id, by_id=opened.me.user_id, reason=reason, until=draft.until
            )
            if user.rank is not None:
                await end_membership(uow, opened.locked, user_id)
            await request_purge(uow, opened.locked, user_id, draft.messages)
            until = None if draft.until is None else timestamp(plain(draft.until))
            left = [user_id] if user.rank is not None else []
            if left or not user.banned:
                banned = notice(uow, "banned", user_id=user_id, after=until, reason=reason)
                await record_members(uow, opened.locked, [banned], left=left)
            if invited:
                uow.record(GroupInvited(group_id), [user_id])
            (row,) = await uow.group_records.list_bans(group_id, opened.me.user_id, user_id=user_id)
            return _ban_view(row)

    async def unban(self, caller: Caller, group_id: int, user_id: int) -> None:
        """End a ban. Idempotent. Raises `PeerNotFound`, `RankTooLow`."""
        await self._limiter.hit_leased("change", caller)
        await self._unban(caller, group_id, user_id)

    @retry_on_conflict
    async def _unban(self, caller: Caller, group_id: int, user_id: int) -> None:
        async with self._uow() as uow:
            opened = await open_group(uow, caller, group_id)
            ensure_rank(opened.rank, Rank.MODERATOR)
            await uow.group_records.unban(opened.locked, user_id)

    async def list_page(self, caller: Caller, group_id: int, *, after: int, limit: int) -> BanPage:
        """Bans that have not ended, by ID of the user. Raises `PeerNotFound`, `RankTooLow`."""
        async with self._uow.read() as uow:
            group = await uow.groups.find(caller, group_id)
            if group is None or group.rank is None:
                raise PeerNotFound
            ensure_rank(Rank(group.rank), Rank.MODERATOR)
            rows = await uow.group_records.list_bans(group_id, uow.actor.user_id, after=after, limit=limit + 1)
        more = len(rows) > limit
        return BanPage([_ban_view(row) for row in rows[:limit]], str(rows[limit - 1].user.user_id) if more else None)


def _ban_view(row: BanRow) -> BanView:
    return BanView(user_view(row.user), row.by_id, row.reason, timestamp_or_none(row.until), timestamp(row.at))
