"""A data set with a given number of users and messages, written into a migrated database by PostgreSQL itself.

All random values are hashes of consecutive numbers, so that a seed creates the same data again, whatever the plans.
Rows are stored in chronological order, as in practice, so that adjacent rows of a table are unrelated.

| kind | who | contacts, conversations |
| --- | --- | --- |
| `one` | a single user | 5,000 of both |
| `many` | one of 10,000 | 500 of both |
| `large` | one of 1,000 | 200 of both |
| `usual` | one of 50 | 50, of them 40 with a conversation; one of 100 messages |
| `tail` | all others | a long tail with a mean of about 2.5, and those that other kinds have with them |
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

ACCESS_TOKEN = "mat_growth-{:036d}"
SEED = 20_240_607
DAYS = 365
EVENT_DAYS = 30

_TABLES = (
    "avatars, contacts, conversations, devices, events, former_members, group_bans, group_declines, group_invitations,"
    " group_links, group_notices, group_requests, groups, hidden_messages, idempotency_keys, members, messages, peers,"
    " message_purges, rate_buckets, refresh_tokens, secrets, streams, tickets, users"
)

_TOOLS = """
CREATE FUNCTION pg_temp.pick(n bigint, salt int) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$
    SELECT (hashint8extended(n, :seed + salt) & 9007199254740991) / 9007199254740992.0::float8
$$;
CREATE FUNCTION pg_temp.moment(share float8) RETURNS timestamptz STABLE LANGUAGE sql AS $$
    SELECT date_trunc('minute', transaction_timestamp()) - (1 - share) * interval ':days days'
$$;
CREATE FUNCTION pg_temp.uuid7(at timestamptz, md5 text) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5, 1, 3) || '8'
        || substr(md5, 4, 15))::uuid
$$;
CREATE TEMP TABLE person AS
    SELECT i, 10000000 + (i * 48271003) % 89999999 AS id, pg_temp.pick(i, 1) AS born,
        CASE WHEN i = 1 THEN 'one' WHEN i % 10000 = 77 THEN 'many' WHEN i % 1000 = 13 THEN 'large'
            WHEN i % 50 = 7 THEN 'usual' ELSE 'tail' END AS kind
    FROM generate_series(0::bigint, :users - 1) AS i;
ALTER TABLE person ADD PRIMARY KEY (i);
ANALYZE person;
"""

# Step j of a pair is below half of the circle, so that no pair is created twice.
_PAIRS = """
CREATE TEMP TABLE pair AS
    SELECT x.*, row_number() OVER (ORDER BY x.met, x.low_id, x.high_id) AS c FROM (
        SELECT p.kind, j, least(p.id, o.id) AS low_id, greatest(p.id, o.id) AS high_id, p.id AS a, o.id AS b,
            greatest(p.born, o.born) + (1 - greatest(p.born, o.born)) * pg_temp.pick(p.i * 8192 + j, 2) AS met,
            pg_temp.pick(p.i * 8192 + j, 3) AS fate, pg_temp.pick(p.i * 8192 + j, 4) AS weight,
            pg_temp.pick(p.i * 8192 + j, 5) AS ended, pg_temp.pick(p.i * 8192 + j, 6) < 0.3 AS unread
        FROM person AS p CROSS JOIN LATERAL generate_series(1, CASE p.kind
            WHEN 'one' THEN least(5000, :users / 20) WHEN 'many' THEN 500 WHEN 'large' THEN 200 WHEN 'usual' THEN 50
            ELSE least(30, floor((1 - pg_temp.pick(p.i, 7)) ^ -0.7))::int END) AS j
        JOIN person AS o ON o.i = (p.i + 9 * j) % :users
    ) AS x;
