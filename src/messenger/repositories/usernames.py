"""Released usernames, reserved for their former owners and stored as digests instead of names."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from messenger.database.statements import Statement
from messenger.errors import UsernameTaken
from messenger.repositories.base import StatementRepository

KEPT_FOR = timedelta(days=30)
"""How long a released username is reserved."""


def claim(digest: str, owner: str) -> str:
    """The INSERT that claims a username (SQL of its digest and of the claimant); no row if it is reserved.

    A claim leaves a row that expires at once and is removed by a later sweep. The row makes concurrent claims and
    releases wait for each other, which a SELECT would not.
    """
    return f"""
        INSERT INTO released_usernames AS r (digest, owner_id, kept_until) VALUES ({digest}, NULL, :now)
        ON CONFLICT (digest) DO UPDATE SET owner_id = NULL, kept_until = excluded.kept_until
            WHERE r.kept_until <= :now OR r.owner_id = {owner}
        RETURNING r.digest
    """


class _Claimed(msgspec.Struct, frozen=True):
    is_free: bool


_MOVE = Statement(
    "usernames.move",
    f"""
    WITH claimed AS ({claim(":claimed::bytea", ":owner::bigint")}),
    released AS (
        INSERT INTO released_usernames (digest, owner_id, kept_until) VALUES (:released::bytea, :owner, :kept_until)
        ON CONFLICT (digest) DO UPDATE SET owner_id = excluded.owner_id, kept_until = excluded.kept_until
    )
    SELECT EXISTS (SELECT FROM claimed) AS is_free
    """,
    _Claimed,
    writes=True,
)


class UsernameRepository(StatementRepository):
    """Released usernames."""

    async def move(self, owner_id: int, *, released: bytes, claimed: bytes) -> None:
        """Reserve the old username for its owner and claim the new one, by their digests. Raises `UsernameTaken`."""
        kept_until = self._run.now + KEPT_FOR
        row = await self._run.first(_MOVE, owner=owner_id, released=released, claimed=claimed, kept_until=kept_until)
        if row is None or not row.is_free:
            raise UsernameTaken
