"""Links to groups: making and revoking them, joining by them, and requests to join."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import UNSET

from messenger.actor import Caller
from messenger.clock import new_id
from messenger.errors import Overloaded, PeerNotFound
from messenger.errors.groups import LinkNotFound, LinkUsedUp, RequestNotFound, TooManyLinks
from messenger.events import GroupRequested
from messenger.limits import MAX_LINKS, MAX_REQUESTS
from messenger.models import Group, GroupLink
from messenger.policies.groups import Rank, ensure_permitted, ensure_rank
from messenger.repositories.group_links import LinkRow
from messenger.repositories.group_locks import LockedGroup
from messenger.schemas.admission import (
    LINK_NAME_LENGTH,
    JoinDraft,
    JoinedView,
    LinkDraft,
    LinkPage,
    LinkPatch,
    LinkView,
    MembershipView,
    RequestPage,
)
from messenger.schemas.groups import GroupPreview
from messenger.schemas.text import REQUEST_LENGTH, clean_name, clean_text
from messenger.services._group_views import group_view
from messenger.services._groups import OpenGroup, admit, notice, open_group, record_members
from messenger.services._link_views import link_preview, link_view, request_view
from messenger.services.idempotency import IdempotencyKey, find_response, keep_response
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict

LINK_DAYS = 7
TOKEN_BYTES = 24
"""192 random bits, as 32 characters of base64url."""


class GroupLinkService:
    """Links of a group are seen, changed and revoked by everyone who may make them."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter) -> None:
        self._uow = uow
        self._limiter = limiter

    async def create(
        self, caller: Caller, group_id: int, draft: LinkDraft, *, once: IdempotencyKey | None = None
    ) -> LinkView:
        """A new link. Raises `PeerNotFound`, `NotPermitted`, `TooManyLinks`, `ValidationFailed`."""
        await self._limiter.hit_leased("change", caller)
        name = None if draft.name is None else clean_name(draft.name, limit=LINK_NAME_LENGTH)
        return await self._create(caller, group_id, draft, name, once)

    @retry_on_conflict
    async def _create(
        self, caller: Caller, group_id: int, draft: LinkDraft, name: str | None, once: IdempotencyKey | None
    ) -> LinkView:
        async with self._uow() as uow:
            opened, _ = await _open(uow, caller, group_id)
            earlier = await find_response(uow, opened.me.user_id, once, LinkView)
            if earlier is not None:
                return earlier
            if len(await uow.joins.list_links(group_id)) >= MAX_LINKS:
                raise TooManyLinks
            default = uow.now + timedelta(days=LINK_DAYS)
            link = GroupLink(
                id=new_id(),
                group_id=group_id,
                token=secrets.token_urlsafe(TOKEN_BYTES),
                name=name,
                approval=draft.approval,
                created_by=opened.me.user_id,
                created_at=uow.now,
                expires_at=default if draft.expires_at is UNSET else draft.expires_at,
                max_uses=draft.max_uses,
                uses=0,
            )
            await uow.group_links.add(link)
            view = link_view((await uow.joins.list_links(group_id, link.id))[0])
            await keep_response(uow, opened.me.user_id, once, view)
            return view

    async def list_links(self, caller: Caller, group_id: int) -> LinkPage:
        """All links of a group, latest first. Raises `PeerNotFound`, `NotPermitted`."""
        async with self._uow.read() as uow:
            row = await uow.groups.find(caller, group_id)
            if row is None or row.rank is None:
                raise PeerNotFound
            ensure_permitted(Rank(row.rank), "link", Rank(row.link_rank), member_count=row.member_count)
            links = await uow.joins.list_links(group_id)
        return LinkPage([link_view(link) for link in links], None)

    async def update(self, caller: Caller, group_id: int, link_id: UUID, patch: LinkPatch) -> LinkView:
        """Change a link. Raises `PeerNotFound`, `NotPermitted`, `LinkNotFound`, `ValidationFailed`."""
        await self._limiter.hit_leased("change", caller)
        if isinstance(patch.name, str):
            patch = msgspec.structs.replace(patch, name=clean_name(patch.name, limit=LINK_NAME_LENGTH))
        return await self._update(caller, group_id, link_id, patch)

    @retry_on_conflict
    async def _update(self, caller: Caller, group_id: int, link_id: UUID, patch: LinkPatch) -> LinkView:
        async with self._uow() as uow:
            await _open(uow, caller, group_id)
            link = await uow.group_links.get_one_or_none(id=link_id, group_id=group_id)
            if link is None:
                raise LinkNotFound
            if patch.name is not UNSET:
                link.name = patch.name if isinstance(patch.name, str) else None
            if patch.expires_at is not UNSET:
                link.expires_at = patch.expires_at if isinstance(patch.expires_at, datetime) else None
            if patch.max_uses is not UNSET:
                link.max_uses = patch.max_uses if isinstance(patch.max_uses, int) else None
            if isinstance(patch.approval, bool):
                link.approval = patch.approval
            # The statement that follows reads the row.
            await uow.flush()
            return link_view((await uow.joins.list_links(group_id, link_id))[0])

    async def revoke(self, caller: Caller, group_id: int, link_id: UUID | None = None) -> None:
        """Revoke a link, or all. Idempotent. Raises `PeerNotFound`, `NotPermitted`."""
        await self._limiter.hit_leased("change", caller)
        await self._revoke(caller, group_id, link_id)

    @retry_on_conflict
    async def _revoke(self, caller: Caller, group_id: int, link_id: UUID | None) -> None:
        async with self._uow() as uow:
            opened, _ = await _open(uow, caller, group_id)
            await uow.joins.revoke(opened.locked, link_id)

    async def preview(self, caller: Caller, token: str) -> GroupPreview:
        """The group that a link leads to, without members and messages. Raises `LinkNotFound`, `RateLimited`."""
        async with self._uow.read() as uow:
            row = await uow.joins.find_link(caller, token)
            actor = uow.actor
        await self._limiter.hit("link_look_up", actor.user_id)
        if row is None or row.banned:
            raise LinkNotFound
        return link_preview(row)

    async def join(self, caller: Caller, token: str, draft: JoinDraft) -> JoinedView:
        """Become a member by a link, or ask to if it needs an approval; members cost no use.

        Raises `LinkNotFound`, `GroupFull`, `TooManyGroups`, `RateLimited`, `ValidationFailed`.
        """
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
        await self._limiter.hit("join", actor.user_id)
        message = None
        if draft.message is not None:
            message = clean_text(draft.message, limit=REQUEST_LENGTH, field="message")
        return await self._join(caller, token, message)

    @retry_on_conflict
    async def _join(self, caller: Caller, token: str, message: str | None) -> JoinedView:
        async with self._uow() as uow:
            found = await uow.joins.find_link(caller, token)
            if found is None:
                raise LinkNotFound
            locked = await uow.group_locks.lock(caller, found.group_id)
            # Behind the lock again: a ban, a revocation or the last use may have been first.
            row = await uow.joins.find_link(caller, token)
            if locked is None or row is None or row.banned:
                raise LinkNotFound
            if row.is_member:
                return await _joined(uow, caller, row)
            if row.approval:
                await self._request(uow, locked, row, message)
                return JoinedView("requested", link_preview(row, requested=True))
            user_id = uow.actor.user_id
            await admit(uow, locked, await uow.group_settings.get(row.group_id), user_id)
            if not await uow.joins.use(locked, row.link_id):
                raise LinkNotFound
            await record_members(uow, locked, [notice(uow, "joined_by_link", user_id=user_id)], joined=[user_id])
            return await _joined(uow, caller, row)

    async def _request(self, uow: UnitOfWork, locked: LockedGroup, row: LinkRow, message: str | None) -> None:
        user_id = uow.actor.user_id
        earlier = await uow.joins.find_request(locked, user_id)
        if earlier is not None and not earlier.expired:
            return
        if await uow.joins.count_requests(locked) >= MAX_REQUESTS:
            raise Overloaded
        await uow.joins.request(locked, user_id, row.link_id, message)
        await _record_request(uow, locked, user_id)

    async def list_requests(self, caller: Caller, group_id: int, *, after: int, limit: int) -> RequestPage:
        """Requests that wait, by ID of the user; for moderators. Raises `PeerNotFound`, `RankTooLow`."""
        async with self._uow.read() as uow:
            group = await uow.groups.find(caller, group_id)
            if group is None or group.rank is None:
                raise PeerNotFound
            ensure_rank(Rank(group.rank), Rank.MODERATOR)
            rows = await uow.joins.list_requests(group_id, uow.actor.user_id, after=after, limit=limit + 1)
        more = len(rows) > limit
        after_id = str(rows[limit - 1].user.user_id) if more else None
        return RequestPage([request_view(row) for row in rows[:limit]], after_id)

    async def answer(self, caller: Caller, group_id: int, user_id: int, *, accept: bool) -> MembershipView:
        """Answer a request; the same answer again changes nothing.

        Raises `PeerNotFound`, `RankTooLow`, `RequestNotFound`, `GroupFull`, `TooManyGroups`, `LinkUsedUp`.
        """
        await self._limiter.hit_leased("change", caller)
        return await self._answer(caller, group_id, user_id, accept=accept)

    @retry_on_conflict
    async def _answer(self, caller: Caller, group_id: int, user_id: int, *, accept: bool) -> MembershipView:
        async with self._uow() as uow:
            opened = await open_group(uow, caller, group_id, user_id)
            ensure_rank(opened.rank, Rank.MODERATOR)
            if accept and opened.users[user_id].rank is not None:
                return MembershipView("member")
            request = await uow.joins.find_request(opened.locked, user_id)
            if request is None or not (request.waiting or (request.declined and not accept)):
                raise RequestNotFound
            if not accept:
                await uow.joins.decline(opened.locked, user_id)
                if request.waiting:
                    await _record_request(uow, opened.locked, user_id)
                return MembershipView("none")
            links = await uow.joins.list_links(group_id, request.link_id)
            if links and not await uow.joins.use(opened.locked, request.link_id):
                raise LinkUsedUp
            await admit(uow, opened.locked, await uow.group_settings.get(group_id), user_id)
            await _record_request(uow, opened.locked, user_id)
            joined = notice(uow, "joined_by_link", user_id=user_id)
            await record_members(uow, opened.locked, [joined], joined=[user_id])
            return MembershipView("member")

    async def withdraw(self, caller: Caller, group_id: int) -> None:
        """Take back the caller's own request. Idempotent. Raises `RateLimited`."""
        await self._limiter.hit_leased("change", caller)
        await self._withdraw(caller, group_id)

    @retry_on_conflict
    async def _withdraw(self, caller: Caller, group_id: int) -> None:
        async with self._uow() as uow:
            locked = await uow.group_locks.lock(caller, group_id)
            if locked is None:
                return
            request = await uow.joins.find_request(locked, uow.actor.user_id)
            # A declined request stays, so that its user cannot ask again at once.
            if request is not None and request.waiting:
                await uow.joins.withdraw(locked, uow.actor.user_id)
                await _record_request(uow, locked, uow.actor.user_id)


async def _open(uow: UnitOfWork, caller: Caller, group_id: int) -> tuple[OpenGroup, Group]:
    """Lock the group of a caller who may make links. Raises `PeerNotFound`, `NotPermitted`."""
    opened = await open_group(uow, caller, group_id)
    group = await uow.group_settings.get(group_id)
    ensure_permitted(opened.rank, "link", Rank(group.link_rank), member_count=group.member_count)
    return opened, group


async def _record_request(uow: UnitOfWork, locked: LockedGroup, user_id: int) -> None:
    """Notify the moderators of a request that was made, answered or withdrawn."""
    moderators: Sequence[int] = await uow.memberships.list_moderators(locked)
    uow.record(GroupRequested(locked.group_id, user_id=user_id), moderators)


async def _joined(uow: UnitOfWork, caller: Caller, row: LinkRow) -> JoinedView:
    group = await uow.groups.find(caller, row.group_id)
    assert group is not None
    return JoinedView("member", group_view(group))
