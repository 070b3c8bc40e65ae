"""Sending messages: one at a time, or several in one statement."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from messenger.database.statements import Statement
from messenger.repositories._addressee import addressee
from messenger.repositories._send_fragments import (
    ALL,
    EXPIRES_AT,
    LAST_AT,
    MINUTE,
    OUTCOME,
    TO,
    ahead,
    earlier,
    later,
    mentioned,
    reply_fits,
    source,
)
from messenger.repositories.events import append, lock_streams
from messenger.repositories.message_rows import OUTGOING_TYPES


class SentMessage(msgspec.Struct, frozen=True, gc=False):
    """What the database decided about a message.

    `body`: that of the forwarded message, NULL for a text of the sender's own. `mentioned`: the members among
    `mentions`. `recipients`, `targets`, `positions`: for each member whose stream has the event, the user, how that
    user addresses the conversation, and the event's position.
    """

    seq: int
    created_at: datetime
    expires_at: datetime | None
    body: str | None
    mentioned: list[int]
    recipients: list[int]
    targets: list[int]
    positions: list[int]


class SentRow(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a message.

    `wait`: for `over_limit:…`, the seconds until the limit allows it. `until`: when the mute ends, or the slow mode
    allows the next message.
    """

    outcome: str
    wait: float | None
    until: datetime | None
    sender_id: int
    sender_device_id: UUID
    earlier_id: UUID | None
    earlier_fingerprint: bytes | None
    sent: SentMessage | None


# `requested`: each message with its sender and its position in the batch (`n`).
_ONE = f"""<<actor>>,
    requested AS MATERIALIZED (
        SELECT actor.*, 1 AS n, {", ".join(f":{name}::{kind} AS {name}" for name, kind in OUTGOING_TYPES.items())}
        FROM actor
    ),"""
# A list of lists is passed as a list of texts: PostgreSQL has no arrays of arrays of different lengths.
_LISTS = ", ".join(f":{name}::{'text' if kind.endswith('[]') else kind}[]" for name, kind in OUTGOING_TYPES.items())
_SEVERAL = f"""<<actors>>,
    requested AS MATERIALIZED (
        SELECT actors.*, {", ".join(f"r.{name}::{kind}" for name, kind in OUTGOING_TYPES.items())}
        FROM unnest({_LISTS})
            WITH ORDINALITY AS r ({", ".join(OUTGOING_TYPES)}, n) JOIN actors USING (n)
    ),"""

# The columns of a message: those that the sender gives, and what the statement adds to them or decides instead.
_STORED = {name: f"r.{name}" for name in OUTGOING_TYPES if name != "target_id"} | {
    "conversation_id": "a.conversation_id",
    "seq": "a.seq",
    "sender_id": "r.user_id",
    "sender_device_id": "r.device_id",
    "body": "coalesce(j.body, r.body)",
    "mentions": mentioned("r.mentions", "a.conversation_id"),
    "created_at": "a.last_at",
    "expires_at": "a.expires_at",
}

_SENDING_RIGHTS = ("may_write", "obstacle", "obstacle_until", "slow_mode", "encrypted")
_SENT_UNTIL = f"CASE WHEN entries.sent > 0 THEN {later('s.sent_until', *ALL, 'entries.sent')} ELSE s.sent_until END"
_APPEND = append(
    ("subject", "target_id"),
    name="message.created",
    locked=True,
    totals="count(*) FILTER (WHERE own) AS sent",
    sets=f"sent_until = {_SENT_UNTIL}",
)


