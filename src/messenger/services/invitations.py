"""Invitations to groups: nobody becomes a member without consent, given now or beforehand."""

from __future__ import annotations

from datetime import timedelta

from messenger.actor import Caller
from messenger.errors.groups import InvitationNotFound
from messenger.events import GroupInvited
from messenger.policies.groups import Rank, ensure_permitted
from messenger.schemas.admission import (
    DeclineDraft,
    InvitationOutcomes,
    InvitationPage,
    InvitationsDraft,
)
from messenger.schemas.groups import GroupView
from messenger.schemas.text import REQUEST_LENGTH, clean_text
from messenger.services._group_views import group_view
from messenger.services._groups import admit, notice, open_group, record_members
from messenger.services._invitations import invitation_view, invite_users
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict

DECLINED_FOR = timedelta(days=30)


class InvitationService:
    """Invitations are written under the lock of the group."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter) -> None:
        self._uow = uow
        self._limiter = limiter

    async def invite(self, caller: Caller, group_id: int, draft: InvitationsDraft) -> InvitationOutcomes:
        """Invite users, each with an outcome of its own.

        Raises `PeerNotFound`, `NotPermitted`, `RateLimited`, `ValidationFailed`.
        """
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
        users = list(dict.fromkeys(draft.user_ids))
        await self._limiter.hit("invite", actor.user_id, cost=len(users))
        message = None
        if draft.message is not None:
            message = clean_text(draft.message, limit=REQUEST_LENGTH, field="message")
        return await self._invite(caller, group_id, users, message)

    @retry_on_conflict
    async def _invite(self, caller: Caller, group_id: int, users: list[int], message: str | None) -> InvitationOutcomes:
        async with self._uow() as uow:
            opened = await open_group(uow, caller, group_id)
            group = await uow.group_settings.get(group_id)
            ensure_permitted(opened.rank, "invite", Rank(group.invite_rank), member_count=group.member_count)
            return InvitationOutcomes(await invite_users(uow, self._limiter, opened, group, users, message=message))

    async def withdraw(self, caller: Caller, group_id: int, user_id: int) -> None:
        """Take an invitation back; inviters their own, moderators any. Idempotent. Raises `PeerNotFound`."""
        await self._limiter.hit_leased("change", caller)
        await self._withdraw(caller, group_id, user_id)

    @retry_on_conflict
    async def _withdraw(self, caller: Caller, group_id: int, user_id: int) -> None:
        async with self._uow() as uow:
            opened = await open_group(uow, caller, group_id)
            inviter_id = None if opened.rank >= Rank.MODERATOR else opened.me.user_id
            seen = await uow.invitations.find_inviter(opened.locked, user_id) is not None
            if await uow.invitations.remove(opened.locked, user_id, inviter_id=inviter_id) and seen:
                uow.record(GroupInvited(group_id), [user_id])

    async def list_page(self, caller: Caller, *, after: int, limit: int) -> InvitationPage:
        """The caller's invitations by ascending ID of the group."""
        async with self._uow.read() as uow:
            rows = await uow.invitations.list_page(caller, after=after, limit=limit + 1)
        shown = rows[:limit]
        more = len(rows) > limit
        return InvitationPage([invitation_view(row) for row in shown], str(shown[-1].group_id) if more else None)

    async def accept(self, caller: Caller, group_id: int) -> GroupView:
        """Become a member by an invitation; a member gets the group. Raises `InvitationNotFound`, `GroupFull`,
        `TooManyGroups`, `RateLimited`.
        """
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
        await self._limiter.hit("join", actor.user_id)
        return await self._accept(caller, group_id)

    @retry_on_conflict
    async def _accept(self, caller: Caller, group_id: int) -> GroupView:
        async with self._uow() as uow:
            locked = await uow.group_locks.lock(caller, group_id)
            if locked is None:
                raise InvitationNotFound
            user_id = uow.actor.user_id
            me = (await uow.memberships.standing(locked, [user_id]))[user_id]
            if me.rank is None:
                inviter_id = await uow.invitations.find_inviter(locked, user_id)
                if me.banned or inviter_id is None:
                    raise InvitationNotFound
                await admit(uow, locked, await uow.group_settings.get(group_id), user_id, inviter_id=inviter_id)
                await record_members(uow, locked, [notice(uow, "joined", user_id=user_id)], joined=[user_id])
                uow.record(GroupInvited(group_id), [user_id])
            row = await uow.groups.find(caller, group_id)
            assert row is not None
            return group_view(row)

    async def decline(self, caller: Caller, group_id: int, draft: DeclineDraft) -> None:
        """Decline an invitation; others to this group are not delivered for 30 days, or ever. Idempotent.

        Nobody is notified except the caller's own devices.
        """
        await self._limiter.hit_leased("change", caller)
        await self._decline(caller, group_id, forever=draft.forever)

    @retry_on_conflict
    async def _decline(self, caller: Caller, group_id: int, *, forever: bool) -> None:
        async with self._uow() as uow:
            locked = await uow.group_locks.lock(caller, group_id)
            user_id = uow.actor.user_id
            if locked is None or await uow.invitations.find_inviter(locked, user_id) is None:
                return
            await uow.invitations.decline(locked, user_id, until=None if forever else uow.now + DECLINED_FOR)
            uow.record(GroupInvited(group_id), [user_id])
