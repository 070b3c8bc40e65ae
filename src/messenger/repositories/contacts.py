"""Contacts: two directed edges for each pair, changed together under the locks of both peers."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from messenger.actor import Caller
from messenger.database.pages import Corrupt, Page
from messenger.database.statements import Statement
from messenger.models import ContactState, Edges
from messenger.repositories._addressee import RECIPIENTS, addressee
from messenger.repositories._fragments import AVATAR_OF_CONTACT, HIDDEN
from messenger.repositories._invitation_fragments import OPEN_INVITATION
from messenger.repositories.base import StatementRepository
from messenger.repositories.user_rows import USER_COLUMNS, UserRow


class ContactRow(msgspec.Struct, frozen=True, gc=False):
    target_id: int
    state: ContactState
    alias: str | None
    message: str | None
    since: datetime
    user: UserRow


_LISTED = """FROM contacts AS e
        WHERE e.owner_id = actor.user_id AND e.target_id > :after::bigint
            AND (:state::text IS NULL OR e.state = :state)
        ORDER BY e.target_id LIMIT :limit"""
_PAGE = Statement(
    "contacts.page",
    f"""
    WITH <<actor>>
    SELECT <<page_actor_columns>>, c.target_id, c.state, c.alias, c.message, c.since, {USER_COLUMNS}
    FROM actor LEFT JOIN LATERAL (
        SELECT * {_LISTED}
    ) AS c ON true
    LEFT JOIN users AS u ON u.id = c.target_id
    {AVATAR_OF_CONTACT}
    ORDER BY c.target_id
    """,
    ContactRow,
    writes=False,
)


class CorruptContact(Corrupt, frozen=True, gc=False):
    target_id: int


_PLACES = Statement(
    "contacts.places",
    f"""
    WITH <<actor>>
    SELECT <<page_actor_columns>>, c.target_id
    FROM actor LEFT JOIN LATERAL (
        SELECT e.target_id {_LISTED}
    ) AS c ON true
    ORDER BY c.target_id
    """,
    CorruptContact,
    writes=False,
)


def _part(places: Sequence[CorruptContact]) -> dict[str, Any]:
    return {"after": places[0].target_id - 1, "limit": len(places)}


_LIST = Page(_PAGE, _PLACES, _part, attrgetter("target_id"))

_ONE = Statement(
    "contacts.one",
    f"""
    SELECT c.target_id, c.state, c.alias, c.message, c.since, {USER_COLUMNS}
    FROM contacts AS c JOIN users AS u ON u.id = c.target_id
    {AVATAR_OF_CONTACT}
    WHERE c.owner_id = :owner AND c.target_id = :target
    """,
    ContactRow,
    writes=False,
)


class _Relation(msgspec.Struct, frozen=True):
    user_id: int
    target_id: int | None


class _Id(msgspec.Struct, frozen=True):
    id: int


# Locks the rows of `peers`, not of `users`: activity stamps write users, and do not wait for locks.
_LOCK_PAIR = Statement(
    "contacts.lock_pair",
    """
    WITH <<actor>>, held AS (
        SELECT p.id FROM peers AS p JOIN actor ON p.id IN (actor.user_id, :target) ORDER BY p.id FOR NO KEY UPDATE OF p
    )
    SELECT <<actor_columns>>, actor.user_id AS id FROM actor CROSS JOIN (SELECT count(*) FROM held) AS both_held
    """,
    _Id,
    writes=True,
)


class PairRow(msgspec.Struct, frozen=True):
    """The relation of two users, whether they have a conversation, and whether the other is disabled."""

    mine: str | None
    theirs: str | None
    have_talked: bool
    is_disabled: bool

    @property
    def edges(self) -> Edges:
        return Edges(self.mine, self.theirs)


# Separate from the lock: a statement that waited for a lock still sees the state from before the wait. Both users are
# checked here, since the caller may have been erased meanwhile too. A disabled user is only visible to contacts and to
# users with a common conversation.
_PAIR = Statement(
    "contacts.pair",
    """
    SELECT mine.state AS mine, theirs.state AS theirs, talk.found AS have_talked,
        u.disabled_at IS NOT NULL AS is_disabled
    FROM users AS u
    JOIN users AS self ON self.id = :me AND self.deleted_at IS NULL
    LEFT JOIN contacts AS mine ON mine.owner_id = :me AND mine.target_id = :them
    LEFT JOIN contacts AS theirs ON theirs.owner_id = :them AND theirs.target_id = :me
    CROSS JOIN (
        SELECT EXISTS (SELECT FROM members AS m WHERE m.user_id = :me AND m.target_id = :them) AS found
    ) AS talk
    WHERE u.id = :them AND u.id <> :me AND u.deleted_at IS NULL
        AND (u.disabled_at IS NULL OR mine.state IS NOT NULL OR talk.found)
    """,
    PairRow,
    writes=False,
)

# `since` only changes with the state; the text of a request is kept until the request is answered. A block ends the
# invitations by the blocked user, for good: an unblock does not show them again. Nobody else sees that.
_SET_EDGES = Statement(
    "contacts.set_edges",
    f"""
    WITH gone AS (
        DELETE FROM contacts WHERE (owner_id = :me AND target_id = :them AND :mine::text IS NULL)
            OR (owner_id = :them AND target_id = :me AND :theirs::text IS NULL)
    ),
    uninvited AS (
        UPDATE group_invitations AS i SET delivered = false
        WHERE i.user_id = :me AND i.inviter_id = :them AND :mine::text = 'blocked' AND i.delivered
        RETURNING i.group_id, {OPEN_INVITATION} AS seen
    ),
    written AS (
    INSERT INTO contacts (owner_id, target_id, state, message, since)
    SELECT e.owner_id, e.target_id, e.state, :message::text, :now
    FROM (VALUES (:me::bigint, :them::bigint, :mine::text), (:them::bigint, :me::bigint, :theirs::text))
        AS e (owner_id, target_id, state)
    WHERE e.state IS NOT NULL
    ON CONFLICT (owner_id, target_id) DO UPDATE SET state = excluded.state,
        message = CASE WHEN excluded.state LIKE 'pending%' THEN coalesce(excluded.message, contacts.message) END,
        since = CASE WHEN contacts.state = excluded.state THEN contacts.since ELSE excluded.since END
    )
    SELECT group_id AS id FROM uninvited WHERE seen
    """,
    _Id,
    writes=True,
)

_SET_ALIAS = Statement(
    "contacts.set_alias",
    """
    WITH <<actor>>, changed AS (
        UPDATE contacts AS e SET alias = CASE WHEN :given::bool THEN :alias::text ELSE e.alias END FROM actor
        WHERE e.owner_id = actor.user_id AND e.target_id = :target RETURNING e.*
    )
    SELECT <<actor_columns>>, actor.user_id, c.target_id FROM actor LEFT JOIN changed AS c ON true
    """,
    _Relation,
    writes=True,
)

_MUTUAL = Statement(
    "contacts.mutual",
    """
    SELECT target_id AS id FROM contacts WHERE owner_id = :owner AND state = 'mutual' AND target_id > :after::bigint
    ORDER BY target_id LIMIT :limit
    """,
    _Id,
    writes=False,
)


class ReachRow(msgspec.Struct, frozen=True):
    """Whether the caller may write to the target and call it, whether the caller hides connections, and who receives
    the signals: `recipients`, and how each of them addresses the conversation. `obstacle`, `obstacle_until`: what keeps
    the caller from sending to a group, and until when.
    """

    may_write: bool
    may_call: bool
    obstacle: str | None
    obstacle_until: datetime | None
    hidden: bool
    recipients: list[int]
    targets: list[int]


_REACH = Statement(
    "contacts.reach",
    f"""
    WITH <<actor>>
    SELECT <<actor_columns>>, CASE WHEN addressee.id IS NOT NULL THEN addressee.may_write END AS may_write,
        addressee.may_call, addressee.obstacle, addressee.obstacle_until, {HIDDEN} AS hidden, received.recipients,
        received.targets
    FROM actor JOIN users AS u ON u.id = actor.user_id
    {addressee("actor.user_id", ":target::bigint", rights=["may_write", "may_call", "obstacle", "obstacle_until"])}
    {RECIPIENTS}
    """,
    ReachRow,
    writes=False,
)


class ContactRepository(StatementRepository):
    """Contacts: the edges between users."""

    def list_page(
        self, caller: Caller, *, state: str | None, after: int, limit: int
    ) -> Awaitable[Sequence[ContactRow | CorruptContact]]:
        """The caller's contacts in ascending order of their IDs; one round trip."""
        return self._run.page(_LIST, caller, state=state, after=after, limit=limit)

    async def find(self, owner_id: int, target_id: int) -> ContactRow | None:
        """One contact as its owner sees it."""
        return await self._run.first(_ONE, owner=owner_id, target=target_id)

    async def lock_pair(self, caller: Caller, target_id: int = 0) -> int:
        """Lock the peers of the caller and the target in ascending order of their IDs; returns the caller's ID."""
        row = await self._run.first(_LOCK_PAIR, caller, target=target_id)
        assert row is not None
        return row.id

    async def pair(self, me: int, them: int) -> PairRow | None:
        """Both edges; read after `lock_pair`, they do not change until the commit.

        None: one is not a user, or the other is disabled and neither a contact nor in a conversation with the caller.
        """
        return await self._run.first(_PAIR, me=me, them=them)

    async def set_edges(self, me: int, them: int, edges: Edges, *, message: str | None = None) -> list[int]:
        """Write both edges, in one statement; returns the groups to which a block has ended an invitation."""
        rows = await self._run.all(_SET_EDGES, me=me, them=them, mine=edges.mine, theirs=edges.theirs, message=message)
        return sorted(row.id for row in rows)

    async def set_alias(self, caller: Caller, target_id: int, alias: str | None, *, given: bool = True) -> int | None:
        """Set the alias of a contact; returns the caller's ID, or None if there is no such contact."""
        row = await self._run.first(_SET_ALIAS, caller, target=target_id, alias=alias, given=given)
        return row.user_id if row and row.target_id is not None else None

    async def reach(self, caller: Caller, target_id: int) -> ReachRow | None:
        """What the caller may send to this peer, and who receives it; None if there is no such peer."""
        return await self._run.first(_REACH, caller, target=target_id)

    async def list_mutual(self, owner_id: int, *, after: int, limit: int) -> list[int]:
        """A page of the IDs of mutual contacts, ascending."""
        return [row.id for row in await self._run.all(_MUTUAL, owner=owner_id, after=after, limit=limit)]