ALTER TABLE pair ADD edge_a text, ADD edge_b text, ADD n int;
CREATE TEMP TABLE talk AS
    SELECT c, low_id, high_id, a, b, unread, met,
        met + (1 - met) * (1 - ended ^ 3) AS until, kind = 'usual' AND j = 1 AS long,
        CASE WHEN kind = 'usual' AND j = 1 THEN 100 WHEN kind IN ('one', 'many') THEN 1 + floor(3 * weight)
            ELSE least(400, (1 - weight) ^ -0.8) END AS n
    FROM pair WHERE CASE kind WHEN 'usual' THEN j <= 40 WHEN 'tail' THEN fate < 0.5 ELSE true END;
UPDATE talk SET n = CASE WHEN long THEN n ELSE greatest(1, round(n * (
    SELECT (:messages - sum(n) FILTER (WHERE long)) / sum(n) FILTER (WHERE NOT long) FROM talk))) END;
ANALYZE talk;
"""

_PEOPLE = """
INSERT INTO avatars (key, state, width, height, placeholder, touched_at)
    SELECT encode(sha256(id::text::bytea), 'hex'), 'ready', 512, 512, repeat('p', 28), pg_temp.moment(born)
    FROM person WHERE i % 10 < 3 ORDER BY born;
INSERT INTO peers (id, kind) SELECT id, 'user' FROM person ORDER BY born;
INSERT INTO users (id, username, username_key, name, about, password_hash, last_activity, created_at, avatar_key)
    SELECT id, 'user-' || i, 'user-' || i, 'User number ' || i, 'About ' || i,
        '$argon2id$v=19$m=32,t=1,p=1$' || md5(i::text) || '$' || md5(id::text),
        pg_temp.moment(1), pg_temp.moment(born),
        CASE WHEN i % 10 < 3 THEN encode(sha256(id::text::bytea), 'hex') END
    FROM person ORDER BY born;
INSERT INTO devices (id, user_id, name, access_hash, used_access_hash, access_expires_at, last_activity, created_at)
    SELECT pg_temp.uuid7(pg_temp.moment(born), md5('device' || i)), id, 'Phone',
        sha256(('mat_growth-' || lpad(i::text, 36, '0'))::bytea),
        sha256(('mat_growth-' || lpad(i::text, 36, '0'))::bytea), pg_temp.moment(2), pg_temp.moment(1),
        pg_temp.moment(born)
    FROM person ORDER BY born;
INSERT INTO devices (id, user_id, name, access_hash, access_expires_at, last_activity, created_at)
    SELECT pg_temp.uuid7(pg_temp.moment(born), md5('second' || i)), id, 'Tablet', sha256(('second' || i)::bytea),
        pg_temp.moment(2), pg_temp.moment(born), pg_temp.moment(born)
    FROM person WHERE i % 4 = 0 ORDER BY born;
INSERT INTO refresh_tokens (hash, device_id, expires_at)
    SELECT sha256(access_hash), id, access_expires_at FROM devices;
INSERT INTO secrets (user_id, version, envelope, created_at)
    SELECT id, 1, convert_to('{"algorithm":"AES-256-GCM","ciphertext":"' || repeat('A', 200) || '"}', 'UTF8'),
        pg_temp.moment(born)
    FROM person WHERE i % 5 < 2 ORDER BY born;
"""

# The edges of a pair have one of the nine states of the policies.
_CONTACTS = """
INSERT INTO contacts (owner_id, target_id, state, message, since)
    SELECT e.owner_id, e.target_id, e.state, CASE WHEN e.state LIKE 'pending%' THEN 'Hello, it is me' END,
        pg_temp.moment(p.met)
    FROM pair AS p CROSS JOIN LATERAL (SELECT p.fate < 0.85 OR p.kind IN ('one', 'many', 'large')
        OR p.kind = 'usual' AND p.j <= 40 AS mutual) AS s
    CROSS JOIN LATERAL (VALUES
        (p.a, p.b, CASE WHEN s.mutual THEN 'mutual' WHEN p.fate < 0.95 THEN 'pending_out' ELSE 'blocked' END),
        (p.b, p.a, CASE WHEN s.mutual THEN 'mutual' WHEN p.fate < 0.95 THEN 'pending_in' END)
    ) AS e (owner_id, target_id, state)
    WHERE e.state IS NOT NULL ORDER BY p.c;
