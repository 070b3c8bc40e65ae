"""Usernames that were given up, kept for their former owners; as digests, so that no list of names is stored."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from messenger.errors import UsernameTaken
from messenger.statements import Runner, Statement

KEPT_FOR = timedelta(days=30)
"""How long a username that was given up is nobody else's."""


def claim(digest: str, owner: str) -> str:
    """The INSERT that claims a username, by the SQL of its digest and of the claimant; no row where it is another's.

    A claim leaves a row that is over at once and goes with a later sweep. It is there so that a claim and a release at
    the same time wait for each other, which a mere look at the table would not do.
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
    WITH claimed AS ({claim(":taken::bytea", ":owner::bigint")}),
    released AS (
        INSERT INTO released_usernames (digest, owner_id, kept_until) VALUES (:released::bytea, :owner, :kept_until)
        ON CONFLICT (digest) DO UPDATE SET owner_id = excluded.owner_id, kept_until = excluded.kept_until
    )
    SELECT EXISTS (SELECT FROM claimed) AS is_free
    """,
    _Claimed,
    writes=True,
)


class UsernameRepository:
    """Who may have a username that somebody had."""

    def __init__(self, run: Runner) -> None:
        self._run = run

    async def move(self, owner_id: int, *, released: bytes, taken: bytes) -> None:
        """Keep the one for its former owner and claim the other, by their digests. Raises `UsernameTaken`."""
        kept_until = self._run.now + KEPT_FOR
        row = await self._run.first(_MOVE, owner=owner_id, released=released, taken=taken, kept_until=kept_until)
        if row is None or not row.is_free:
            raise UsernameTaken
