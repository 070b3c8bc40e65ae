"""Avatars: rows that protect the files in the store while a user or a group refers to them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from messenger.database.statements import Statement
from messenger.errors import Unauthenticated
from messenger.repositories.base import StatementRepository

ABANDONED_AFTER = timedelta(hours=1)
"""The time after which an unfinished upload has failed, and its row may be removed."""


class _Key(msgspec.Struct, frozen=True):
    key: str


# A row in `deleting` cannot be claimed: its file may be deleted at any moment.
_CLAIM = Statement(
    "avatars.claim",
    """
    INSERT INTO avatars (key, state, width, height, placeholder, touched_at)
    VALUES (:key, 'pending', :width, :height, :placeholder, :now)
    ON CONFLICT (key) DO UPDATE SET touched_at = excluded.touched_at WHERE avatars.state <> 'deleting'
    RETURNING key
    """,
    _Key,
    writes=True,
)


class LeftAvatarRow(msgspec.Struct, frozen=True):
    """The result of setting an avatar: whether it succeeded, and the image that was replaced.

    `changed`: the avatar is a different one now; `shows`: mutual contacts see the change.
    """

    done: bool
    old_key: str | None
    changed: bool
    shows: bool


_SET = Statement(
    "avatars.set",
    """
    WITH before AS (
        SELECT id, avatar_key, privacy_avatar FROM users WHERE id = :owner AND deleted_at IS NULL FOR NO KEY UPDATE
    ),
    ready AS (
        UPDATE avatars SET state = 'ready', touched_at = :now WHERE key = :key AND state <> 'deleting' RETURNING key
    ),
    changed AS (
        UPDATE users AS u SET avatar_key = :key::text, version = u.version + 1 FROM before
        WHERE u.id = before.id AND u.avatar_key IS DISTINCT FROM :key::text
            AND (:key::text IS NULL OR EXISTS (SELECT FROM ready))
        RETURNING u.id
    )
    SELECT :key::text IS NULL OR EXISTS (SELECT FROM ready) AS done,
        CASE WHEN changed.id IS NOT NULL THEN before.avatar_key END AS old_key,
        changed.id IS NOT NULL AS changed, changed.id IS NOT NULL AND before.privacy_avatar <> 'nobody' AS shows
    FROM before LEFT JOIN changed ON true
    """,
    LeftAvatarRow,
    writes=True,
)

# The lock of the group is taken before.
_SET_OF_GROUP = Statement(
    "avatars.set_of_group",
    """
    WITH before AS (SELECT id, avatar_key FROM groups WHERE id = :owner),
    ready AS (
        UPDATE avatars SET state = 'ready', touched_at = :now WHERE key = :key AND state <> 'deleting' RETURNING key
    ),
    changed AS (
        UPDATE groups AS g SET avatar_key = :key::text FROM before
        WHERE g.id = before.id AND g.avatar_key IS DISTINCT FROM :key::text
            AND (:key::text IS NULL OR EXISTS (SELECT FROM ready))
        RETURNING g.id
    )
    SELECT :key::text IS NULL OR EXISTS (SELECT FROM ready) AS done,
        CASE WHEN changed.id IS NOT NULL THEN before.avatar_key END AS old_key,
        changed.id IS NOT NULL AS changed, changed.id IS NOT NULL AS shows
    FROM before LEFT JOIN changed ON true
    """,
    LeftAvatarRow,
    writes=True,
)

_UNUSED = """NOT EXISTS (SELECT FROM users AS u WHERE u.avatar_key = a.key)
            AND NOT EXISTS (SELECT FROM groups AS g WHERE g.avatar_key = a.key)"""

# A row that was claimed or used while this statement waited for its lock has another xmin than `unused` read, and is
# kept. A row in `deleting` belongs to the worker that marked it, until that worker must have failed.
_RELEASE = Statement(
    "avatars.release",
    f"""
    WITH unused AS (
        SELECT a.key, a.xmin AS seen FROM avatars AS a
        WHERE a.key = :key AND {_UNUSED}
    )
    UPDATE avatars AS a SET state = 'deleting', touched_at = :now FROM unused
    WHERE a.key = unused.key AND a.xmin = unused.seen AND (a.state = 'ready' OR a.touched_at < :abandoned)
    RETURNING a.key
    """,
    _Key,
    writes=True,
)

_UNREFERENCED = Statement(
    "avatars.unreferenced",
    f"""
    SELECT a.key FROM avatars AS a
    WHERE a.touched_at < :abandoned AND {_UNUSED}
    ORDER BY a.touched_at LIMIT :limit
    """,
    _Key,
    writes=False,
)

_FORGET: Statement[Any] = Statement(
    "avatars.forget", "DELETE FROM avatars WHERE key = :key AND state = 'deleting'", writes=True
)

_SERVABLE = Statement(
    "avatars.servable",
    "SELECT key FROM avatars AS a WHERE key = :key AND state = 'ready'",
    _Key,
    writes=False,
)


class AvatarRepository(StatementRepository):
    """Which users and groups refer to which images."""

    async def claim(self, key: str, *, width: int, height: int, placeholder: str) -> bool:
        """Claim a row before its bytes are stored; False while an equal image is being deleted."""
        row = await self._run.first(_CLAIM, key=key, width=width, height=height, placeholder=placeholder)
        return row is not None

    async def set(self, user_id: int, key: str | None) -> LeftAvatarRow:
        """Set or remove a user's avatar; the image is claimed. Raises `Unauthenticated` if the user was erased."""
        row = await self._run.first(_SET, owner=user_id, key=key)
        if row is None:
            raise Unauthenticated
        return row

    async def set_of_group(self, group_id: int, key: str | None) -> LeftAvatarRow:
        """Set or remove the avatar of a locked group; the image is claimed."""
        row = await self._run.first(_SET_OF_GROUP, owner=group_id, key=key)
        assert row is not None
        return row

    async def release(self, key: str) -> bool:
        """Mark an unused image for deletion; True if the caller must now delete its file."""
        return await self._run.first(_RELEASE, key=key, abandoned=self._run.now - ABANDONED_AFTER) is not None

    async def list_unreferenced(self, limit: int, *, now: datetime) -> list[str]:
        """Images left behind by uploads or deletions that failed."""
        rows = await self._run.all(_UNREFERENCED, abandoned=now - ABANDONED_AFTER, limit=limit)
        return [row.key for row in rows]

    async def forget(self, key: str) -> None:
        """Remove the row of an image whose file was deleted."""
        await self._run.execute(_FORGET, key=key)

    async def is_servable(self, key: str) -> bool:
        """Whether the image exists and may be served."""
        return await self._run.first(_SERVABLE, key=key) is not None
