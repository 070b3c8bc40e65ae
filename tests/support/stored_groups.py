"""The groups of a run as the database has them, and what follows from their notices."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from messenger.testing.conversations import DATABASE, group
from messenger.testing.recorder import Heard, View

RANKS = ("member", "moderator", "admin", "owner")
OWNER = RANKS.index("owner")
JOINED = frozenset({"created", "joined", "joined_by_link"})
LEFT = frozenset({"left", "removed", "banned"})

Row = TypeVar("Row")


class Fetch(Protocol):
    """Queries the server's database."""

    async def __call__(self, sql: str, *values: Any) -> list[Any]: ...


class GroupRow(msgspec.Struct, frozen=True):
    id: int
    member_count: int
    deleted: bool
    version: int
    last_seq: int


class MemberRow(msgspec.Struct, frozen=True):
    group_id: int
    user_id: int
    rank: int
    title: str | None
    visible_from: int


class NoticeRow(msgspec.Struct, frozen=True):
    """`before` and `after` are JSON."""

    group_id: int
    id: str
    after_seq: int
    action: str
    actor_id: int | None
    user_id: int | None
    before: str | None
    after: str | None

    @property
    def about(self) -> int | None:
        """The user who joins, leaves or is changed."""
        return self.actor_id if self.action == "created" else self.user_id


class MessageRow(msgspec.Struct, frozen=True):
    group_id: int
    seq: int
    id: str
    client_id: str


class LinkRow(msgspec.Struct, frozen=True):
    group_id: int
    id: str
    uses: int
    max_uses: int | None


class EntryRow(msgspec.Struct, frozen=True):
    """A ban, a delivered invitation or a request."""

    kind: str
    group_id: int
    user_id: int


class EventRow(msgspec.Struct, frozen=True):
    """An event about a group. `subject`: its message or its notice."""

    group_id: int
    user_id: int
    position: int
    name: str
    subject: str | None


class StoredGroups(msgspec.Struct, kw_only=True):
    """All rows that concern groups of these users; `notices` of each group in order."""

    groups: list[GroupRow] = []
    members: list[MemberRow] = []
    notices: list[NoticeRow] = []
    messages: list[MessageRow] = []
    links: list[LinkRow] = []
    entries: list[EntryRow] = []
    events: list[EventRow] = []

    @property
    def view(self) -> View:
        """The messages of all groups, for the checker."""
        ordered = sorted(self.messages, key=lambda each: (each.group_id, each.seq))
        heard = [Heard(0, "", group(each.group_id), each.seq, each.client_id) for each in ordered]
        return View("the database", DATABASE, tuple(heard), history=True)

    def members_of(self, group_id: int) -> dict[int, MemberRow]:
        """The members of a group by user."""
        return {each.user_id: each for each in self.members if each.group_id == group_id}

    def memberships_of(self, user_id: int) -> dict[int, MemberRow]:
        """A user's memberships by group."""
        return {each.group_id: each for each in self.members if each.user_id == user_id}

    def left_out(self) -> dict[int, frozenset[int]]:
        """For each user, the positions of events that need not be delivered: the user has left their group since."""
        ends = {each.id: each for each in self.notices if each.action in LEFT}
        found: dict[int, set[int]] = defaultdict(set)
        by_group = sorted(self.events, key=lambda each: (each.user_id, each.group_id, each.position))
        for (user_id, _), events in itertools.groupby(by_group, lambda each: (each.user_id, each.group_id)):
            before: list[int] = []
            for event in events:
                notice = ends.get(event.subject or "")
                is_end = notice is not None and notice.user_id == user_id
                # A deleted group has no notice of it.
                if event.name == "group.updated" and (is_end or event.subject is None):
                    found[user_id].update(before)
                    before = []
                else:
                    before.append(event.position)
        return {user_id: frozenset(positions) for user_id, positions in found.items()}


