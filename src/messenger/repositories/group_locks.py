"""The lock of a group, and what a change behind it leaves behind: its version, its count of members, its notices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from messenger.actor import Caller
from messenger.database.statements import Statement
from messenger.repositories._invitation_fragments import VISIBLE_INVITATION
from messenger.repositories.base import StatementRepository


class LockedGroup(msgspec.Struct, frozen=True):
    """The conversation of a group, as of the lock."""

    conversation_id: int
    group_id: int
    last_seq: int
    version: int


# Only the lock is taken here. Whatever decides is read by a later statement, which sees what was committed before the
# lock was granted; this one sees what was committed before it began to wait.
_LOCK = Statement(
    "group_locks.lock",
    """
    WITH <<actor>>,
    locked AS (
        SELECT c.id, c.peer_id, c.last_seq, c.version FROM actor, conversations AS c
        WHERE c.peer_id = :group FOR NO KEY UPDATE OF c
    )
    SELECT <<actor_columns>>, locked.id AS conversation_id, locked.peer_id AS group_id, locked.last_seq, locked.version
    FROM actor LEFT JOIN locked ON true
    """,
    LockedGroup,
    writes=True,
)


# The membership is read again by a later statement, behind the lock.
_LOCK_FIRST = Statement(
    "group_locks.lock_first",
    """
    SELECT c.id AS conversation_id, c.peer_id AS group_id, c.last_seq, c.version
    FROM members AS m JOIN conversations AS c ON c.id = m.conversation_id
    WHERE m.user_id = :user AND m.rank IS NOT NULL ORDER BY m.target_id LIMIT 1 FOR NO KEY UPDATE OF c
    """,
    LockedGroup,
    writes=True,
)


class OwnedGroup(LockedGroup, frozen=True):
    """A locked group, and its owner."""

    owner_id: int


# Owners who were disabled before `before`, unless every other member is disabled too.
_LOCK_DISABLED = Statement(
    "group_locks.lock_disabled_owner",
    """
    SELECT c.id AS conversation_id, c.peer_id AS group_id, c.last_seq, c.version, m.user_id AS owner_id
    FROM users AS u JOIN members AS m ON m.user_id = u.id AND m.rank = 3
        JOIN conversations AS c ON c.id = m.conversation_id
    WHERE u.disabled_at < :before AND EXISTS (
        SELECT FROM members AS o JOIN users AS x ON x.id = o.user_id
        WHERE o.conversation_id = c.id AND o.user_id <> u.id AND x.disabled_at IS NULL
    )
    ORDER BY c.id LIMIT 1 FOR NO KEY UPDATE OF c SKIP LOCKED
    """,
    OwnedGroup,
    writes=True,
)


class AdvancedRow(msgspec.Struct, frozen=True):
    """The group after a change; `members`: the users who are notified of it; `notices`: the IDs of the notices."""

    version: int
    member_count: int
    members: list[int]
    notices: list[UUID]


# Members are counted again with every change: a count that is added to stays wrong after the first mistake. The IDs of
# notices are UUIDs of version 7 by the clock of the database, read behind the lock: they are in the order of the
# changes whichever server makes them. The 12 bits after the milliseconds hold microseconds (RFC 9562 section 6.2).
_ADVANCE = Statement(
    "group_locks.advance",
    """
    WITH advanced AS (
        UPDATE conversations SET version = version + 1 WHERE id = :conversation RETURNING version, last_seq
    ),
    counted AS (
        UPDATE groups SET member_count = (SELECT count(*) FROM members WHERE conversation_id = :conversation)
        WHERE id = :group RETURNING member_count
    ),
    noticed AS (
        INSERT INTO group_notices (id, group_id, after_seq, version, at, actor_id, action, user_id, before, after,
            reason)
        SELECT (lpad(to_hex(at.us / 1000), 12, '0') || '7' || lpad(to_hex(at.us % 1000 * 4096 / 1000), 3, '0')
                || substr(random, 20, 4) || substr(random, 25))::uuid,
            :group, advanced.last_seq, advanced.version, :now, n.actor_id, n.action, n.user_id, n.before::jsonb,
            n.after::jsonb, n.reason
        FROM advanced, unnest(:actors::bigint[], :actions::text[], :users::bigint[], :befores::text[],
            :afters::text[], :reasons::text[])
            WITH ORDINALITY AS n (actor_id, action, user_id, before, after, reason, place),
            LATERAL (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + n.place AS us) AS at,
            LATERAL (SELECT gen_random_uuid()::text AS random WHERE n.place > 0) AS bits
        RETURNING id
    )
    SELECT advanced.version, counted.member_count,
        ARRAY(SELECT m.user_id FROM members AS m WHERE m.conversation_id = :conversation ORDER BY m.user_id) AS members,
        ARRAY(SELECT id FROM noticed ORDER BY id) AS notices
    FROM advanced, counted
    """,
    AdvancedRow,
    writes=True,
)


class _Expiry(msgspec.Struct, frozen=True):
    former: int | None


_SET_EXPIRY = Statement(
    "group_locks.set_expiry",
    """
    UPDATE conversations AS c SET expire_after = :expire_after::int FROM conversations AS former
    WHERE c.id = :conversation AND former.id = c.id
    RETURNING former.expire_after AS former
    """,
    _Expiry,
    writes=True,
)


class _Uninvited(msgspec.Struct, frozen=True):
    user_id: int


# The version grows, so that a message that was authorized before is not written. The content of messages is removed by
# a sweep: without members nothing of it can be read.
_DELETE = Statement(
    "group_locks.delete_group",
    f"""
    WITH outdated AS (UPDATE conversations SET version = version + 1 WHERE id = :conversation),
    dismissed AS (DELETE FROM members WHERE conversation_id = :conversation),
    uninvited AS (
        DELETE FROM group_invitations AS i WHERE i.group_id = :group
        RETURNING i.user_id, {VISIBLE_INVITATION} AS seen
    ),
    links AS (DELETE FROM group_links WHERE group_id = :group),
    requests AS (DELETE FROM group_requests WHERE group_id = :group),
    bans AS (DELETE FROM group_bans WHERE group_id = :group),
    declines AS (DELETE FROM group_declines WHERE group_id = :group),
    former AS (DELETE FROM former_members WHERE group_id = :group),
    emptied AS (
        UPDATE groups SET deleted_at = :now, member_count = 0, about = '', avatar_key = NULL WHERE id = :group
    )
    SELECT user_id FROM uninvited WHERE seen
    """,
    _Uninvited,
    writes=True,
)


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a change is recorded as; `before` and `after` are JSON values of the wire."""

    action: str
    actor_id: int | None
    user_id: int | None = None
    before: Any = None
    after: Any = None
    reason: str | None = None


