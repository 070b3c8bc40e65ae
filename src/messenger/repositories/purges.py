"""Deleting the messages of a removed member, some at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from messenger.database.statements import Statement
from messenger.repositories.base import StatementRepository
from messenger.repositories.group_locks import LockedGroup

WINDOW = 1000
"""Sequence numbers that one transaction looks through."""
AT_ONCE = 20
"""Messages that one transaction deletes: of a group of 200, they notify as many streams 4,000 times."""


class PurgeRow(msgspec.Struct, frozen=True):
    """A purge that is claimed; the columns are those of `models.MessagePurge`."""

    conversation_id: int
    user_id: int
    by_id: int
    since: datetime | None
    next_seq: int


_REQUEST: Statement[Any] = Statement(
    "purges.request",
    """
    INSERT INTO message_purges (conversation_id, user_id, by_id, since, next_seq)
    SELECT c.id, :user, :by, :since, c.last_seq + 1 FROM conversations AS c WHERE c.id = :conversation
    ON CONFLICT (conversation_id, user_id) DO UPDATE SET by_id = excluded.by_id, next_seq = excluded.next_seq,
        since = CASE WHEN message_purges.since IS NULL THEN NULL ELSE least(message_purges.since, excluded.since) END
    """,
    writes=True,
)

_CLAIM = Statement(
    "purges.claim",
    """
    SELECT conversation_id, user_id, by_id, since, next_seq FROM message_purges
    ORDER BY conversation_id, user_id LIMIT 1 FOR UPDATE SKIP LOCKED
    """,
    PurgeRow,
    writes=True,
)


class PurgedMessage(msgspec.Struct, frozen=True):
    id: UUID
    seq: int


# The latest messages of the window first.
_FIND = Statement(
    "purges.find",
    f"""
    SELECT m.id, m.seq FROM messages AS m
    WHERE m.conversation_id = :conversation AND m.seq < :next AND m.seq >= :next::bigint - {WINDOW}
        AND m.sender_id = :user AND m.deleted_at IS NULL
        AND (:since::timestamptz IS NULL OR m.created_at >= :since)
    ORDER BY m.seq DESC LIMIT {AT_ONCE}
    """,
    PurgedMessage,
    writes=False,
)

_ADVANCE: Statement[Any] = Statement(
    "purges.advance",
    "UPDATE message_purges SET next_seq = :next WHERE conversation_id = :conversation AND user_id = :user",
    writes=True,
)

_FINISH: Statement[Any] = Statement(
    "purges.finish",
    "DELETE FROM message_purges WHERE conversation_id = :conversation AND user_id = :user",
    writes=True,
)


class PurgeRepository(StatementRepository):
    """Purges; requested under the lock of the group, and carried out afterwards in transactions of their own."""

    async def request(self, group: LockedGroup, user_id: int, *, by_id: int, since: datetime | None) -> None:
        """Delete this user's messages in the group, those from `since` on or all, soon after the commit."""
        await self._run.execute(_REQUEST, conversation=group.conversation_id, user=user_id, by=by_id, since=since)

    async def claim(self) -> PurgeRow | None:
        """Lock a purge that no other worker has locked."""
        return await self._run.first(_CLAIM)

    async def find(self, purge: PurgeRow) -> list[PurgedMessage]:
        """The next messages to delete, at most `AT_ONCE`, latest first."""
        return await self._run.all(
            _FIND,
            conversation=purge.conversation_id,
            user=purge.user_id,
            next=purge.next_seq,
            since=purge.since,
        )

    async def advance(self, purge: PurgeRow, next_seq: int) -> None:
        """Continue before this number, or finish at the beginning of the conversation."""
        key = {"conversation": purge.conversation_id, "user": purge.user_id}
        if next_seq > 1:
            await self._run.execute(_ADVANCE, next=next_seq, **key)
        else:
            await self._run.execute(_FINISH, **key)
