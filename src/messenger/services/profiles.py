"""Profiles: the caller's own, and those of others as far as their privacy settings allow."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from messenger.actor import Actor, Caller
from messenger.errors import PeerNotFound, Unauthenticated, VersionConflict
from messenger.repositories.profiles import ChangedProfileRow
from messenger.schemas.realtime import PresencePatch
from messenger.schemas.text import ABOUT_LENGTH, STATUS_LENGTH, clean_name, clean_text
from messenger.schemas.users import PersonView, PrivacyPatch, ProfilePatch, ProfileView, UsersView
from messenger.services._audience import record_profile
from messenger.services._usernames import UsernameDigests, username_key
from messenger.services._views import person_view, profile_view, user_view
from messenger.services.presence import PresenceAnnouncer
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict


class Versioned(msgspec.Struct, frozen=True):
    """A profile and its version, which an `ETag` shows."""

    profile: ProfileView
    version: int


class ProfileService:
    """Reads and changes profiles; each read is one round trip."""

    def __init__(
        self, uow: UnitOfWorkFactory, limiter: RateLimiter, presence: PresenceAnnouncer, usernames: UsernameDigests
    ) -> None:
        self._uow = uow
        self._limiter = limiter
        self._presence = presence
        self._usernames = usernames

    async def get(self, caller: Caller) -> Versioned:
        """Return the caller's profile."""
        async with self._uow.read() as uow:
            row = await uow.users.profile(caller)
        return Versioned(profile_view(row), row.version)

    async def update(self, caller: Caller, patch: ProfilePatch, *, expected: list[int] | None = None) -> Versioned:
        """Change the given fields. Raises `VersionConflict` if the version is not in `expected`, and `UsernameTaken`.

        Contacts are only notified of changes that they can see.
        """
        await self._limiter.hit_leased("change", caller)
        row = await self._update(caller, _changes(patch), expected, notify=True)
        return Versioned(profile_view(row), row.version)

    async def set_presence(self, actor: Actor, patch: PresencePatch) -> ProfileView:
        """Change the status only. The account's devices get an event, connected contacts a signal.

        Contacts' streams do not grow.
        """
        await self._limiter.hit("presence", actor.user_id)
        as_profile = ProfilePatch(status=patch.status, status_text=patch.status_text)
        row = await self._update(actor, _changes(as_profile), None, notify=False)
        return profile_view(row)

    async def _update(
        self, caller: Caller, changes: dict[str, str | None], expected: list[int] | None, *, notify: bool
    ) -> ChangedProfileRow:
        row = await self._write(caller, changes, expected, notify=notify)
        if row.shows_in_presence:
            self._presence.status_changed(row.user_id)
        return row

    @retry_on_conflict
    async def _write(
        self, caller: Caller, changes: dict[str, str | None], expected: list[int] | None, *, notify: bool
    ) -> ChangedProfileRow:
        async with self._uow() as uow:
            row = await uow.users.change_profile(caller, expected=expected, **changes)
            if row is None:
                raise Unauthenticated if expected is None else VersionConflict
            await self._move_username(uow, row, changes["username_key"])
            if row.changed:
                await record_profile(uow, row.user_id, to_contacts=notify and row.shows)
            if changes.get("privacy_messages_from") is not None:
                uow.invalidate_rules(row.user_id)
        return row

    async def _move_username(self, uow: UnitOfWork, row: ChangedProfileRow, key: str | None) -> None:
        """Reserve the old username for its owner, and claim the new one."""
        if key is None or key == row.former_username_key:
            return
        await self._limiter.hit_within(uow, "username", row.user_id)
        released, claimed = (self._usernames.of(each) for each in (row.former_username_key, key))
        await uow.usernames.move(row.user_id, released=released, claimed=claimed)

    async def find(self, caller: Caller, *, target_id: int | None = None, username: str | None = None) -> PersonView:
        """Another user, as their privacy settings show them to the caller. Raises `PeerNotFound`."""
        key = username_key(username) if username is not None else None
        async with self._uow.read() as uow:
            row = await uow.users.find_person(caller, target_id=target_id, username_key=key)
            actor = uow.actor
        is_self = row is not None and actor.user_id == row.user_id
        if not is_self and (row is None or row.mine is None):
            await self._limiter.hit_look_up(caller, key or target_id or 0)
        if row is None:
            raise PeerNotFound
        return person_view(row, is_self=is_self)

    async def list_known(self, caller: Caller, ids: Sequence[int]) -> UsersView:
        """Those of these users who are contacts of the caller or members of a group with the caller, by ascending ID.

        It reveals nothing about other users, so it does not count as a look-up.
        """
        async with self._uow.read() as uow:
            rows = await uow.users.list_known(caller, sorted(set(ids)))
        return UsersView([user_view(row) for row in rows])


def _changes(patch: ProfilePatch) -> dict[str, str | None]:
    privacy = patch.privacy if isinstance(patch.privacy, PrivacyPatch) else PrivacyPatch()
    username = _given(patch.username)
    name = _given(patch.name)
    return {
        "name": clean_name(name) if name is not None else None,
        "about": _text(patch.about, ABOUT_LENGTH, "about"),
        "status": _given(patch.status),
        "status_text": _text(patch.status_text, STATUS_LENGTH, "status_text"),
        "username": username,
        "username_key": username_key(username) if username is not None else None,
        "privacy_last_seen": _given(privacy.last_seen),
        "privacy_avatar": _given(privacy.avatar),
        "privacy_messages_from": _given(privacy.messages_from),
        "privacy_calls_from": _given(privacy.calls_from),
        "privacy_groups_from": _given(privacy.groups_from),
        "privacy_receipts": _given(privacy.receipts),
        "privacy_forwards": _given(privacy.forwards),
    }


def _given(value: str | UnsetType) -> str | None:
    return None if value is UNSET or isinstance(value, UnsetType) else value


def _text(value: str | UnsetType, limit: int, field: str) -> str | None:
    return clean_text(value, limit=limit, field=field) if isinstance(value, str) else None
