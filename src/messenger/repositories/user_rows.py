"""Users as rows: what several statements return of a user, and the SQL of its columns."""

from __future__ import annotations

from datetime import datetime

import msgspec

from messenger.models import Audience, ContactState, Status


class AvatarRow(msgspec.Struct, frozen=True, gc=False):
    avatar_key: str
    avatar_width: int
    avatar_height: int
    avatar_placeholder: str


class UserRow(msgspec.Struct, frozen=True, gc=False):
    """A user as everyone may see them. The avatar is None if the user has not set one, or hides it from the caller."""

    user_id: int
    name: str
    username: str | None
    avatar: AvatarRow | None


class PersonRow(UserRow, frozen=True, gc=False):
    """Another user, and the relation of the two: `mine` is the caller's edge, `theirs` the other user's."""

    about: str
    status: Status
    status_text: str
    invisible_since: datetime | None
    last_activity: datetime
    privacy_last_seen: Audience
    privacy_avatar: Audience
    connected: bool
    mine: ContactState | None
    theirs: ContactState | None


class ProfileRow(UserRow, frozen=True, gc=False):
    """A user's own profile."""

    about: str
    status: Status
    status_text: str
    last_activity: datetime
    created_at: datetime
    privacy_last_seen: Audience
    privacy_avatar: Audience
    privacy_messages_from: Audience
    privacy_calls_from: Audience
    privacy_groups_from: Audience
    privacy_receipts: Audience
    privacy_forwards: Audience


class StatusRow(msgspec.Struct, frozen=True, gc=False):
    """A user's status, as far as the user shows it to a mutual contact."""

    user_id: int
    status: Status
    status_text: str
    online: bool
    last_activity: datetime | None


# Needs: `a` the avatar, by AVATAR_OF_CONTACT or a similar join.
AVATAR_COLUMNS = (
    "a.key AS avatar_key, a.width AS avatar_width, a.height AS avatar_height, a.placeholder AS avatar_placeholder"
)

# The columns of a `UserRow`. Needs: `u` the user, `a` the avatar.
USER_COLUMNS = f"u.id AS user_id, u.name, u.username, {AVATAR_COLUMNS}"