class GroupLockRepository(StatementRepository):
    """Every change of a group locks it first, and ends with `advance` or with `delete_group`."""

    async def lock(self, caller: Caller, group_id: int) -> LockedGroup | None:
        """Lock a group until the commit: its settings, members, links and bans, and its messages. None: no such group.

        Raises `Unauthenticated`.
        """
        return await self._run.first(_LOCK, caller, group=group_id)

    async def lock_first(self, user_id: int) -> LockedGroup | None:
        """Lock a group of this user, as `lock` does; None: the user is not a member of any group."""
        return await self._run.first(_LOCK_FIRST, user=user_id)

    async def lock_disabled_owner(self, before: datetime) -> OwnedGroup | None:
        """Lock a group whose owner was disabled before then, if another member can follow; None: there is none."""
        return await self._run.first(_LOCK_DISABLED, before=before)

    async def set_expiry(self, group: LockedGroup, expire_after: int | None) -> int | None:
        """Set after how many seconds new messages expire; returns the former value. None: never."""
        row = await self._run.first(_SET_EXPIRY, conversation=group.conversation_id, expire_after=expire_after)
        assert row is not None
        return row.former

    async def delete_group(self, group: LockedGroup) -> list[int]:
        """Delete a locked group with its members, invitations, links, requests and bans; returns the users who saw an
        invitation.
        """
        rows = await self._run.all(_DELETE, conversation=group.conversation_id, group=group.group_id)
        return sorted(row.user_id for row in rows)

    async def advance(self, group: LockedGroup, notices: Sequence[Notice]) -> AdvancedRow:
        """Complete a change: advance the version, count the members, insert the notices, and return the audience and
        the IDs of the notices, in their order.
        """
        row = await self._run.first(
            _ADVANCE,
            conversation=group.conversation_id,
            group=group.group_id,
            actors=[notice.actor_id for notice in notices],
            actions=[notice.action for notice in notices],
            users=[notice.user_id for notice in notices],
            befores=[_json(notice.before) for notice in notices],
            afters=[_json(notice.after) for notice in notices],
            reasons=[notice.reason for notice in notices],
        )
        assert row is not None
        return row


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
