"""Groups: creating, showing and changing them, and their log."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType, to_builtins
from msgspec.structs import replace

from messenger.actor import Caller
from messenger.errors import PeerNotFound, VersionConflict
from messenger.errors.groups import TooManyGroups
from messenger.limits import MAX_GROUPS
from messenger.models import Group
from messenger.policies.groups import (
    PERMISSIONS,
    Rank,
    ensure_permitted,
    ensure_rank,
)
from messenger.repositories.group_locks import LockedGroup, Notice
from messenger.schemas.admission import CreatedGroupView, InvitationOutcome
from messenger.schemas.groups import (
    GROUP_NAME_LENGTH,
    GroupDraft,
    GroupPage,
    GroupPatch,
    GroupPreview,
    GroupSettingsPatch,
    GroupView,
    LogPage,
    PermissionsPatch,
)
from messenger.schemas.text import ABOUT_LENGTH, clean_name, clean_text
from messenger.services._group_views import group_view, logged_notice_view, rank_name, rank_of
from messenger.services._groups import OpenGroup, notice, open_group, record_group
from messenger.services._invitations import invitation_view, invite_users
from messenger.services._numbers import candidate_numbers
from messenger.services.idempotency import IdempotencyKey, find_response, keep_response
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict


class GroupService:
    """Every change locks the group. Reads cost one round trip."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter) -> None:
        self._uow = uow
        self._limiter = limiter

    async def get(self, caller: Caller, group_id: int) -> GroupView | GroupPreview:
        """A group of the caller, or the preview of one that the caller is invited to. Raises `PeerNotFound`."""
        async with self._uow.read() as uow:
            row = await uow.groups.find(caller, group_id)
            if row is not None:
                return group_view(row)
            invitations = await uow.invitations.list_page(caller, after=group_id - 1, limit=1)
        if not invitations or invitations[0].group_id != group_id:
            raise PeerNotFound
        return invitation_view(invitations[0]).group

    async def list_page(self, caller: Caller, *, after: int, limit: int) -> GroupPage:
        """The caller's groups by ascending ID."""
        async with self._uow.read() as uow:
            rows = await uow.groups.list_page(caller, after=after, limit=limit + 1)
        more = len(rows) > limit
        items = [group_view(row) for row in rows[:limit]]
        return GroupPage(items, str(items[-1].id) if more else None)

    @retry_on_conflict
    async def create(
        self, caller: Caller, draft: GroupDraft, *, once: IdempotencyKey | None = None
    ) -> CreatedGroupView:
        """A new group with the caller as its owner. Raises `TooManyGroups`, `RateLimited`, `ValidationFailed`."""
        name = clean_name(draft.name, limit=GROUP_NAME_LENGTH)
        about = clean_text(draft.about, limit=ABOUT_LENGTH, field="about")
        async with self._uow() as uow:
            actor = await uow.devices.authenticate(caller)
            earlier = await find_response(uow, actor.user_id, once, CreatedGroupView)
            if earlier is not None:
                return earlier
            await self._limiter.hit_within(uow, "group_create", actor.user_id)
            if draft.invite:
                await self._limiter.hit_within(uow, "invite", actor.user_id, cost=len(set(draft.invite)))
            group = await _insert(uow, caller, draft, name=name, about=about)
            results: list[InvitationOutcome] = []
            if draft.invite:
                opened = await open_group(uow, caller, group.id)
                users = list(dict.fromkeys(draft.invite))
                results = await invite_users(uow, self._limiter, opened, group, users, message=None)
            shown = await uow.groups.find(caller, group.id)
            assert shown is not None
            view = CreatedGroupView(group_view(shown), results)
            await keep_response(uow, actor.user_id, once, view)
            return view

    async def update(
        self, caller: Caller, group_id: int, patch: GroupPatch, *, expected: list[int] | None = None
    ) -> GroupView:
        """Change the given fields.

        Raises `PeerNotFound`, `NotPermitted`, `RankTooLow`, `VersionConflict`, `ValidationFailed`.
        """
        await self._limiter.hit_leased("change", caller)
        if isinstance(patch.name, str):
            patch = replace(patch, name=clean_name(patch.name, limit=GROUP_NAME_LENGTH))
        if isinstance(patch.about, str):
            patch = replace(patch, about=clean_text(patch.about, limit=ABOUT_LENGTH, field="about"))
        return await self._update(caller, group_id, patch, expected)

    @retry_on_conflict
    async def _update(self, caller: Caller, group_id: int, patch: GroupPatch, expected: list[int] | None) -> GroupView:
        async with self._uow() as uow:
            opened = await open_group(uow, caller, group_id)
            if expected is not None and opened.locked.version not in expected:
                raise VersionConflict(extra={"current_version": opened.locked.version})
            group = await uow.group_settings.get(group_id)
            _ensure_may_change(opened.rank, group, patch)
            notices = await _change(uow, opened, group, patch)
            if notices:
                # The statements that follow read the row.
                await uow.flush()
                await uow.joins.revoke_unentitled(opened.locked)
                await record_group(uow, opened.locked, notices)
            shown = await uow.groups.find(caller, group_id)
            assert shown is not None
            return group_view(shown)

    async def log(self, caller: Caller, group_id: int, *, before: UUID | None, limit: int) -> LogPage:
        """The notices of 90 days with their reasons, latest first; for moderators. Raises `PeerNotFound`,
        `RankTooLow`.
        """
        async with self._uow.read() as uow:
            group = await uow.groups.find(caller, group_id)
            if group is None or group.rank is None:
                raise PeerNotFound
            ensure_rank(Rank(group.rank), Rank.MODERATOR)
            rows = await uow.group_records.list_notices(group_id, before=before, limit=limit + 1)
        more = len(rows) > limit
        return LogPage([logged_notice_view(row) for row in rows[:limit]], str(rows[limit - 1].id) if more else None)


