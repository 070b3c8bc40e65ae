"""The users of a case: many of one kind, drawn by the seed, comparable in data sets of any size."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple
from uuid import UUID

from _growth.world import ACCESS_TOKEN

_DRAW = """
SELECT p.number, p.id, friend.id AS friend_id, substr(friend.username, 6)::bigint AS friend_number,
    talk.last_seq, talk.message_id,
    greatest(s.position - 50, (SELECT min(e.position) - 1 FROM events AS e WHERE e.user_id = p.id)) AS after
FROM (SELECT u.id, substr(u.username, 6)::bigint AS number FROM users AS u) AS p
JOIN streams AS s ON s.user_id = p.id
CROSS JOIN LATERAL (
    SELECT m.target_id, c.last_seq, (
        SELECT x.id FROM messages AS x WHERE x.conversation_id = c.id AND x.seq = c.last_seq
    ) AS message_id
    FROM members AS m JOIN conversations AS c ON c.id = m.conversation_id
    WHERE m.user_id = p.id ORDER BY c.last_seq DESC, c.id LIMIT 1
) AS talk
JOIN users AS friend ON friend.id = talk.target_id
WHERE p.number % $1 = $2 AND (
    SELECT count(*) FROM contacts AS c WHERE c.owner_id = p.id AND c.state = 'mutual'
) BETWEEN $3 AND $4
ORDER BY hashint8(p.number) LIMIT $5
"""

# Which running numbers are of the kind (modulus, remainder), how many mutual contacts they may have, how many to draw.
KINDS = {
    "usual": (50, 7, 45, 60, 400),
    "large": (1000, 13, 200, 215, 100),
    "many": (10_000, 77, 500, 520, 10),
    "one": (10**12, 1, 1000, 6000, 1),
}


class Person(NamedTuple):
    """One who asks. `friend`: with whom this one has talked most, whose last message is `seq`, `message_id`.

    `after`: a position with at most fifty events behind it.
    """

    id: int
    token: str
    friend_id: int
    friend_token: str
    seq: int
    message_id: UUID
    after: int

    @property
    def username(self) -> str:
        return f"user-{int(self.token.rpartition('-')[2])}"


async def draw(database: Any) -> dict[str, list[Person]]:
    """People of each kind."""
    return {kind: [_person(row) for row in await database.fetch(_DRAW, *which)] for kind, which in KINDS.items()}


def _person(row: Any) -> Person:
    number, friend = ACCESS_TOKEN.format(row["number"]), ACCESS_TOKEN.format(row["friend_number"])
    return Person(row["id"], number, row["friend_id"], friend, row["last_seq"], row["message_id"], row["after"])


def nobody(number: int) -> str:
    """The key of an image that does not exist."""
    return hashlib.sha256(b"%d" % number).hexdigest()