class Replay:
    """The members of a group with their ranks, as its notices tell, one after the other."""

    def __init__(self) -> None:
        self.ranks: dict[int, int] = {}

    def apply(self, notice: NoticeRow) -> str | None:
        """Apply a notice; returns what is impossible about it."""
        user_id, ranks = notice.about, self.ranks
        if notice.action in JOINED and user_id is not None:
            if user_id in ranks:
                return f"{user_id} joined, and was a member"
            ranks[user_id] = OWNER if notice.action == "created" else 0
        elif notice.action in LEFT and user_id is not None:
            # Users who are not members can be banned, too.
            if ranks.pop(user_id, None) is None and notice.action != "banned":
                return f"{user_id} has {notice.action}, and was no member"
        elif notice.action == "owner":
            before, after = msgspec.json.decode(notice.before or "0"), msgspec.json.decode(notice.after or "0")
            if before in ranks:
                ranks[before] = RANKS.index("admin")
            ranks[after] = OWNER
        elif notice.action == "role" and user_id is not None:
            names = [msgspec.json.decode(each or "null") for each in (notice.before, notice.after)]
            if set(names) <= set(RANKS):
                if ranks.get(user_id) != RANKS.index(names[0]):
                    return f"{user_id} was {names[0]}, and is {ranks.get(user_id)}"
                ranks[user_id] = RANKS.index(names[1])
        return None


def by_group(rows: Sequence[Row]) -> Iterator[tuple[int, list[Row]]]:
    """The rows of each group, in their order."""
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.group_id].append(row)  # type: ignore[attr-defined]
    yield from found.items()


_GROUPS = """
    SELECT g.id, g.member_count, g.deleted_at IS NOT NULL AS deleted, c.version, c.last_seq
    FROM groups AS g JOIN conversations AS c ON c.peer_id = g.id
    WHERE EXISTS (SELECT FROM group_notices AS n
        WHERE n.group_id = g.id AND n.action = 'created' AND n.actor_id = ANY ($1))
    ORDER BY g.id
"""
_MEMBERS = """
    SELECT target_id AS group_id, user_id, rank, title, visible_from FROM members
    WHERE target_id = ANY ($1) AND rank IS NOT NULL
"""
_NOTICES = """
    SELECT group_id, id::text, after_seq, action, actor_id, user_id, before::text, after::text FROM group_notices
    WHERE group_id = ANY ($1) ORDER BY group_id, after_seq, group_notices.id
"""
_MESSAGES = """
    SELECT c.peer_id AS group_id, m.seq, m.id::text, m.client_id
    FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id WHERE c.peer_id = ANY ($1)
"""
_LINKS = "SELECT group_id, id::text, uses, max_uses FROM group_links WHERE group_id = ANY ($1)"
_ENTRIES = """
    SELECT 'ban' AS kind, group_id, user_id FROM group_bans
        WHERE group_id = ANY ($1) AND (until IS NULL OR until > now())
    UNION ALL SELECT 'invitation', group_id, user_id FROM group_invitations WHERE group_id = ANY ($1) AND delivered
    UNION ALL SELECT 'request', group_id, user_id FROM group_requests WHERE group_id = ANY ($1)
"""
_EVENTS = """
    SELECT coalesce(c.peer_id, e.peer_id) AS group_id, e.user_id, e.position, e.name, e.subject::text
    FROM events AS e LEFT JOIN messages AS m ON m.id = e.subject
        LEFT JOIN conversations AS c ON c.id = m.conversation_id
    WHERE e.user_id = ANY ($2) AND coalesce(c.peer_id, e.peer_id) = ANY ($1)
"""


async def read_groups(fetch: Fetch, users: Sequence[int]) -> StoredGroups:
    """The groups that these users have created. Nothing may change meanwhile."""
    found = _typed(await fetch(_GROUPS, users), GroupRow)
    ids = [each.id for each in found]
    return StoredGroups(
        groups=found,
        members=_typed(await fetch(_MEMBERS, ids), MemberRow),
        notices=_typed(await fetch(_NOTICES, ids), NoticeRow),
        messages=_typed(await fetch(_MESSAGES, ids), MessageRow),
        links=_typed(await fetch(_LINKS, ids), LinkRow),
        entries=_typed(await fetch(_ENTRIES, ids), EntryRow),
        events=_typed(await fetch(_EVENTS, ids, users), EventRow),
    )


def _typed(rows: list[Any], kind: type[Row]) -> list[Row]:
    return [kind(**dict(row)) for row in rows]