"""

_CONVERSATIONS = """
INSERT INTO conversations (id, kind, low_id, high_id, last_seq, last_at) OVERRIDING SYSTEM VALUE
    SELECT c, 'direct', low_id, high_id, n, pg_temp.moment(until) FROM talk ORDER BY c;
SELECT setval(pg_get_serial_sequence('conversations', 'id'), (SELECT max(c) FROM talk));
INSERT INTO members (conversation_id, user_id, target_id, read_seq, delivered_seq, last_minute)
    SELECT t.c, e.user_id, e.target_id, e.seq, t.n, date_trunc('minute', pg_temp.moment(t.until))
    FROM talk AS t CROSS JOIN LATERAL (VALUES
        (t.a, t.b, CASE WHEN t.unread THEN greatest(0, t.n - 3) ELSE t.n END), (t.b, t.a, t.n)
    ) AS e (user_id, target_id, seq) ORDER BY t.c;
"""

# A user who has not read the last three messages has not sent any of them.
_MESSAGES = """
INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, client_id, fingerprint, kind, body,
        created_at)
    SELECT pg_temp.uuid7(x.at, x.mark), x.c, x.seq, x.sender, '00000000-0000-7000-8000-000000000001', x.mark,
        decode(x.mark, 'hex'), 'text', repeat('Hello there. ', 1 + (x.c + x.seq)::int % 9), x.at
    FROM (
        SELECT t.c, seq, pg_temp.moment(t.met + (t.until - t.met) * seq / t.n) AS at,
            CASE WHEN t.unread AND seq > t.n - 3 OR pg_temp.pick(t.c * 131072 + seq, 8) < 0.5 THEN t.b ELSE t.a END
                AS sender, md5(t.c || ':' || seq) AS mark
        FROM talk AS t CROSS JOIN generate_series(1, t.n::bigint) AS seq ORDER BY at
    ) AS x;
INSERT INTO hidden_messages (user_id, message_id, at)
    SELECT sender_id, id, created_at FROM messages WHERE seq % 20 = 19;
"""

# Only events that a sweep would have kept: the newest of each stream.
_EVENTS = """
CREATE TEMP TABLE ended AS
    SELECT user_id, sum(n)::bigint AS position
    FROM (SELECT a AS user_id, n FROM talk UNION ALL SELECT b, n FROM talk) AS x GROUP BY user_id;
INSERT INTO streams (user_id, position, taken)
    SELECT p.id, coalesce(e.position, 0), coalesce(e.position, 0)
    FROM person AS p LEFT JOIN ended AS e ON e.user_id = p.id ORDER BY p.born;
INSERT INTO events (user_id, position, name, subject, at)
    SELECT x.user_id, x.position, 'message.created', x.id, x.at FROM (
        SELECT m.user_id, m.id, m.at, e.position + 1 - row_number() OVER (
            PARTITION BY m.user_id ORDER BY m.at DESC, m.id DESC) AS position
        FROM (
            SELECT t.a AS user_id, m.id, m.created_at AS at FROM messages AS m JOIN talk AS t ON t.c = m.conversation_id
            WHERE m.created_at > transaction_timestamp() - interval ':event_days days'
            UNION ALL
            SELECT t.b, m.id, m.created_at FROM messages AS m JOIN talk AS t ON t.c = m.conversation_id
            WHERE m.created_at > transaction_timestamp() - interval ':event_days days'
        ) AS m JOIN ended AS e ON e.user_id = m.user_id
    ) AS x ORDER BY x.at;
"""

_GUARDS = """
INSERT INTO rate_buckets (key, tokens, updated_at) SELECT 'messages:' || id, 10, pg_temp.moment(1) FROM person;
INSERT INTO idempotency_keys (scope, key, fingerprint, answer, created_at)
    SELECT 'register:' || id, md5(id::text), sha256(id::text::bytea), '{}', pg_temp.moment(1) FROM person
    WHERE i % 10 = 0;
