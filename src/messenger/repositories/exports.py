"""Exports: everything stored about an account, rendered as JSON by PostgreSQL."""

from __future__ import annotations

import msgspec

from messenger.database.statements import Statement
from messenger.repositories._fragments import PAGE_BYTES, bytes_before
from messenger.repositories.base import StatementRepository
from messenger.repositories.message_rows import TIMES, message_expressions, select

PAGE = 1000


class JsonRow(msgspec.Struct, frozen=True):
    json: str


class MessageJsonRow(msgspec.Struct, frozen=True):
    conversation_id: int
    seq: int
    json: str


def _time(expression: str) -> str:
    """A timestamp as the API shows it: UTC, milliseconds, `Z`."""
    return f"""to_char({expression} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


def _times(*names: str) -> str:
    return ", ".join(f"{_time(name)} AS {name}" for name in names)


def _part(name: str, columns: str, source: str) -> Statement[JsonRow]:
    return Statement(
        f"exports.{name}",
        f"SELECT to_jsonb(x)::text AS json FROM (SELECT {columns} FROM {source}) AS x",
        JsonRow,
        writes=False,
    )


_PARTS: dict[str, Statement[JsonRow]] = {
    "profile": _part(
        "profile",
        "u.id, username, name, about, status, status_text, avatar_key, privacy_last_seen,"
        f" {_times('last_activity', 'created_at')}, privacy_avatar, privacy_messages_from,"
        " privacy_calls_from, privacy_groups_from, privacy_receipts, privacy_forwards, auto_join",
        "users AS u WHERE u.id = :owner",
    ),
    "devices": _part(
        "devices",
        f"id, name, {_times('created_at', 'last_activity')}",
        "devices WHERE user_id = :owner ORDER BY created_at",
    ),
    "contacts": _part(
        "contacts",
        f"target_id, state, alias, message, {_times('since')}",
        "contacts WHERE owner_id = :owner ORDER BY target_id",
    ),
    "conversations": _part(
        "conversations",
        f"target_id, c.kind, c.last_seq, read_seq, delivered_seq, {_times('muted_until')}, pinned, archived,"
        " c.expire_after",
        "members AS m JOIN conversations AS c ON c.id = m.conversation_id WHERE m.user_id = :owner ORDER BY target_id",
    ),
    "secrets": _part(
        "secrets",
        f"version, {_times('created_at')}, convert_from(envelope, 'UTF8')::jsonb AS envelope",
        "secrets WHERE user_id = :owner ORDER BY version",
    ),
}

PARTS = tuple(_PARTS)

# An export shows a message as its owner sees it, without the device that sent it.
_EXPORTED = {
    name: _time(f"({expression})") if name in TIMES else expression
    for name, expression in message_expressions(target_id="m.target_id").items()
    if name != "sender_device_id"
}

# A page starts in the first conversation with messages left, and reads only as many conversations as fill it. Sequence
# numbers have no gaps, so the number of messages left is known without reading them.
_MESSAGES = Statement(
    "exports.messages",
    f"""
    WITH place AS (
        SELECT me.conversation_id, me.target_id, l.after,
            sum(c.last_seq - l.after) OVER (ORDER BY me.conversation_id) - (c.last_seq - l.after) AS before
        FROM members AS me JOIN conversations AS c ON c.id = me.conversation_id
        CROSS JOIN LATERAL (
            SELECT greatest(me.visible_from - 1, CASE WHEN me.conversation_id = :after_conversation
                THEN :after_seq::bigint ELSE 0 END) AS after
        ) AS l
        WHERE me.user_id = :owner AND me.conversation_id >= :after_conversation
    )
    SELECT m.conversation_id, m.seq, to_jsonb(x)::text AS json
    FROM (
        SELECT p.*, place.target_id, {bytes_before("p", "p.conversation_id, p.seq")} AS bytes_before
        FROM place CROSS JOIN LATERAL (
            SELECT * FROM messages AS n WHERE n.conversation_id = place.conversation_id AND n.seq > place.after
            ORDER BY n.seq LIMIT {PAGE}
        ) AS p
        WHERE place.before < {PAGE} ORDER BY p.conversation_id, p.seq LIMIT {PAGE}
    ) AS m
    LEFT JOIN hidden_messages AS hidden ON hidden.user_id = :owner AND hidden.message_id = m.id
    CROSS JOIN LATERAL (
        SELECT {select(_EXPORTED)}
    ) AS x
    WHERE m.bytes_before <= {PAGE_BYTES} ORDER BY m.conversation_id, m.seq
    """,
    MessageJsonRow,
    writes=False,
)


class ExportRepository(StatementRepository):
    """Reads an account part by part."""

    async def part(self, name: str, owner_id: int) -> list[str]:
        """All rows of one part."""
        return [row.json for row in await self._run.all(_PARTS[name], owner=owner_id)]

    async def messages(self, owner_id: int, after: tuple[int, int]) -> list[MessageJsonRow]:
        """The next page of messages of all conversations, after a conversation and a sequence number in it."""
        return await self._run.all(_MESSAGES, owner=owner_id, after_conversation=after[0], after_seq=after[1])
