"""Who owns a group: transferring it, leaving it, deleting it."""

from __future__ import annotations

from messenger.actor import Caller
from messenger.errors import CannotTargetSelf, PeerNotFound
from messenger.policies.groups import Rank, ensure_rank
from messenger.schemas.groups import GroupDeletionDraft, GroupView, LeaveDraft, TransferDraft
from messenger.services._group_exit import delete_group, leave_group
from messenger.services._group_views import group_view
from messenger.services._groups import notice, open_group, record_group
from messenger.services._passwords import PasswordCheck
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict


class OwnershipService:
    """A group with members has exactly one owner, whatever happens; the database holds it."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter, password: PasswordCheck) -> None:
        self._uow = uow
        self._limiter = limiter
        self._password = password

    async def transfer(self, caller: Caller, group_id: int, draft: TransferDraft) -> GroupView:
        """Make another member the owner; the caller becomes an admin.

        Raises `PeerNotFound`, `InvalidCredentials`, `RankTooLow`, `MemberNotFound`, `CannotTargetSelf`, `RateLimited`.
        """
        await self._ensure_owner(caller, group_id)
        await self._password.confirm(caller, draft.password)
        return await self._transfer(caller, group_id, draft.user_id)

    @retry_on_conflict
    async def _transfer(self, caller: Caller, group_id: int, user_id: int) -> GroupView:
        async with self._uow() as uow:
            opened = await open_group(uow, caller, group_id, user_id)
            ensure_rank(opened.rank, Rank.OWNER)
            if user_id == opened.me.user_id:
                raise CannotTargetSelf
            opened.member(user_id)
            # In this order: at no moment may there be two owners.
            await uow.memberships.change(opened.locked, opened.me.user_id, rank=Rank.ADMIN)
            await uow.memberships.change(opened.locked, user_id, rank=Rank.OWNER)
            await uow.joins.revoke_unentitled(opened.locked)
            owner = notice(uow, "owner", user_id=user_id, before=opened.me.user_id, after=user_id)
            await record_group(uow, opened.locked, [owner])
            row = await uow.groups.find(caller, group_id)
            assert row is not None
            return group_view(row)

    async def leave(self, caller: Caller, group_id: int, draft: LeaveDraft) -> None:
        """End the caller's membership; an owner is succeeded, and the last member deletes the group.

        Idempotent. Raises `MemberNotFound` for a successor who is not a member, `RateLimited`.
        """
        await self._limiter.hit_leased("change", caller)
        await self._leave(caller, group_id, draft.successor_id)

    @retry_on_conflict
    async def _leave(self, caller: Caller, group_id: int, successor_id: int | None) -> None:
        async with self._uow() as uow:
            locked = await uow.group_locks.lock(caller, group_id)
            if locked is None:
                return
            await leave_group(uow, locked, uow.actor.user_id, successor_id=successor_id)

    async def delete(self, caller: Caller, group_id: int, draft: GroupDeletionDraft) -> None:
        """Delete a group. Raises `PeerNotFound`, `InvalidCredentials`, `RankTooLow`, `RateLimited`."""
        await self._ensure_owner(caller, group_id)
        await self._password.confirm(caller, draft.password)
        await self._delete(caller, group_id)

    @retry_on_conflict
    async def _delete(self, caller: Caller, group_id: int) -> None:
        async with self._uow() as uow:
            opened = await open_group(uow, caller, group_id)
            ensure_rank(opened.rank, Rank.OWNER)
            members = await uow.memberships.list_standings(opened.locked)
            await delete_group(uow, opened.locked, [member.user_id for member in members])

    async def _ensure_owner(self, caller: Caller, group_id: int) -> None:
        """Before the password is verified, which is slow: refuse others. Raises `PeerNotFound`, `RankTooLow`."""
        async with self._uow.read() as uow:
            row = await uow.groups.find(caller, group_id)
        if row is None or row.rank is None:
            raise PeerNotFound
        ensure_rank(Rank(row.rank), Rank.OWNER)