INSERT INTO tickets (device_id, hash, expires_at)
    SELECT id, sha256(access_hash), access_expires_at FROM devices WHERE hashint8(user_id) % 20 = 0;
"""

_PARTS = {
    "tools": _TOOLS,
    "pairs": _PAIRS,
    "people": _PEOPLE,
    "contacts": _CONTACTS,
    "conversations": _CONVERSATIONS,
    "messages": _MESSAGES,
    "events": _EVENTS,
    "guards": _GUARDS,
}

# Sockets of one device in twenty, on the worker that lives; none where no server runs.
_SOCKETS = """
INSERT INTO connections (device_id, user_id, worker_id, number)
    SELECT d.id, d.user_id, (SELECT id FROM workers ORDER BY seen_at DESC LIMIT 1), nextval('connection_numbers')
    FROM devices AS d WHERE hashint8(d.user_id) % 20 = 0 ORDER BY hashint8(d.user_id)
"""


async def make_world(
    database: Any, *, users: int, messages: int, seed: int = SEED, say: Callable[[str], None] = print
) -> None:
    """Fill an empty schema; constraints and indexes are made again behind the rows, which checks them all."""
    values = {"users": users, "messages": messages, "seed": seed, "days": DAYS, "event_days": EVENT_DAYS}
    await database.execute(
        "SET synchronous_commit = off; SET work_mem = '512MB'; SET maintenance_work_mem = '1GB'; SET jit = off"
    )
    started = time.perf_counter()
    async with database.transaction():
        # A sweep of the server that runs would otherwise get in between.
        await database.execute(f"LOCK TABLE {_TABLES}")
        again = await _strip(database)
        for name, sql in _PARTS.items():
            for key, value in values.items():
                sql = sql.replace(f":{key}", str(value))
            await database.execute(sql)
            say(f"{name}: {time.perf_counter() - started:.0f} s")
        for statement in again:
            await database.execute(statement)
        await database.execute("DROP TABLE pg_temp.person, pg_temp.pair, pg_temp.talk, pg_temp.ended")
    say(f"indexes and constraints: {time.perf_counter() - started:.0f} s")
    await database.execute("VACUUM (FREEZE, ANALYZE)")

    say(f"VACUUM ANALYZE: {time.perf_counter() - started:.0f} s")


async def connect_some(database: Any) -> None:
    """Sockets for one device in twenty; a server must run, whose they seem to be."""
    await database.execute(_SOCKETS)
    await database.execute("VACUUM ANALYZE connections")


async def _strip(database: Any) -> list[str]:
    """Drop what a load has to keep up to date; the statements that make it again, in their order."""
    constraints = await database.fetch(
        "SELECT conrelid::regclass::text AS place, quote_ident(conname) AS name, pg_get_constraintdef(oid) AS text,"
        " contype <> 'f' AS first FROM pg_constraint WHERE contype IN ('p', 'u', 'f') AND conrelid::regclass::text"
        f" = ANY (string_to_array('{_TABLES}', ', ')) ORDER BY contype = 'f', conrelid, contype, conname"
    )
    indexes = await database.fetch(
        "SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS text FROM pg_index AS i"
        f" WHERE indrelid::regclass::text = ANY (string_to_array('{_TABLES}', ', '))"
        " AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid) ORDER BY 1"
    )
    for row in reversed(constraints):
        await database.execute(f"ALTER TABLE {row['place']} DROP CONSTRAINT {row['name']}")
    for row in indexes:
        await database.execute(f"DROP INDEX {row['name']}")
    make = [f"ALTER TABLE {row['place']} ADD CONSTRAINT {row['name']} {row['text']}" for row in constraints]
    keys = [text for text, row in zip(make, constraints, strict=True) if row["first"]]
    return keys + [row["text"] for row in indexes] + make[len(keys) :]
