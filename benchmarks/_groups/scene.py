"""The server, its groups and the connected users of all cases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import asyncpg
from _realtime.people import Device, People
from _realtime.sockets import Socket, connect_all, quiet
from _server import Cpu, Server

MEMBERS = 200
_FIRST_GROUP = 200_000_000
_OWNER, _MEMBER = 3, 0


class Effort(NamedTuple):
    """`turns` of each load with `messages` each, and twice as many to the largest group; `bursts`; `turns` of the list
    with `requests` each; seconds in which the upkeep of idle sockets is measured.
    """

    turns: int
    messages: int
    bursts: int
    requests: int
    idle_seconds: float


FULL = Effort(turns=4, messages=20, bursts=12, requests=150, idle_seconds=5)
QUICK = Effort(turns=1, messages=5, bursts=2, requests=20, idle_seconds=1)


class Scene(NamedTuple):
    """`members`: connected users. `upkeep`: the CPU that their idle sockets cost in a second."""

    server: Server
    people: People
    groups: Groups
    devices: list[Device]
    members: list[Socket]
    upkeep: Cpu
    effort: Effort

    def used(self, before: Cpu, seconds: float) -> Cpu:
        """The CPU used since `before`, this long ago, without the upkeep."""
        used = self.server.cpu().since(before)
        return Cpu(used.server - seconds * self.upkeep.server, used.postgres - seconds * self.upkeep.postgres)


class Groups:
    """Writes what creating groups and joining them would have written."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._next = _FIRST_GROUP

    @classmethod
    async def of(cls, database_url: str) -> Groups:
        """Connect to the database of a running server."""
        return cls(await asyncpg.connect(database_url))

    async def make(self, audiences: Sequence[Sequence[int]]) -> list[int]:
        """Create a group for each list of members, whose first one is the owner; returns their IDs."""
        ids = list(range(self._next, self._next + len(audiences)))
        self._next += len(audiences)
        now = datetime.now(UTC)
        rows = [(group, f"Group {group}", len(users), now) for group, users in zip(ids, audiences, strict=True)]
        # A group must have an owner when the transaction commits.
        async with self._database.transaction():
            await self._copy("peers", ("id", "kind"), [(group, "group") for group in ids])
            await self._copy("groups", ("id", "name", "member_count", "created_at"), rows)
            places = await self._database.fetch(
                "INSERT INTO conversations (kind, peer_id, last_at, version)"
                " SELECT 'group', id, $2, 1 FROM unnest($1::bigint[]) AS id RETURNING id, peer_id",
                ids,
                now,
            )
            found = {place["peer_id"]: place["id"] for place in places}
            await self._copy(
                "members",
                ("conversation_id", "user_id", "target_id", "rank", "joined_at", "last_minute"),
                [
                    (
                        found[group],
                        user,
                        group,
                        _MEMBER if number else _OWNER,
                        now,
                        now.replace(second=0, microsecond=0),
                    )
                    for group, users in zip(ids, audiences, strict=True)
                    for number, user in enumerate(users)
                ],
            )
        return ids

    async def close(self) -> None:
        await self._database.close()

    async def _copy(self, table: str, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
        await self._database.copy_records_to_table(table, columns=columns, records=rows)


async def scene_of(server: Server, effort: Effort) -> Scene:
    """Connect the members, and measure what their sockets cost while nothing is sent."""
    people = await People.of(server.database_url)
    groups = await Groups.of(server.database_url)
    devices = await people.make(MEMBERS)
    await people.settle()
    members = await connect_all(server.port, devices)
    await quiet()
    before = server.cpu()
    await asyncio.sleep(effort.idle_seconds)
    used = server.cpu().since(before)
    upkeep = Cpu(used.server / effort.idle_seconds, used.postgres / effort.idle_seconds)
    return Scene(server, people, groups, devices, members, upkeep, effort)