def _statement(name: str, *, several: bool = False, wait: bool = False) -> Statement[SentRow]:
    """The statement that sends one message, or several; `wait`: it waits for rows that another transaction has locked.

    Each message has its own outcome. The position in the batch is the order in which messages of a conversation and
    events of a stream are numbered. Where the messages of one sender exceed a limit together, or have the same
    `client_id`, each has to be sent by itself: `retry_singly`.

    Rows are locked in one order: the conversations, the memberships that are written, the streams of all members;
    ascending within a table. Unless it waits, rows that another transaction has locked are skipped. A message that
    misses a row is `busy`: it writes nothing, blocks no other message, and is retried shortly after. A message is also
    `busy` if its rules have changed: `rules` of both users' streams (of a group, the sender's alone) is read with the
    edges that allow the message, and again under the locks. A block, a change of privacy or an erasure is therefore
    ordered entirely after or before a message. A conversation's number only grows if a message is written. A concurrent
    repetition violates uq_messages_sender_id, which rolls the statement back, and finds the first message when it runs
    again.
    """
    skip_locked = "" if wait else " SKIP LOCKED"
    # For a single message these are constants; PostgreSQL would sort for each of them.
    attempt = "row_number() OVER (PARTITION BY r.user_id, r.client_id ORDER BY r.n)" if several else "1"
    sent = "count(*) OVER (PARTITION BY j.user_id)" if several else "1"
    sent_to = "count(*) OVER (PARTITION BY j.conversation_id, j.user_id)" if several else "1"
    nth = "row_number() OVER (PARTITION BY counted.conversation_id ORDER BY counted.n)" if several else "1"
    caller = "actors" if several else "actor"
    text = f"""
    WITH {_SEVERAL if several else _ONE}
    -- What each sender requests, checked against this statement's snapshot.
    checked AS MATERIALIZED (
        SELECT r.n, r.user_id, addressee.id AS target_id, addressee.id IS NOT NULL AND addressee.may_write AS allowed,
            addressee.conversation_id, earlier.id AS earlier_id, earlier.fingerprint AS earlier_fingerprint,
            addressee.obstacle, addressee.obstacle_until, c.version, addressee.slow_mode,
            addressee.encrypted IS TRUE AS encrypted,
            my.rules AS my_rules, their.user_id AS their_id, their.rules AS their_rules,
            {reply_fits("r.reply_to", "addressee")} AS reply_fits,
            r.forwarded_from IS NULL OR source.id IS NOT NULL AS source_fits,
            source.protected IS TRUE AS protected, source.body,
            {attempt} AS attempt
        FROM requested AS r
        {addressee("r.user_id", "r.target_id", rights=_SENDING_RIGHTS)}
        -- Nothing but the contact rules decides in a 1:1, whose version is not read.
        LEFT JOIN conversations AS c ON c.id = CASE addressee.kind WHEN 'group' THEN addressee.conversation_id END
        {earlier("r.user_id", "r.client_id")}
        LEFT JOIN streams AS my ON my.user_id = r.user_id
        LEFT JOIN streams AS their
            ON their.user_id = CASE addressee.kind WHEN 'user' THEN addressee.id ELSE r.user_id END
        {source("r.user_id", "r.forwarded_from")}
    ),
    conversation AS MATERIALIZED (
        SELECT c.id, c.last_seq, {LAST_AT} AS last_at, c.expire_after, c.version FROM conversations AS c
        WHERE c.id IN (
            SELECT conversation_id FROM checked
            WHERE allowed AND NOT encrypted AND NOT protected AND reply_fits AND source_fits
                AND earlier_id IS NULL AND attempt = 1
        )
        ORDER BY c.id FOR NO KEY UPDATE OF c{skip_locked}
    ),
    -- A message changes the membership of its sender, and that of each member once a minute (`written`).
    membership AS MATERIALIZED (
        SELECT m.conversation_id, m.user_id, m.target_id, m.last_minute IS DISTINCT FROM {MINUTE} OR EXISTS (
            SELECT FROM checked WHERE checked.conversation_id = m.conversation_id AND checked.user_id = m.user_id
        ) AS written
        FROM conversation JOIN members AS m ON m.conversation_id = conversation.id
    ),
    locked_members AS MATERIALIZED (
        SELECT m.conversation_id, m.user_id, m.sent_until, m.rank, m.sent_at FROM members AS m
        WHERE (m.conversation_id, m.user_id) IN (SELECT conversation_id, user_id FROM membership WHERE written)
        ORDER BY m.conversation_id, m.user_id FOR NO KEY UPDATE OF m{skip_locked}
    ),
    -- Reads `locked_members` first, to keep the lock order.
    locked_streams AS MATERIALIZED (
        {lock_streams("SELECT user_id FROM membership WHERE (SELECT count(*) FROM locked_members) > 0", wait=wait)}
    ),
    -- Conversations with all rows that a message needs locked.
    locked AS MATERIALIZED (
        SELECT p.conversation_id FROM membership AS p
        LEFT JOIN locked_streams AS s USING (user_id) LEFT JOIN locked_members AS m USING (conversation_id, user_id)
        GROUP BY p.conversation_id
        HAVING bool_and(s.user_id IS NOT NULL AND (m.user_id IS NOT NULL OR NOT p.written))
    ),
    -- Messages that may be written under the locks, and by how many seconds each would exceed the limits.
    counted AS MATERIALIZED (
        SELECT j.n, j.user_id, j.conversation_id,
            {ahead("my.sent_until", *ALL)} - :room::float AS over, {ahead("place.sent_until", *TO)} - :room_to::float
            AS over_to, {sent} AS sent, {sent_to} AS sent_to, place.rank = 0 AND j.slow_mode > 0 AS slow
        FROM checked AS j JOIN locked USING (conversation_id)
        JOIN locked_streams AS my ON my.user_id = j.user_id AND my.rules = j.my_rules
        JOIN locked_streams AS their ON their.user_id = j.their_id AND their.rules = j.their_rules
        JOIN locked_members AS place ON place.conversation_id = j.conversation_id AND place.user_id = j.user_id
        WHERE j.allowed AND NOT j.encrypted AND NOT j.protected AND j.reply_fits AND j.source_fits
            AND j.earlier_id IS NULL AND j.attempt = 1
            -- Of a group: nothing that allows the message has changed since it was checked.
            AND (j.version IS NULL OR j.version = (SELECT version FROM conversation WHERE id = j.conversation_id))
            AND (place.rank = 0 AND place.sent_at + j.slow_mode * interval '1 second' > :now) IS NOT TRUE
    ),
    accepted AS MATERIALIZED (
        SELECT counted.n, counted.user_id, counted.conversation_id, conversation.last_at,
            conversation.last_seq + {nth} AS seq, {EXPIRES_AT} AS expires_at
        FROM counted JOIN conversation ON conversation.id = counted.conversation_id
        WHERE over + :step::float * (sent - 1) <= 0 AND over_to + :step_to::float * (sent_to - 1) <= 0
            AND (slow AND sent_to > 1) IS NOT TRUE
    ),
    message AS (
        INSERT INTO messages ({", ".join(_STORED)}) SELECT {", ".join(_STORED.values())}
        FROM accepted AS a JOIN requested AS r USING (n) JOIN checked AS j USING (n)
        RETURNING id, mentions
    ),
    numbered AS (
        UPDATE conversations AS c SET last_seq = latest.seq, last_at = latest.last_at
        FROM (
            SELECT conversation_id, max(seq) AS seq, max(last_at) AS last_at FROM accepted GROUP BY conversation_id
        ) AS latest
        WHERE c.id = latest.conversation_id
    ),
    -- Senders have read and received their own messages.
    receipts AS (
        UPDATE members AS m SET last_minute = date_trunc('minute', latest.last_at),
            read_seq = coalesce(latest.own_seq, m.read_seq), delivered_seq = coalesce(latest.own_seq, m.delivered_seq),
            sent_at = CASE WHEN latest.own_seq IS NULL OR m.rank IS NULL THEN m.sent_at ELSE :now END,
            sent_seq = CASE WHEN m.rank IS NULL THEN m.sent_seq ELSE coalesce(latest.own_seq, m.sent_seq) END,
            sent_until = CASE WHEN latest.own_seq IS NULL THEN m.sent_until
                ELSE {later("m.sent_until", *TO, "latest.count")} END
        FROM (
            SELECT p.conversation_id, p.user_id, max(a.last_at) AS last_at,
                max(a.seq) FILTER (WHERE a.user_id = p.user_id) AS own_seq,
                count(*) FILTER (WHERE a.user_id = p.user_id) AS count
            FROM membership AS p JOIN accepted AS a USING (conversation_id) WHERE p.written
            GROUP BY p.conversation_id, p.user_id
        ) AS latest
        WHERE m.conversation_id = latest.conversation_id AND m.user_id = latest.user_id
    ),
    entry AS (
        SELECT p.user_id, p.target_id, r.id AS subject, a.n, a.user_id = p.user_id AS own
        FROM accepted AS a JOIN requested AS r USING (n) JOIN membership AS p USING (conversation_id)
    ),
    {_APPEND},
    delivered AS (
        SELECT subject, array_agg(user_id ORDER BY user_id) AS recipients,
            array_agg(target_id ORDER BY user_id) AS targets, array_agg(position ORDER BY user_id) AS positions
        FROM deliveries GROUP BY subject
    )
    SELECT <<{caller}_columns>>, {OUTCOME} AS outcome, greatest(counted.over, counted.over_to) AS wait,
        checked.obstacle_until AS until,
        {caller}.user_id AS sender_id, {caller}.device_id AS sender_device_id, checked.earlier_id,
        checked.earlier_fingerprint, accepted.seq, accepted.last_at AS created_at, accepted.expires_at, checked.body,
        coalesce(message.mentions, '{{}}') AS mentioned, coalesce(delivered.recipients, '{{}}') AS recipients,
        coalesce(delivered.targets, '{{}}') AS targets, coalesce(delivered.positions, '{{}}') AS positions
    FROM requested AS {caller} JOIN checked USING (n) LEFT JOIN counted USING (n) LEFT JOIN accepted USING (n)
    LEFT JOIN message ON message.id = {caller}.id LEFT JOIN delivered ON delivered.subject = {caller}.id
    """
    return Statement(name, text, SentRow, writes=True)


SEND = _statement("messages.send")
SEND_SEVERAL = _statement("messages.send_several", several=True)

# For a message that has repeatedly found its rows locked: if many transactions write the same rows, only PostgreSQL's
# lock queue is fair.
SEND_WAITING = _statement("messages.send_waiting", wait=True)