async def _insert(uow: UnitOfWork, caller: Caller, draft: GroupDraft, *, name: str, about: str) -> Group:
    """A new group with the rules of the draft. Raises `TooManyGroups`."""
    row = await uow.groups.create(
        caller,
        candidates=candidate_numbers(),
        most=MAX_GROUPS,
        name=name,
        about=about,
        encrypted=draft.encrypted,
        protected=draft.protected,
    )
    if row.group_id is None or row.conversation_id is None:
        raise TooManyGroups
    locked = LockedGroup(row.conversation_id, row.group_id, 0, 1)
    group = await uow.group_settings.get(row.group_id)
    _apply(group, _permission_changes(draft.permissions))
    settings = _setting_changes(draft.settings)
    expire_after = settings.pop("expire_after", None)
    _apply(group, settings)
    # The statements that follow read the row.
    await uow.flush()
    if expire_after is not None:
        await uow.group_locks.set_expiry(locked, expire_after)
    await record_group(uow, locked, [notice(uow, "created", after=name)])
    return group


def _ensure_may_change(rank: Rank, group: Group, patch: GroupPatch) -> None:
    settings = _settings_of(patch)
    if patch.name is not UNSET or patch.about is not UNSET or settings.expire_after is not UNSET:
        ensure_permitted(rank, "info", Rank(group.info_rank), member_count=group.member_count)
    others = _setting_changes(settings)
    others.pop("expire_after", None)
    if patch.protected is not UNSET or patch.permissions is not UNSET or others:
        ensure_rank(rank, Rank.ADMIN)


async def _change(uow: UnitOfWork, opened: OpenGroup, group: Group, patch: GroupPatch) -> list[Notice]:
    """Apply a patch to the mapped group; returns a notice for each kind of change that it makes."""
    notices: list[Notice] = []
    name = patch.name if isinstance(patch.name, str) else group.name
    if name != group.name:
        notices.append(notice(uow, "renamed", before=group.name, after=name))
        group.name = name
    about = patch.about if isinstance(patch.about, str) else group.about
    if about != group.about:
        notices.append(notice(uow, "about", before=group.about, after=about))
        group.about = about
    permissions = patch.permissions if isinstance(patch.permissions, PermissionsPatch) else PermissionsPatch()
    before, after = _apply(group, _permission_changes(permissions))
    if after:
        shown = [
            {column.removesuffix("_rank"): rank_name(rank) for column, rank in each.items()} for each in (before, after)
        ]
        notices.append(notice(uow, "permissions", before=shown[0], after=shown[1]))
    settings = _setting_changes(
        patch.settings if isinstance(patch.settings, GroupSettingsPatch) else GroupSettingsPatch()
    )
    expiry_given, expire_after = "expire_after" in settings, settings.pop("expire_after", None)
    if isinstance(patch.protected, bool):
        settings["protected"] = patch.protected
    before, after = _apply(group, settings)
    if expiry_given:
        former = await uow.group_locks.set_expiry(opened.locked, expire_after)
        if former != expire_after:
            before, after = before | {"expire_after": former}, after | {"expire_after": expire_after}
    if after:
        notices.append(notice(uow, "settings", before=before, after=after))
    return notices


def _settings_of(patch: GroupPatch) -> GroupSettingsPatch:
    return patch.settings if isinstance(patch.settings, GroupSettingsPatch) else GroupSettingsPatch()


def _ranks(columns: dict[str, Any]) -> dict[str, str]:
    return {column.removesuffix("_rank"): rank_name(rank) for column, rank in columns.items()}


def _permission_changes(patch: PermissionsPatch) -> dict[str, int]:
    given = {name: getattr(patch, name) for name in PERMISSIONS}
    return {f"{name}_rank": int(rank_of(value)) for name, value in given.items() if value is not UNSET}


def _setting_changes(patch: GroupSettingsPatch) -> dict[str, Any]:
    """The given settings by their columns."""
    changes: dict[str, Any] = {
        name: value for name in patch.__struct_fields__ if not isinstance(value := getattr(patch, name), UnsetType)
    }
    rule = changes.pop("reactions", None)
    if rule is not None:
        changes |= {"reactions_allowed": to_builtins(rule.allowed), "reactions_per_user": rule.per_user}
    return changes


def _apply(group: Group, changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Set the columns that differ; returns their former and their new values."""
    differing = {column: value for column, value in changes.items() if getattr(group, column) != value}
    before = {column: getattr(group, column) for column in differing}
    for column, value in differing.items():
        setattr(group, column, value)
    return before, differing
