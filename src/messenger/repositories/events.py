"""Streams: positions are taken under a row's lock, so that position order is commit order."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from messenger.events import Event, WakeUp
from messenger.statements import Runner, Statement


class _Position(msgspec.Struct, frozen=True):
    user_id: int
    position: int
    name: str


# Streams are locked by ascending user id, whoever records; then each gets its next positions in the order given.
_APPEND: Statement[_Position] = Statement(
    "events.append",
    """
    WITH entry AS (
        SELECT * FROM unnest(:users::bigint[], :names::text[], :subjects::uuid[], :payloads::text[])
            WITH ORDINALITY AS e (user_id, name, subject, payload, n)
    ),
    held AS (
        SELECT s.user_id FROM streams AS s WHERE s.user_id IN (SELECT user_id FROM entry)
        ORDER BY s.user_id FOR NO KEY UPDATE
    ),
    counted AS (SELECT e.user_id, count(*) AS news FROM entry AS e JOIN held USING (user_id) GROUP BY e.user_id),
    moved AS (
        UPDATE streams AS s SET position = s.position + c.news FROM counted AS c WHERE s.user_id = c.user_id
        RETURNING s.user_id, s.position - c.news AS base
    ),
    placed AS (
        SELECT e.*, m.base + row_number() OVER (PARTITION BY e.user_id ORDER BY e.n) AS position
        FROM entry AS e JOIN moved AS m USING (user_id)
    ),
    written AS (
        INSERT INTO events (user_id, position, name, subject, payload, at)
        SELECT user_id, position, name, subject, payload::jsonb, :now FROM placed
    )
    SELECT user_id, position, name FROM placed
    """,
    _Position,
    writes=True,
)


class EventRepository:
    """Writes events into streams."""

    def __init__(self, run: Runner) -> None:
        self._run = run

    async def append(self, recorded: Sequence[tuple[Event, tuple[int, ...]]]) -> list[WakeUp]:
        """Put each event into the streams of its audience, in the order recorded; one statement."""
        entries = [(user, event) for event, audience in recorded for user in audience]
        rows = await self._run.all(
            _APPEND,
            users=[user for user, _ in entries],
            names=[event.name for _, event in entries],
            subjects=[event.subject for _, event in entries],
            payloads=[msgspec.json.encode(event.payload).decode() if event.payload else None for _, event in entries],
        )
        return [WakeUp(row.user_id, row.position, row.name) for row in rows]
