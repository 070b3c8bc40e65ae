"""Messages of a conversation; a page of history is one statement."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from messenger.actor import Caller
from messenger.database.pages import Corrupt, Page
from messenger.database.statements import Statement
from messenger.repositories._addressee import addressee
from messenger.repositories._fragments import (
    PAGE_BYTES,
    UNBOUNDED,
    bytes_before,
)
from messenger.repositories.base import StatementRepository
from messenger.repositories.gone import ERASE, HIDE, GoneRow
from messenger.repositories.message_rows import HIDDEN_JOIN, MessageRow, OutgoingMessage, message_columns
from messenger.repositories.sending import SEND, SEND_SEVERAL, SEND_WAITING, SentRow

MAX_SEQ = 2**62


class HistoryRow(msgspec.Struct, frozen=True, gc=False):
    """A message of a page, with `last_seq` of the conversation: 0 if the two have none yet.

    `visible_from`: in a group, the first number that its member sees; NULL in a 1:1. `first_unread`: the number of the
    first message after the caller's receipt that is not gone; NULL or above `last_seq` if there is none.
    """

    last_seq: int
    visible_from: int | None
    first_unread: int | None
    message: MessageRow | None

    @property
    def seq(self) -> int | None:
        return None if self.message is None else self.message.seq


class CorruptMessage(Corrupt, frozen=True, gc=False):
    """`seq` is NULL if the page has no message."""

    last_seq: int
    visible_from: int | None
    first_unread: int | None
    target_id: int
    seq: int

    @property
    def message(self) -> CorruptMessage | None:
        """This place, which represents the unreadable message in a page."""
        return None if self.seq is None else self


_FIRST_UNREAD = """CASE WHEN me.read_seq < c.last_seq THEN CASE WHEN me.gone @> (me.read_seq + 1)
                    THEN (SELECT upper(r) FROM unnest(me.gone) AS r WHERE r @> (me.read_seq + 1))
                    ELSE me.read_seq + 1 END END"""

# `last_seq` is 0 for a user without a conversation, and NULL if there is no such peer. Only without a membership is the
# target looked up.
_PLACE = f"""place AS (
            SELECT me.conversation_id, :target::bigint AS target_id,
                greatest(:after::bigint, me.visible_from - 1) AS after,
                CASE WHEN me.rank IS NOT NULL THEN me.visible_from END AS visible_from,
                {_FIRST_UNREAD} AS first_unread,
                CASE WHEN c.id IS NOT NULL THEN c.last_seq WHEN EXISTS (
                    SELECT FROM (SELECT true) AS always {addressee("actor.user_id", ":target::bigint", rights=())}
                    WHERE addressee.id IS NOT NULL
                ) THEN 0 END AS last_seq
            FROM actor LEFT JOIN (members AS me JOIN conversations AS c ON c.id = me.conversation_id)
                ON me.user_id = actor.user_id AND me.target_id = :target
        )"""


def _history(order: str, first: str, last: str) -> Page[HistoryRow, CorruptMessage]:
    """A page of history; of the numbers from `first` to `last`, `:limit` at most."""
    name = {"DESC": "messages.history_before", "ASC": "messages.history_after"}[order]
    rows = Statement(
        name,
        f"""
        WITH <<actor>>,
        {_PLACE}
        SELECT <<page_actor_columns>>, place.last_seq, place.visible_from, place.first_unread,
            {message_columns(target_id="place.target_id")}
        FROM actor LEFT JOIN place ON true
        LEFT JOIN LATERAL (
            SELECT * FROM (
                SELECT x.*, {bytes_before("x", f"x.seq {order}")} AS bytes_before FROM (
                    SELECT * FROM messages AS y
                    WHERE y.conversation_id = place.conversation_id AND y.seq < :before AND y.seq > place.after
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
    return Page(rows, _history_places(f"{name}_places", first, last), _part, attrgetter("seq"))


def _history_places(name: str, first: str, last: str) -> Statement[CorruptMessage]:
    """The places of a page of history. Numbers have no gaps, so they are known without reading a message."""
    return Statement(
        name,
        f"""
        WITH <<actor>>,
        {_PLACE}
        SELECT <<page_actor_columns>>, place.last_seq, place.visible_from, place.first_unread, place.target_id, s.seq
        FROM actor LEFT JOIN place ON true
        LEFT JOIN LATERAL generate_series({first}, {last}) AS s (seq) ON true
        ORDER BY s.seq
        """,
        CorruptMessage,
        writes=False,
    )


def _part(places: Sequence[CorruptMessage]) -> dict[str, Any]:
    return {
        "after": places[0].seq - 1,
        "before": places[-1].seq + 1,
        "limit": len(places),
        "bytes": UNBOUNDED,
    }


_LAST_BEFORE = "least(:before::bigint - 1, place.last_seq)"
_HISTORY_BEFORE = _history("DESC", f"greatest(place.after, {_LAST_BEFORE} - :limit::int) + 1", _LAST_BEFORE)
_HISTORY_AFTER = _history(
    "ASC", "place.after + 1", "least(place.after + :limit::int, :before::bigint - 1, place.last_seq)"
)

_GET = Statement(
    "messages.get",
    f"""
    WITH <<actor>>
    SELECT <<actor_columns>>, {message_columns()}
    FROM actor LEFT JOIN (
        messages AS m JOIN members AS me ON me.conversation_id = m.conversation_id
    ) ON m.id = :id AND me.user_id = actor.user_id AND m.seq >= me.visible_from
    {HIDDEN_JOIN}
    """,
    MessageRow,
    writes=False,
)


class LockedMessage(msgspec.Struct, frozen=True):
    """The members of a message's conversation, and what decides who may change it.

    Of a 1:1: the `rules` of both, and whether the sender may not write there any more. Of a group: until when the
    sender is muted, and the ranks of the reader and of the sender, who may have left.
    """

    members: list[int]
    rules: list[int]
    sender_blocked: bool
    muted_until: datetime | None
    reader_rank: int | None
    sender_rank: int | None


# A sender who may no longer write may not edit either, for the same reasons: a block must be indistinguishable from the
# end of a contact.
_LOCK = Statement(
    "messages.lock",
    f"""
    -- A group is locked before its message, as every change of the group does.
    WITH of_group AS MATERIALIZED (
        SELECT c.id FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id
        WHERE m.id = :id AND c.kind = 'group' FOR NO KEY UPDATE OF c
    )
    SELECT ARRAY(SELECT me.user_id FROM members AS me WHERE me.conversation_id = m.conversation_id
            ORDER BY me.user_id) AS members,
        ARRAY(SELECT s.rules FROM members AS me JOIN streams AS s ON s.user_id = me.user_id
            WHERE me.conversation_id = m.conversation_id AND me.rank IS NULL ORDER BY me.user_id) AS rules,
        reader.rank IS NULL AND NOT coalesce((
            SELECT addressee.may_write
            FROM members AS own {addressee("m.sender_id", "own.target_id", rights=["may_write"])}
            WHERE own.conversation_id = m.conversation_id AND own.user_id = m.sender_id
        ), false) AS sender_blocked,
        CASE WHEN sender.silenced_until > :now THEN sender.silenced_until END AS muted_until,
        reader.rank AS reader_rank, sender.rank AS sender_rank
    FROM (SELECT count(*) FROM of_group) AS group_first CROSS JOIN messages AS m
        LEFT JOIN members AS reader ON reader.conversation_id = m.conversation_id AND reader.user_id = :reader
        LEFT JOIN members AS sender ON sender.conversation_id = m.conversation_id AND sender.user_id = m.sender_id
    WHERE m.id = :id FOR NO KEY UPDATE OF m
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
    """Messages of conversations of which the caller is a member."""

    async def send(
        self, caller: Caller, message: OutgoingMessage, limits: Mapping[str, float], *, wait: bool = False
    ) -> SentRow:
        """Store a message with its events and counts, or return the reason of a refusal; one round trip.

        `wait`: wait for rows that another transaction has locked.
        """
        row = await self._run.first(SEND_WAITING if wait else SEND, caller, **msgspec.structs.asdict(message), **limits)
        assert row is not None
        return row

    async def send_several(
        self, callers: Sequence[Caller], messages: Sequence[OutgoingMessage], limits: Mapping[str, float]
    ) -> list[SentRow | None]:
        """Like `send` for several messages, each with its own outcome; None for an unauthenticated caller."""
        values = zip(*map(msgspec.structs.astuple, messages), strict=True)
        columns: dict[str, Sequence[Any]] = dict(zip(OutgoingMessage.__struct_fields__, values, strict=True))
        columns["mentions"] = [f"{{{','.join(map(str, message.mentions))}}}" for message in messages]
        return await self._run.batch(SEND_SEVERAL, callers, **limits, **columns)

    def list_before(
        self, caller: Caller, target_id: int, *, before: int, limit: int
    ) -> Awaitable[Sequence[HistoryRow | CorruptMessage]]:
        """The last messages below `before`, ascending, up to `PAGE_BYTES`. If there are none, one row without a
        message; if there is no such peer, no row.
        """
        return self._run.page(
            _HISTORY_BEFORE, caller, target=target_id, before=before, after=0, limit=limit, bytes=PAGE_BYTES
        )

    def list_after(
        self, caller: Caller, target_id: int, *, after: int, limit: int
    ) -> Awaitable[Sequence[HistoryRow | CorruptMessage]]:
        """The first messages above `after`; otherwise like `list_before`."""
        return self._run.page(
            _HISTORY_AFTER, caller, target=target_id, before=MAX_SEQ, after=after, limit=limit, bytes=PAGE_BYTES
        )

    async def find(self, caller: Caller, message_id: UUID) -> MessageRow | None:
        """One message as the caller sees it; None if the caller is not a member of its conversation."""
        return await self._run.first(_GET, caller, id=message_id)

    async def lock(self, message_id: UUID, reader_id: int) -> LockedMessage:
        """Lock a message that this reader has found before: messages are never removed.

        A message of a group is locked behind the lock of the group. What this returns was read before it began to wait.
        """
        row = await self._run.first(_LOCK, id=message_id, reader=reader_id)
        assert row is not None
        return row

    async def edit(self, message_id: UUID, body: str) -> bool:
        """Replace the text; False if the message is deleted."""
        return await self._run.execute(_EDIT, id=message_id, body=body) == 1

    async def erase(self, message_id: UUID, *, moderator_id: int | None = None) -> list[GoneRow] | None:
        """Empty the message for everyone; returns users whose view changed, or None if it was already deleted.

        `moderator_id`: who deletes it, if not its sender.
        """
        return await self._run.all(ERASE, id=message_id, deleted_by=moderator_id) or None

    async def hide(self, user_id: int, message_id: UUID) -> list[GoneRow] | None:
        """Hide the message from one user; returns the user if their view changed, or None if it was already hidden."""
        return await self._run.all(HIDE, owner=user_id, id=message_id) or None
