"""The people that requests ask for: hubs with 200 contacts and 500 conversations each, and 200 pairs who write.

Written in bulk, as the server's own statements would have left it; names, tokens and numbers are the same in each run.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from messenger.security.tokens import ACCESS_PREFIX, token_hash

FIRST_ID = 100_000_000
# Hubs are 0 to 15, with the same peers: enough of them that their activity stamps do not wait for each other.
HUBS, PEERS, CONTACTS, CONVERSATIONS, LONG = 16, 100, 200, 500, 250
WRITERS, PAIRS = 1000, 200
PAGE = 100
# A group of the hubs, the last one in their lists.
GROUP = 9000
BODY = "Hello " * 10
# Further connected devices, of users that do not exist and send no requests.
_STRANGERS = 2000
_OTHERS = ("receipt", "receipt", "conversation", "contact", "profile")


def user_id(number: int) -> int:
    """Of a person by number."""
    return FIRST_ID + number


def token(number: int) -> str:
    """An access token; PostgreSQL can make its hash of the number, too."""
    return f"{ACCESS_PREFIX}bench-{number}"


def device_id(number: int) -> UUID:
    """The one device of a person."""
    return UUID(int=FIRST_ID + number)


class World:
    """Writes it, and says where the long stream ends."""

    def __init__(self, database: Any, hubs: int, *, has_group: bool) -> None:
        self._database = database
        self._hubs = hubs
        self._has_group = has_group
        self._places = itertools.count(1)
        self._now = datetime.now(UTC).replace(microsecond=0)
        self._start = self._now - timedelta(days=1)
        self._conversations: list[tuple[object, ...]] = []
        self._members: list[tuple[object, ...]] = []
        self._messages: list[tuple[object, ...]] = []
        self._streams: dict[int, list[tuple[object, ...]]] = defaultdict(list)

    @classmethod
    async def write(cls, database_url: str, *, hubs: int = HUBS, has_group: bool = True) -> int:
        """Fill an empty database; the end of every hub's stream. `has_group`: with the group of the hubs, which a
        release without groups cannot store.
        """
        database = await asyncpg.connect(database_url)
        try:
            world = cls(database, hubs, has_group=has_group)
            async with database.transaction():
                await world._write()
            await database.execute("VACUUM ANALYZE")
            return len(world._streams[0])
        finally:
            await database.close()

    async def _write(self) -> None:
        everyone = [*range(self._hubs), *range(PEERS, PEERS + CONVERSATIONS), *range(WRITERS, WRITERS + 2 * PAIRS)]
        await self._people(everyone)
        await self._contacts()
        await self._connections()
        if self._has_group:
            await self._group()
        for hub in range(self._hubs):
            self._talk_to_hub(hub)
        for pair in range(PAIRS):
            self._talk(WRITERS + pair, WRITERS + PAIRS + pair, 1, self._start)
        await self._copy(
            "conversations", ("id", "kind", "low_id", "high_id", "last_seq", "last_at"), self._conversations
        )
        await self._copy(
            "members",
            ("conversation_id", "user_id", "target_id", "read_seq", "delivered_seq", "last_minute"),
            self._members,
        )
        columns = ("id", "conversation_id", "seq", "sender_id", "sender_device_id", "client_id", "fingerprint", "kind")
        fates = ("edited_at", "deleted_at", "expires_at")
        await self._copy("messages", (*columns, "body", "created_at", *fates), self._messages)
        await self._copy("hidden_messages", ("user_id", "message_id", "at"), self._hidden())
        heads = {number: len(self._streams[number]) for number in everyone}
        rows = [(user_id(number), head, head - PAGE if number < HUBS else 0) for number, head in heads.items()]
        await self._copy("streams", ("user_id", "position", "taken"), rows)
        events = [
            (user_id(number), position, *event)
            for number, stream in self._streams.items()
            for position, event in enumerate(stream, 1)
        ]
        await self._copy("events", ("user_id", "position", "name", "subject", "peer_id", "payload", "at"), events)
        await self._database.execute(
            "SELECT setval(pg_get_serial_sequence('conversations', 'id'), (SELECT max(id) FROM conversations))"
        )

    async def _people(self, numbers: Sequence[int]) -> None:
        now, shown = self._now, [number for number in numbers if _has_avatar(number)]
        await self._copy("peers", ("id", "kind"), [(user_id(number), "user") for number in numbers])
        avatars = [(_avatar_key(number), "ready", 512, 512, "3OcRJYB4d3h_iIeHeEh3eIhw", now) for number in shown]
        await self._copy("avatars", ("key", "state", "width", "height", "placeholder", "touched_at"), avatars)
        await self._copy(
            "users",
            (
                *("id", "username", "username_key", "name", "about", "status", "status_text", "invisible_since"),
                *("avatar_key", "privacy_last_seen", "last_activity", "created_at"),
            ),
            [self._user(number) for number in numbers],
        )
        until = now + timedelta(days=1)
        await self._copy(
            "devices",
            (
                *("id", "user_id", "name", "access_hash", "used_access_hash", "access_expires_at", "last_activity"),
                "created_at",
            ),
            [
                (device_id(each), user_id(each), "bench", *[token_hash(token(each))] * 2, until, now, now)
                for each in numbers
            ],
        )

    def _user(self, number: int) -> tuple[object, ...]:
        name, now = f"user-{number}", self._now
        status = "invisible" if number % 13 == 5 else "away" if number % 11 == 5 else "online"
        return (
            *(user_id(number), name, name, f"User {number}", "About me", status, "Reading a book"),
            *(self._start if status == "invisible" else None, _avatar_key(number) if _has_avatar(number) else None),
            *("nobody" if number % 7 == 5 else "contacts", now - timedelta(seconds=number), now),
        )

    async def _contacts(self) -> None:
        pairs = [(hub, PEERS + number) for hub in range(self._hubs) for number in range(CONTACTS)]
        pairs += [(WRITERS + pair, WRITERS + PAIRS + pair) for pair in range(PAIRS)]
        edges = [edge for one, other in pairs for edge in ((one, other), (other, one))]
        rows = [
            (user_id(owner), user_id(target), "mutual", f"Alias {target}" if target % 5 == 0 else None, self._now)
            for owner, target in edges
        ]
        await self._copy("contacts", ("owner_id", "target_id", "state", "alias", "since"), rows)

    async def _connections(self) -> None:
        """A quarter of the hubs' contacts are online, among thousands; their worker lives as long as the world."""
        worker = UUID(int=FIRST_ID)
        await self._copy("workers", ("id", "seen_at"), [(worker, self._now + timedelta(days=1))])
        online = [*range(PEERS, PEERS + CONTACTS, 4), *range(_STRANGERS, 2 * _STRANGERS)]
        rows = [(device_id(number), user_id(number), worker, number) for number in online]
        await self._copy("connections", ("device_id", "user_id", "worker_id", "number"), rows)

    async def _group(self) -> None:
        """One message, and in the streams of the members also the event of its conversation."""
        group, at, place = user_id(GROUP), self._start - timedelta(hours=1), next(self._places)
        await self._copy("peers", ("id", "kind"), [(group, "group")])
        await self._copy("groups", ("id", "name", "member_count", "created_at"), [(group, "Hubs", self._hubs, at)])
        conversation = (place, "group", group, 1, at)
        await self._copy("conversations", ("id", "kind", "peer_id", "last_seq", "last_at"), [conversation])
        columns = ("conversation_id", "user_id", "target_id", "last_minute", "rank", "joined_at", "visible_from")
        minute = at.replace(second=0, microsecond=0)
        rows = [(place, user_id(hub), group, minute, 0 if hub else 3, at, 1) for hub in range(self._hubs)]
        await self._copy("members", columns, rows)
        self._message(place, 1, 0, at)
        for hub in range(self._hubs):
            self._streams[hub].append(("message.created", self._messages[-1][0], None, None, at))
            self._streams[hub].append(("conversation.updated", None, group, None, at))

    def _talk_to_hub(self, hub: int) -> None:
        """Conversations of one to three messages and a long one, and what else a stream tells."""
        device = {"id": str(device_id(hub)), "name": "bench", "current": False}
        device |= {"created_at": "2026-01-01T00:00:00.000Z", "last_activity": "2026-01-01T00:00:00.000Z"}
        self._streams[hub].append(("device.added", None, None, json.dumps(device), self._start))
        # Contacts last: those are the conversations that one reads.
        for turn, number in enumerate(range(CONVERSATIONS - 1, -1, -1)):
            count = 1 + number % 3 if number else LONG
            self._talk(hub, PEERS + number, count, self._start + timedelta(seconds=10 * turn + hub))

    def _talk(self, one: int, other: int, count: int, start: datetime) -> None:
        low, high = sorted((user_id(one), user_id(other)))
        place = next(self._places)
        at = start
        for seq in range(1, count + 1):
            sender = one if seq % 2 else other
            at = start + timedelta(milliseconds=seq)
            self._message(place, seq, sender, at)
            subject = self._messages[-1][0]
            for side in (one, other):
                self._streams[side].append(("message.created", subject, None, None, at))
            if one < HUBS and len(self._streams[one]) % 6 == 0:
                self._streams[one].append(self._other_event(one, other, count, at))
        self._conversations.append((place, "direct", low, high, count, at))
        minute = at.replace(second=0, microsecond=0)
        for user, target, read in ((one, other, max(0, count - 1)), (other, one, count)):
            self._members.append((place, user_id(user), user_id(target), read, count, minute))

    def _message(self, place: int, seq: int, sender: int, at: datetime) -> None:
        # As version 7 would have it: in order of time.
        message_id = UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | len(self._messages))
        row = (message_id, place, seq, user_id(sender), device_id(sender), f"m{place}-{seq}", bytes(16), "text")
        edited, deleted = at if seq == LONG - 9 else None, at if seq == LONG - 19 else None
        expires = at if seq == LONG - 29 else self._now + timedelta(days=30) if seq == LONG - 39 else None
        self._messages.append((*row, None if deleted else BODY, at, edited, deleted, expires))

    def _hidden(self) -> list[tuple[object, ...]]:
        """One of each hub's long conversation, and thousands: of a table with few rows other plans are made."""
        ids = [message[0] for message in self._messages]
        by_others = [(user_id(PEERS + number), message, self._now) for number in range(20) for message in ids[:LONG]]
        last = [message for message in self._messages if message[2] == LONG - 2]
        return [*by_others, *((user_id(hub), message[0], self._now) for hub, message in enumerate(last))]

    def _other_event(self, hub: int, other: int, count: int, at: datetime) -> tuple[object, ...]:
        turn, peer = len(self._streams[hub]) // 6, user_id(other)
        kind = _OTHERS[turn % len(_OTHERS)]
        if kind == "receipt":
            mine = turn % 2 == 0
            payload = {"target_id": peer, "user_id": user_id(hub) if mine else peer}
            payload |= {"read_seq": count, "delivered_seq": count, **({"unread": 0, "version": 2} if mine else {})}
            return ("receipt.updated", None, None, json.dumps(payload), at)
        if kind == "contact":
            edge = {"state": "mutual", "alias": None, "message": None, "since": "2026-01-01T00:00:00.000Z"}
            return ("contact.updated", None, peer, json.dumps(edge), at)
        return (f"{kind}.updated", None, peer, None, at)

    async def _copy(self, table: str, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
        await self._database.copy_records_to_table(table, columns=columns, records=rows)


def _has_avatar(number: int) -> bool:
    return number < HUBS or number % 2 == 1


def _avatar_key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()
