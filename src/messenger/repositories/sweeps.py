"""Sweeps: expired rows are removed, a bounded number at a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from messenger.database.statements import Statement
from messenger.repositories._invitation_fragments import INVITATION_DAYS, SHOWN_INVITATION
from messenger.repositories.base import StatementRepository
from messenger.repositories.familiar import ADDRESSES_KEPT_FOR
from messenger.repositories.gone import EXPIRE, ExpiredRow
from messenger.repositories.group_links import DECLINED_DAYS
from messenger.repositories.idempotency import KEPT_FOR
from messenger.repositories.message_rows import REMOVE_CONTENT

BATCH = 1000
BUCKETS_KEPT_FOR = timedelta(days=2)


def _sweep(
    name: str, table: str, condition: str, key: str, action: str | None = None, *, order: str = ""
) -> Statement[Any]:
    # With SKIP LOCKED, workers that sweep at the same time do not wait for each other. `ORDER BY` makes the planner use
    # the index: it estimates that a third of the rows has expired, and would scan the table from its start.
    ordered = f"ORDER BY {order}" if order else ""
    batch = f"SELECT {key.strip('()')} FROM {table} WHERE {condition} {ordered} LIMIT {BATCH} FOR UPDATE SKIP LOCKED"
    return Statement(f"sweeps.{name}", f"{action or f'DELETE FROM {table}'} WHERE {key} IN ({batch})", writes=True)


_SWEEPS: dict[str, Statement[Any]] = {
    "idempotency_keys": _sweep(
        "idempotency_keys", "idempotency_keys", "created_at < :day_ago", "(scope, key)", order="created_at"
    ),
    "rate_buckets": _sweep("rate_buckets", "rate_buckets", "updated_at < :buckets_before", "key", order="updated_at"),
    # A finished pass is kept while it delays the next one.
    "fan_outs": _sweep("fan_outs", "fan_outs", "due < :now AND NOT wanted AND after IS NULL", "(user_id, name)"),
    "refresh_tokens": _sweep(
        "refresh_tokens", "refresh_tokens", "expires_at < :now AND used_at IS NOT NULL", "hash", order="expires_at"
    ),
    "released_usernames": _sweep(
        "released_usernames", "released_usernames", "kept_until < :day_ago", "digest", order="kept_until"
    ),
    "familiar_addresses": _sweep(
        "familiar_addresses",
        "familiar_addresses",
        "seen_at < :addresses_before",
        "(user_id, digest)",
        order="seen_at",
    ),
    "events": _sweep("events", "events", "at < :events_before", "(user_id, position)"),
}

# Without members, nothing of a deleted group can be read; its content goes all the same.
_SWEEPS["deleted_groups"] = Statement(
    "sweeps.deleted_groups",
    f"""
    WITH doomed AS (
        SELECT g.id, c.id AS conversation_id FROM groups AS g JOIN conversations AS c ON c.peer_id = g.id
        WHERE g.deleted_at IS NOT NULL AND NOT g.emptied ORDER BY g.deleted_at LIMIT 1 FOR UPDATE OF g SKIP LOCKED
    ),
    batch AS (
        SELECT m.id FROM doomed JOIN messages AS m ON m.conversation_id = doomed.conversation_id
        WHERE m.deleted_at IS NULL LIMIT {BATCH}
    ),
    emptied AS (
        UPDATE groups AS g SET emptied = true FROM doomed WHERE g.id = doomed.id AND NOT EXISTS (SELECT FROM batch)
    )
    UPDATE messages SET {REMOVE_CONTENT}, deleted_at = :now WHERE id IN (SELECT id FROM batch)
    """,
    writes=True,
)

SWEEPS = tuple(_SWEEPS)

LAPSED_AT_ONCE = 20
"""Requests that one transaction removes: each notifies the moderators of its group, who are 51 at most."""


class LapsedInvitation(msgspec.Struct, frozen=True):
    """An invitation that was removed; `seen`: the user saw it until it lapsed."""

    group_id: int
    user_id: int
    seen: bool


_LAPSED_INVITATIONS = Statement(
    "sweeps.group_invitations",
    f"""
    DELETE FROM group_invitations AS i WHERE (i.group_id, i.user_id) IN (
        SELECT x.group_id, x.user_id FROM group_invitations AS x WHERE x.at < :month_ago
        ORDER BY x.at LIMIT {BATCH} FOR UPDATE SKIP LOCKED
    ) RETURNING i.group_id, i.user_id, {SHOWN_INVITATION} AS seen
    """,
    LapsedInvitation,
    writes=True,
)


class LapsedRequest(msgspec.Struct, frozen=True):
    """A request that was removed, and the moderators who saw it wait until it lapsed."""

    group_id: int
    user_id: int
    moderators: list[int]


# A declined request is kept for a week, so that its user cannot ask again at once; its end has been reported before.
_LAPSED_REQUESTS = Statement(
    "sweeps.group_requests",
    f"""
    DELETE FROM group_requests AS r WHERE (r.group_id, r.user_id) IN (
        SELECT x.group_id, x.user_id FROM group_requests AS x
        WHERE x.at < :month_ago AND (x.declined_at IS NULL OR x.declined_at < :week_ago)
        ORDER BY x.at LIMIT {LAPSED_AT_ONCE} FOR UPDATE SKIP LOCKED
    ) RETURNING r.group_id, r.user_id, CASE WHEN r.declined_at IS NULL THEN ARRAY(
        SELECT m.user_id FROM conversations AS c JOIN members AS m ON m.conversation_id = c.id AND m.rank > 0
        WHERE c.peer_id = r.group_id ORDER BY m.user_id
    ) ELSE '{{}}' END AS moderators
    """,
    LapsedRequest,
    writes=True,
)


class IdleDevice(msgspec.Struct, frozen=True):
    """A device that was signed out because its refresh token has expired."""

    id: UUID
    user_id: int


# An unused refresh token is removed with its device, so that a wrong clock removes nothing before that.
_IS_IDLE = """d.access_expires_at < :now AND NOT EXISTS (
            SELECT FROM refresh_tokens AS r WHERE r.device_id = d.id AND r.used_at IS NULL AND r.expires_at >= :now
        )"""

_IDLE_DEVICES = Statement(
    "sweeps.idle_devices",
    f"""
    DELETE FROM devices WHERE id IN (
        SELECT d.id FROM devices AS d WHERE {_IS_IDLE} ORDER BY d.id LIMIT {BATCH} FOR UPDATE OF d SKIP LOCKED
    ) RETURNING id, user_id
    """,
    IdleDevice,
    writes=True,
)


class IdleShare(msgspec.Struct, frozen=True):
    """The number of devices, and how many of them can no longer sign in by refresh."""

    idle: int
    all: int

    @property
    def is_usual(self) -> bool:
        """Whether the number is normal for a sweep: few devices, or a small share."""
        return self.idle <= max(USUAL_DEVICES, self.all * USUAL_SHARE)


USUAL_DEVICES, USUAL_SHARE = 2, 0.1

# Only the share matters, so a large table is sampled: about 20,000 devices of random pages.
_IDLE_SHARE = Statement(
    "sweeps.idle_share",
    f"""
    SELECT count(*) FILTER (WHERE {_IS_IDLE}) AS idle, count(*) AS all
    FROM devices AS d TABLESAMPLE SYSTEM (least(100, 2000000 / greatest(1, (
        SELECT reltuples FROM pg_class WHERE oid = 'devices'::regclass
    ))))
    """,
    IdleShare,
    writes=False,
)


class SweepRepository(StatementRepository):
    """Bounded clean-up."""

    async def idle_devices(self) -> list[IdleDevice]:
        """Sign out devices whose tokens have all expired, and return them."""
        return await self._run.all(_IDLE_DEVICES)

    async def idle_share(self) -> IdleShare:
        """The number of devices that a sweep would sign out, and of all devices; in a large table, of a sample."""
        row = await self._run.first(_IDLE_SHARE)
        assert row is not None
        return row

    async def expire_messages(self) -> list[ExpiredRow]:
        """Empty expired messages; returns their number, and users whose view of a conversation changed."""
        return await self._run.all(EXPIRE)

    async def lapse_invitations(self) -> list[LapsedInvitation]:
        """Remove invitations that are too old."""
        return await self._run.all(_LAPSED_INVITATIONS, month_ago=self._month_ago)

    async def lapse_requests(self) -> list[LapsedRequest]:
        """Remove some requests to join that are too old."""
        week_ago = self._run.now - timedelta(days=DECLINED_DAYS)
        return await self._run.all(_LAPSED_REQUESTS, month_ago=self._month_ago, week_ago=week_ago)

    @property
    def _month_ago(self) -> datetime:
        return self._run.now - timedelta(days=INVITATION_DAYS)

    async def sweep(self, name: str, *, events_kept_for: timedelta) -> int:
        """Run one pass of one sweep; returns the number of rows."""
        now = self._run.now
        times = {
            "day_ago": now - KEPT_FOR,
            "addresses_before": now - ADDRESSES_KEPT_FOR,
            "buckets_before": now - BUCKETS_KEPT_FOR,
            "events_before": now - events_kept_for,
        }
        statement = _SWEEPS[name]
        return await self._run.execute(statement, **times)
