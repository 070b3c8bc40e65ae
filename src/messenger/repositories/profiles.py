"""The caller's own profile: reads it, and changes it together with the data that others see."""

from __future__ import annotations

from messenger.database.statements import Statement
from messenger.repositories._fragments import CONNECTED, HIDDEN
from messenger.repositories.user_rows import USER_COLUMNS, ProfileRow


class VersionedProfileRow(ProfileRow, frozen=True, gc=False):
    version: int


class ChangedProfileRow(VersionedProfileRow, frozen=True, gc=False):
    """A profile after a write: whether anything `changed`, whether mutual contacts see the change (`shows`), and
    whether it changes the presence that they see. `former_username_key`: that of the username before the write.
    """

    changed: bool
    shows: bool
    shows_in_presence: bool
    former_username_key: str


_PROFILE_COLUMNS = f"""
    {USER_COLUMNS}, u.about, u.status, u.status_text,
    CASE WHEN actor.stale THEN greatest(u.last_activity, :now) ELSE u.last_activity END AS last_activity,
    u.created_at, u.privacy_last_seen, u.privacy_avatar, u.privacy_messages_from, u.privacy_calls_from,
    u.privacy_groups_from, coalesce(u.privacy_receipts, 'contacts') AS privacy_receipts, u.privacy_forwards, u.version
"""

PROFILE = Statement(
    "users.profile",
    f"""
    WITH <<actor>>
    SELECT <<actor_columns>>, {_PROFILE_COLUMNS}
    FROM actor JOIN users AS u ON u.id = actor.user_id LEFT JOIN avatars AS a ON a.key = u.avatar_key
    """,
    VersionedProfileRow,
    writes=False,
)

_SETTINGS = (
    "name",
    "about",
    "status",
    "status_text",
    "username",
    "username_key",
    "privacy_last_seen",
    "privacy_avatar",
    "privacy_messages_from",
    "privacy_calls_from",
    "privacy_groups_from",
    "privacy_receipts",
    "privacy_forwards",
)


def _differs(columns: str) -> str:
    """Whether these columns of `u` differ from `old`."""
    return f"(({columns}) IS DISTINCT FROM ({columns.replace('u.', 'old.')}))"


_IN_PRESENCE = f"""CASE u.status WHEN 'invisible' THEN 'online' ELSE u.status END, u.status_text,
        NOT {HIDDEN} AND {CONNECTED}, CASE WHEN u.privacy_last_seen <> 'nobody'
            THEN coalesce(u.invisible_since, u.last_activity) END"""
_TO_CONTACTS = f"""u.name, u.about, u.username, CASE WHEN u.privacy_avatar <> 'nobody' THEN u.avatar_key END,
        {_IN_PRESENCE}"""
_CHANGED = _differs(", ".join(f"u.{name}" for name in _SETTINGS))

# A NULL parameter leaves its column unchanged; none of these columns can become NULL. A request that waited for an
# erasure finds no row: the caller is looked up before the wait, `deleted_at` is checked after it.
CHANGE = Statement(
    "users.change_profile",
    f"""
    WITH <<actor>>, old AS (
        SELECT u.* FROM actor JOIN users AS u ON u.id = actor.user_id
        WHERE u.deleted_at IS NULL AND (:expected::int[] IS NULL OR u.version = ANY (:expected))
        FOR NO KEY UPDATE OF u
    ), wanted AS (
        SELECT old.id, {", ".join(f"coalesce(:{name}::text, old.{name}) AS {name}" for name in _SETTINGS)} FROM old
    ), u AS (
        UPDATE users AS u SET {", ".join(f"{name} = wanted.{name}" for name in _SETTINGS)},
            invisible_since = CASE WHEN wanted.status = 'invisible'
                THEN coalesce(old.invisible_since, old.last_activity) END,
            version = old.version + {_CHANGED.replace("u.", "wanted.")}::int
        FROM old JOIN wanted ON wanted.id = old.id WHERE u.id = old.id
        RETURNING u.*
    )
    SELECT <<actor_columns>>, {_PROFILE_COLUMNS}, {_CHANGED} AS changed, {_differs(_TO_CONTACTS)} AS shows,
        {_differs(_IN_PRESENCE)} AS shows_in_presence, old.username_key AS former_username_key
    FROM actor LEFT JOIN u ON true LEFT JOIN old ON true LEFT JOIN avatars AS a ON a.key = u.avatar_key
    """,
    ChangedProfileRow,
    writes=True,
)
