"""Streams: positions are taken under a row's lock, so that position order is commit order."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from messenger.events import Event, WakeUp
from messenger.statements import Runner, Statement


class PlacedRow(msgspec.Struct, frozen=True):
    """Where an event went."""

    user_id: int
    position: int
    name: str


# Needs: `entry` (user_id, name, subject, peer_id, payload, n), and `taken` (user_id, position): streams whose events a
# device has proved to have. Streams are locked by ascending user id, whoever records; then each gets its next positions
# in the order of `n`. Gives `placed`.
APPEND = """held AS (
        SELECT s.user_id FROM streams AS s
        WHERE s.user_id IN (SELECT user_id FROM entry UNION SELECT user_id FROM taken)
        ORDER BY s.user_id FOR NO KEY UPDATE
    ),
    counted AS (
        SELECT held.user_id, (SELECT count(*) FROM entry AS e WHERE e.user_id = held.user_id) AS news FROM held
    ),
    moved_streams AS (
        UPDATE streams AS s SET position = s.position + c.news, taken = greatest(s.taken, t.position)
        FROM counted AS c LEFT JOIN taken AS t ON t.user_id = c.user_id WHERE s.user_id = c.user_id
        RETURNING s.user_id, s.position - c.news AS base
    ),
    placed AS (
        SELECT e.*, m.base + row_number() OVER (PARTITION BY e.user_id ORDER BY e.n) AS position
        FROM entry AS e JOIN moved_streams AS m USING (user_id)
    ),
    written AS (
        INSERT INTO events (user_id, position, name, subject, peer_id, payload, at)
        SELECT user_id, position, name, subject, peer_id, payload::jsonb, :now FROM placed
    )"""

_APPEND: Statement[PlacedRow] = Statement(
    "events.append",
    f"""
    WITH entry AS (
        SELECT * FROM unnest(:users::bigint[], :names::text[], :subjects::uuid[], :peers::bigint[], :payloads::text[])
            WITH ORDINALITY AS e (user_id, name, subject, peer_id, payload, n)
    ),
    taken AS (SELECT NULL::bigint AS user_id, NULL::bigint AS position WHERE false),
    {APPEND}
    SELECT user_id, position, name FROM placed
    """,
    PlacedRow,
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
            peers=[event.peer for _, event in entries],
            payloads=[msgspec.json.encode(event.payload).decode() if event.payload else None for _, event in entries],
        )
        return wake_ups(rows)


def wake_ups(rows: Sequence[PlacedRow]) -> list[WakeUp]:
    """What is announced of events that a statement has written."""
    return [WakeUp(row.user_id, row.position, row.name) for row in rows]
