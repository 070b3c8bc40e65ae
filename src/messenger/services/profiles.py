"""Profiles: one's own, and what others show of theirs."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from messenger.actor import Caller
from messenger.clock import Clock
from messenger.errors import PeerNotFound, Unauthenticated, VersionConflict
from messenger.events import ProfileUpdated
from messenger.policies import is_online, shown_activity, shown_status, shows
from messenger.repositories.users import PersonRow, ProfileRow
from messenger.schemas._text import clean_name
from messenger.schemas._types import timestamp
from messenger.schemas._views import avatar_view
from messenger.schemas.users import PersonView, PrivacyPatch, PrivacyView, ProfilePatch, ProfileView
from messenger.services._gate import Gate
from messenger.services.accounts import username_key
from messenger.unit_of_work import UnitOfWorkFactory, repeated


class Versioned(msgspec.Struct, frozen=True):
    """A profile and its version, which an `ETag` shows."""

    profile: ProfileView
    version: int


class ProfileService:
    """Reads cost one round trip."""

    def __init__(self, uow: UnitOfWorkFactory, clock: Clock, gate: Gate) -> None:
        self._uow = uow
        self._clock = clock
        self._gate = gate

    async def get(self, caller: Caller) -> Versioned:
        """One's own profile."""
        async with self._uow.read() as uow:
            row = await uow.users.profile(caller)
        return Versioned(_profile(row), row.version)

    @repeated
    async def update(self, caller: Caller, patch: ProfilePatch, *, expected: list[int] | None = None) -> Versioned:
        """Change what is given. Raises `VersionConflict` where the version is none of `expected`, `UsernameTaken`."""
        changes = _changes(patch)
        async with self._uow() as uow:
            row = await uow.users.change_profile(caller, expected=expected, **changes)
            if row is None:
                raise Unauthenticated if expected is None else VersionConflict
            if not any(value is not None for value in changes.values()):
                return Versioned(_profile(row), row.version)
            # Which contact may see which part is decided where the event is read; here it only says whose changed.
            audience = [row.id, *await uow.contacts.mutual_ids(row.id)]
            uow.record(ProfileUpdated({"user_id": row.id, "version": row.version}), audience)
        return Versioned(_profile(row), row.version)

    async def find(self, caller: Caller, *, target_id: int | None = None, username: str | None = None) -> PersonView:
        """Another user as their privacy shows them. Raises `PeerNotFound`."""
        key = username_key(username) if username is not None else None
        async with self._uow.read() as uow:
            row = await uow.users.find_person(caller, target_id=target_id, username_key=key)
            actor = uow.run.actor
        if actor is not None:
            await self._gate.take("look_up", actor.user_id)
        if row is None:
            raise PeerNotFound
        return _person(row, self._clock.now(), is_self=actor is not None and actor.user_id == row.id)


def _changes(patch: ProfilePatch) -> dict[str, str | None]:
    privacy = patch.privacy if isinstance(patch.privacy, PrivacyPatch) else PrivacyPatch()
    username = _given(patch.username)
    name = _given(patch.name)
    return {
        "name": clean_name(name) if name is not None else None,
        "about": _given(patch.about),
        "status": _given(patch.status),
        "status_text": _given(patch.status_text),
        "username": username,
        "username_key": username_key(username) if username is not None else None,
        "privacy_last_seen": _given(privacy.last_seen),
        "privacy_avatar": _given(privacy.avatar),
        "privacy_messages_from": _given(privacy.messages_from),
        "privacy_calls_from": _given(privacy.calls_from),
        "privacy_groups_from": _given(privacy.groups_from),
    }


def _given(value: str | UnsetType) -> str | None:
    return None if value is UNSET or isinstance(value, UnsetType) else value


def _profile(row: ProfileRow) -> ProfileView:
    return ProfileView(
        id=row.id,
        username=row.username,
        name=row.name,
        about=row.about,
        avatar=avatar_view(row),
        status=row.status,  # type: ignore[arg-type]
        status_text=row.status_text,
        last_activity=timestamp(row.last_activity),
        created_at=timestamp(row.created_at),
        privacy=PrivacyView(
            row.privacy_last_seen,  # type: ignore[arg-type]
            row.privacy_avatar,  # type: ignore[arg-type]
            row.privacy_messages_from,  # type: ignore[arg-type]
            row.privacy_calls_from,  # type: ignore[arg-type]
            row.privacy_groups_from,  # type: ignore[arg-type]
        ),
    )


def _person(row: PersonRow, now: datetime, *, is_self: bool) -> PersonView:
    mutual = is_self or row.mine == "mutual"
    seen = shows(row.privacy_last_seen, mutual=mutual) and row.theirs != "blocked"
    return PersonView(
        id=row.id,
        username=row.username,
        name=row.name,
        about=row.about,
        avatar=avatar_view(row) if shows(row.privacy_avatar, mutual=mutual) or is_self else None,
        status=shown_status(row.status) if mutual else None,  # type: ignore[arg-type]
        status_text=row.status_text if mutual else None,
        online=seen and is_online(row.last_activity, row.invisible_since, now),
        last_activity=timestamp(shown_activity(row.last_activity, row.invisible_since)) if seen else None,
        contact=row.mine or "none",  # type: ignore[arg-type]
    )
