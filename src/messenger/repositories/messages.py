"""Messages of a conversation; a page of history is one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from messenger.actor import Caller
from messenger.database.statements import Statement
from messenger.repositories._damage import blank_row, is_damage, read_round
from messenger.repositories._fragments import (
    HIDDEN_JOIN,
    MESSAGE_COLUMNS,
    PAGE_BYTES,
    TAKES_MESSAGES,
    UNBOUNDED,
    MessageRow,
    bytes_before,
    edge,
)
from messenger.repositories.base import StatementRepository
from messenger.repositories.gone import ERASE, HIDE, GoneRow
from messenger.repositories.sending import SEND, SEND_WAITING, SentRow
from messenger.repositories.sending_together import SEND_ALL

MAX_SEQ = 2**62


class HistoryRow(msgspec.Struct, frozen=True, gc=False):
    """`last_seq` of the conversation with each message; the message's columns are NULL where there is none."""

    last_seq: int
    id: UUID | None
    client_id: str
    target_id: int
    sender_id: int
    sender_device_id: UUID
    seq: int
    kind: str
    body: str | None
    reply_to: UUID | None
    forwarded_from: UUID | None
    mentions: list[int]
    created_at: datetime
    edited_at: datetime | None
    deleted_at: datetime | None
    expires_at: datetime | None


def _history(name: str, order: str) -> Statement[HistoryRow]:
    return Statement(
        name,
        f"""
        WITH <<actor>>,
        place AS (
            SELECT me.conversation_id, me.target_id, c.last_seq
            FROM actor JOIN members AS me ON me.user_id = actor.user_id AND me.target_id = :target
                JOIN conversations AS c ON c.id = me.conversation_id
        )
        SELECT <<page_actor_columns>>, CASE WHEN place.conversation_id IS NOT NULL THEN place.last_seq
            WHEN EXISTS (SELECT FROM users AS u WHERE u.id = :target AND u.id <> actor.user_id
                AND u.deleted_at IS NULL AND u.disabled_at IS NULL) THEN 0 END AS last_seq,
            {MESSAGE_COLUMNS.replace("me.target_id", "place.target_id")}
        FROM actor LEFT JOIN place ON true
        LEFT JOIN LATERAL (
            SELECT * FROM (
                SELECT x.*, {bytes_before("x", f"x.seq {order}")} AS bytes_before FROM (
                    SELECT * FROM messages AS y
                    WHERE y.conversation_id = place.conversation_id AND y.seq < :before AND y.seq > :after
                    ORDER BY y.seq {order} LIMIT :limit
                ) AS x
            ) AS page WHERE page.bytes_before <= :bytes
        ) AS m ON true
        {HIDDEN_JOIN}
        ORDER BY m.seq
        """,
        HistoryRow,
        writes=False,
    )


_HISTORY_BEFORE = _history("messages.history_before", "DESC")
_HISTORY_AFTER = _history("messages.history_after", "ASC")

_GET = Statement(
    "messages.get",
    f"""
    WITH <<actor>>
    SELECT <<actor_columns>>, {MESSAGE_COLUMNS}
    FROM actor LEFT JOIN (
        messages AS m JOIN members AS me ON me.conversation_id = m.conversation_id
    ) ON m.id = :id AND me.user_id = actor.user_id
    {HIDDEN_JOIN}
    """,
    MessageRow,
    writes=False,
)


class LockedMessage(msgspec.Struct, frozen=True):
    """The members of a message's conversation with their `rules`, and whether its sender may still write there."""

    members: list[int]
    rules: list[int]
    sender_blocked: bool


# Who may send the other one nothing rewrites nothing either, whatever the reason: a block must look like the end of a
# contact, here too.
_LOCK = Statement(
    "messages.lock",
    f"""
    SELECT ARRAY(SELECT me.user_id FROM members AS me WHERE me.conversation_id = m.conversation_id
            ORDER BY me.user_id) AS members,
        ARRAY(SELECT s.rules FROM members AS me JOIN streams AS s ON s.user_id = me.user_id
            WHERE me.conversation_id = m.conversation_id ORDER BY me.user_id) AS rules,
        EXISTS (
            SELECT FROM conversations AS d
                JOIN members AS o ON o.conversation_id = d.id AND o.user_id <> m.sender_id
                JOIN users AS u ON u.id = o.user_id
                {edge("mine", "m.sender_id", "u.id")}
                {edge("theirs", "u.id", "m.sender_id")}
            WHERE d.id = m.conversation_id AND d.kind = 'direct' AND NOT ({TAKES_MESSAGES})
        ) AS sender_blocked
    FROM messages AS m WHERE m.id = :id FOR NO KEY UPDATE OF m
    """,
    LockedMessage,
    writes=True,
)

