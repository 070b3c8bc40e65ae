"""Streams: positions are taken under a row's lock, so that position order is commit order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from messenger.database.statements import Statement
from messenger.errors import ConcurrentUpdate
from messenger.events import Event, WakeUp
from messenger.repositories.base import StatementRepository


class PlacedRow(msgspec.Struct, frozen=True):
    """The stream and the position of an appended event."""

    user_id: int
    position: int
    name: str


class _AppendedRow(PlacedRow, frozen=True):
    """`outdated`: the rules that allowed the events have changed; the same in every row."""

    outdated: bool


def lock_streams(users: str, *, wait: bool = True) -> str:
    """The query that locks the open streams of `users`, an SQL set, in ascending order.

    `wait`: wait for streams that another transaction has locked, or skip them.
    """
    return f"""SELECT s.user_id, s.rules, s.sent_until FROM streams AS s
        WHERE s.user_id IN ({users}) AND NOT s.closed
        ORDER BY s.user_id FOR NO KEY UPDATE OF s{"" if wait else " SKIP LOCKED"}"""


EVENT_COLUMNS = ("name", "subject", "peer_id", "payload")


def append(
    columns: Sequence[str] = EVENT_COLUMNS, *, name: str = "", locked: bool = False, totals: str = "", sets: str = ""
) -> str:
    """The common table expressions that append events to streams; every event is inserted here.

    Needs `entry` (user_id, n, and `columns`): the events, in the order of `n`. An entry whose `n` is NULL appends
    nothing, but locks and updates its stream. `name`: that of all events, where it is not one of `columns`. Of an
    event, the columns that are not given are NULL; columns that are not an event's are carried to `deliveries`, which
    has each event with its `position`.

    The streams are locked by ascending user, unless the statement has `locked` all of them with `lock_streams`. Each
    then assigns its next positions. Nothing is appended to a closed stream (of an erased account). `sets`: further
    assignments to the stream `s`, which may use `totals`, aggregates over its entries, as `entries.…`.

    The cost is linear in the number of entries, because each stream carries its own. Joining `entry` to the streams
    again would be a nested loop: a prepared statement is planned without the length of its arrays.
    """
    arrays = ", ".join(f"array_agg({each} ORDER BY n) FILTER (WHERE n IS NOT NULL) AS {each}s" for each in columns)
    lists = ", ".join(f"{column}s" for column in columns)
    shown = ", ".join([f"e.{column}" for column in columns] + ([f"'{name}' AS name"] if name else []))
    written = [column for column in EVENT_COLUMNS if column in columns or (name and column == "name")]
    values = ", ".join(f"{column}::jsonb" if column == "payload" else column for column in written)
    return f"""-- The streams that change, each with its own entries.
    notified AS (
        SELECT user_id, count(n) AS count, {arrays}{totals and f", {totals}"} FROM entry GROUP BY user_id
    ),
    {"" if locked else _LOCKED_STREAMS}
    advanced AS (
        UPDATE streams AS s SET position = s.position + entries.count{sets and f", {sets}"}
        FROM {"notified" if locked else "locked_streams"} AS entries WHERE s.user_id = entries.user_id
        RETURNING s.user_id, s.position - entries.count AS base, {lists}
    ),
    deliveries AS (
        SELECT a.user_id, a.base + e.nth AS position, {shown}
        FROM advanced AS a, unnest({lists}) WITH ORDINALITY AS e ({", ".join(columns)}, nth)
    ),
    inserted AS (
        INSERT INTO events (user_id, position, {", ".join(written)}, at)
        SELECT user_id, position, {values}, :now FROM deliveries
    )"""


_LOCKED_STREAMS = """locked_streams AS (
        SELECT notified.*, s.rules FROM notified JOIN streams AS s ON s.user_id = notified.user_id WHERE NOT s.closed
        ORDER BY s.user_id FOR NO KEY UPDATE OF s
    ),"""

_APPEND: Statement[_AppendedRow] = Statement(
    "events.append",
    f"""
    WITH entry AS (
        SELECT * FROM unnest(:users::bigint[], :names::text[], :subjects::uuid[], :peers::bigint[], :payloads::text[])
            WITH ORDINALITY AS e (user_id, name, subject, peer_id, payload, n)
        -- A stream that is closed or whose rules change is locked in order, even if it gets no event.
        UNION ALL SELECT user_id, NULL, NULL, NULL, NULL, NULL
        FROM unnest(:rules::bigint[] || :closed::bigint[]) AS user_id
    ),
    {append(sets="rules = s.rules + (s.user_id = ANY (:rules))::int, closed = s.user_id = ANY (:closed)")}
    SELECT user_id, position, name, EXISTS (
        SELECT FROM locked_streams JOIN unnest(:judged::bigint[], :judged_rules::int[]) AS j (user_id, rules)
            USING (user_id)
        WHERE locked_streams.rules <> j.rules
    ) AS outdated
    FROM deliveries
    """,
    _AppendedRow,
    writes=True,
)


class EventRepository(StatementRepository):
    """Writes events into streams."""

    async def append(
        self,
        recorded: Sequence[tuple[Event, tuple[int, ...]]],
        *,
        rules: Sequence[int] = (),
        closed: Sequence[int] = (),
        judged: Mapping[int, int] | None = None,
    ) -> list[WakeUp]:
        """Append each event to the streams of its audience, in the order recorded, in one statement.

        `rules`: users whose edges or privacy have changed; messages that were authorized before are checked again.
        `closed`: users whose streams are closed. `judged`: the `rules` of streams that allowed the change; raises
        `ConcurrentUpdate` if one of them has changed since.
        """
        judged = judged or {}
        entries = [(user, event) for event, audience in recorded for user in audience]
        rows = await self._run.all(
            _APPEND,
            users=[user for user, _ in entries],
            names=[event.name for _, event in entries],
            subjects=[event.subject for _, event in entries],
            peers=[event.peer for _, event in entries],
            payloads=[msgspec.json.encode(event.payload).decode() if event.payload else None for _, event in entries],
            rules=rules,
            closed=closed,
            judged=list(judged),
            judged_rules=list(judged.values()),
        )
        if any(row.outdated for row in rows):
            raise ConcurrentUpdate("contact rules changed")
        return wake_ups(rows)


def wake_ups(rows: Sequence[PlacedRow]) -> list[WakeUp]:
    """The wake-ups for events that a statement has appended."""
    return [WakeUp(row.user_id, row.position, row.name) for row in rows]
