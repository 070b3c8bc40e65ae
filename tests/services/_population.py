"""Many contacts, inserted directly into the database."""

from __future__ import annotations

import secrets

from messenger.container import Container
from messenger.testing import Person
from tests.support.tables import rows

_MAKE = """
WITH ids AS (SELECT $2::bigint + n AS id, n FROM generate_series(1, $3::int) AS n),
peer AS (INSERT INTO peers (id, kind) SELECT id, 'user' FROM ids),
made AS (
    INSERT INTO users (id, username, username_key, name, last_activity, created_at)
    SELECT id, 'c' || id, 'c' || id, 'Contact ' || n, now(), now() FROM ids
),
stream AS (INSERT INTO streams (user_id) SELECT id FROM ids)
INSERT INTO contacts (owner_id, target_id, state, since)
SELECT $1, id, 'mutual', now() FROM ids UNION ALL SELECT id, $1, 'mutual', now() FROM ids
"""


async def contacts_of(container: Container, person: Person, count: int) -> range:
    """The numbers of new mutual contacts."""
    base = 2**40 + secrets.randbelow(2**40) * 100_000
    await rows(container, _MAKE, person.id, base, count)
    return range(base + 1, base + count + 1)