_EDIT: Statement[Any] = Statement(
    "messages.edit",
    "UPDATE messages SET body = :body, edited_at = :now WHERE id = :id AND deleted_at IS NULL",
    writes=True,
)


class MessageRepository(StatementRepository):
    """Messages of conversations that the caller takes part in."""

    async def send(self, caller: Caller, *, waits: bool = False, **values: Any) -> SentRow:
        """Write a message with all that follows from it, or say why not; one round trip."""
        row = await self._run.first(SEND_WAITING if waits else SEND, caller, **values)
        assert row is not None
        return row

    async def send_all(
        self, callers: Sequence[Caller], pace: Mapping[str, float], **columns: Sequence[Any]
    ) -> list[SentRow | None]:
        """As `send`, for several at once; None for a caller who is nobody. `columns`: a list of each value."""
        return await self._run.batch(SEND_ALL, callers, **pace, **columns)

    async def list_before(self, caller: Caller, target_id: int, *, before: int, limit: int) -> list[HistoryRow]:
        """The last messages below `before`, ascending, as many as `PAGE_BYTES` hold; no row if there is no such
        peer.

        Of a message that can't be read only `seq` is known.
        """
        try:
            return await self._run.all(
                _HISTORY_BEFORE, caller, target=target_id, before=before, after=0, limit=limit, bytes=PAGE_BYTES
            )
        except Exception as error:
            if not is_damage(error):
                raise
        last = await self._last_seq(caller, target_id)
        end = min(before, last + 1)
        return await self._read_round(caller, target_id, range(max(1, end - limit), end), last)

    async def list_after(self, caller: Caller, target_id: int, *, after: int, limit: int) -> list[HistoryRow]:
        """The first messages above `after`, ascending; else as `list_before`."""
        try:
            return await self._run.all(
                _HISTORY_AFTER, caller, target=target_id, before=MAX_SEQ, after=after, limit=limit, bytes=PAGE_BYTES
            )
        except Exception as error:
            if not is_damage(error):
                raise
        last = await self._last_seq(caller, target_id)
        return await self._read_round(caller, target_id, range(after + 1, min(after + limit, last) + 1), last)

    async def _last_seq(self, caller: Caller, target_id: int) -> int:
        rows = await self._run.all(_HISTORY_AFTER, caller, target=target_id, before=1, after=0, limit=1, bytes=1)
        return rows[0].last_seq if rows else 0

    async def _read_round(self, caller: Caller, target_id: int, seqs: range, last: int) -> list[HistoryRow]:
        """`seq` has no gaps: which they are is known without reading them."""

        async def read(part: Sequence[int]) -> list[HistoryRow]:
            rows = await self._run.all(
                _HISTORY_AFTER,
                caller,
                target=target_id,
                before=part[-1] + 1,
                after=part[0] - 1,
                limit=len(part),
                bytes=UNBOUNDED,
            )
            return [row for row in rows if row.seq]

        def blank(seq: int) -> HistoryRow:
            return blank_row(HistoryRow, last_seq=last, target_id=target_id, seq=seq)

        return await read_round(seqs, read, blank)

    async def find(self, caller: Caller, message_id: UUID) -> MessageRow | None:
        """One message as the caller sees it; None where the caller takes no part in its conversation."""
        return await self._run.first(_GET, caller, id=message_id)

    async def lock(self, message_id: UUID) -> LockedMessage:
        """Lock a message that was found before; messages are never removed."""
        row = await self._run.first(_LOCK, id=message_id)
        assert row is not None
        return row

    async def edit(self, message_id: UUID, body: str) -> bool:
        """Replace the text; False when the message is gone."""
        return await self._run.execute(_EDIT, id=message_id, body=body) == 1

    async def erase(self, message_id: UUID) -> list[GoneRow] | None:
        """Empty the message for everyone; returns users whose view changed, or None if it was already deleted."""
        return await self._run.all(ERASE, id=message_id) or None

    async def hide(self, user_id: int, message_id: UUID) -> list[GoneRow] | None:
        """Hide the message from one user; returns the user if their view changed, or None if it was already hidden."""
        return await self._run.all(HIDE, owner=user_id, id=message_id) or None
