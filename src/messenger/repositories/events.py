"""Streams: positions are taken under a row's lock, so that position order is commit order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from messenger.database.engine import TransientConflict
from messenger.database.runner import Runner
from messenger.database.statements import Statement
from messenger.events import Event, WakeUp


class PlacedRow(msgspec.Struct, frozen=True):
    """Where an event went."""

    user_id: int
    position: int
    name: str


class _AppendedRow(PlacedRow, frozen=True):
    """`outdated`: the rules that allowed the events have changed; the same in every row."""

    outdated: bool


def append(*, rules: str = "false", closed: str = "false") -> str:
    """The common table expressions that append events to streams; the last of them is `placed`.

    Needs `entry` (user_id, name, subject, peer_id, payload, n) and `taken` (user_id, position): acknowledged positions
    of streams. Streams are always locked by ascending user; each then gets its next positions in the order of `n`.
    Nothing is appended to a closed stream (of an erased account). `rules`, `closed`: SQL conditions on the stream `s`
    for users whose rules of contact have changed, and for streams to close.

    The cost is linear in the number of entries: each stream is found once by its key, and carries its own entries.
    Joining `entry` to the streams again would be a nested loop over both, because PostgreSQL does not know the length
    of an array when it plans a prepared statement.
    """
    return f"""news AS (
        SELECT user_id, max(taken) AS taken, count(n) AS count,
            array_agg(name ORDER BY n) FILTER (WHERE n IS NOT NULL) AS names,
            array_agg(subject ORDER BY n) FILTER (WHERE n IS NOT NULL) AS subjects,
            array_agg(peer_id ORDER BY n) FILTER (WHERE n IS NOT NULL) AS peers,
            array_agg(payload ORDER BY n) FILTER (WHERE n IS NOT NULL) AS payloads
        FROM (
            SELECT user_id, n, name, subject, peer_id, payload, NULL::bigint AS taken FROM entry
            UNION ALL SELECT user_id, NULL, NULL, NULL, NULL, NULL, position FROM taken
        ) AS each GROUP BY user_id
    ),
    held AS (
        SELECT news.*, s.rules FROM news JOIN streams AS s ON s.user_id = news.user_id WHERE NOT s.closed
        ORDER BY s.user_id FOR NO KEY UPDATE OF s
    ),
    moved_streams AS (
        UPDATE streams AS s SET position = s.position + held.count, taken = greatest(s.taken, held.taken),
            rules = s.rules + ({rules})::int, closed = {closed}
        FROM held WHERE s.user_id = held.user_id
        RETURNING s.user_id, s.position - held.count AS base, held.names, held.subjects, held.peers, held.payloads
    ),
    placed AS (
        SELECT m.user_id, m.base + e.nth AS position, e.name, e.subject, e.peer_id, e.payload
        FROM moved_streams AS m, unnest(m.names, m.subjects, m.peers, m.payloads) WITH ORDINALITY
            AS e (name, subject, peer_id, payload, nth)
    ),
    written AS (
        INSERT INTO events (user_id, position, name, subject, peer_id, payload, at)
        SELECT user_id, position, name, subject, peer_id, payload::jsonb, :now FROM placed
    )"""


_APPEND: Statement[_AppendedRow] = Statement(
    "events.append",
    f"""
    WITH entry AS (
        SELECT * FROM unnest(:users::bigint[], :names::text[], :subjects::uuid[], :peers::bigint[], :payloads::text[])
            WITH ORDINALITY AS e (user_id, name, subject, peer_id, payload, n)
    ),
    -- A stream that is closed or whose rules change is locked in order, even if it gets no event.
    taken AS (SELECT user_id, NULL::bigint AS position FROM unnest(:rules::bigint[] || :closed::bigint[]) AS user_id),
    {append(rules="s.user_id = ANY (:rules)", closed="s.user_id = ANY (:closed)")}
    SELECT user_id, position, name, EXISTS (
        SELECT FROM held JOIN unnest(:judged::bigint[], :judged_rules::int[]) AS j (user_id, rules) USING (user_id)
        WHERE held.rules <> j.rules
    ) AS outdated
    FROM placed
    """,
    _AppendedRow,
    writes=True,
)


class EventRepository:
    """Writes events into streams."""

    def __init__(self, run: Runner) -> None:
        self._run = run

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
        `TransientConflict` if one of them has changed since.
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
            raise TransientConflict("rules of contact changed")
        return wake_ups(rows)


def wake_ups(rows: Sequence[PlacedRow]) -> list[WakeUp]:
    """What is announced of events that a statement has written."""
    return [WakeUp(row.user_id, row.position, row.name) for row in rows]
