"""The list of conversations of a user with many groups, beside that of a user with as many contacts."""

from __future__ import annotations

import asyncio
from statistics import median
from typing import NamedTuple

from _http import Connection, Counts
from _realtime.people import Device
from _realtime.traffic import Line
from _report import Table
from _server import Cpu

from _groups.deliveries import Deliveries
from _groups.scene import MEMBERS, Scene

LIMITS = (50, MEMBERS)
AIM = 1.3
_OTHERS = 9
_CONNECTIONS = 8
_AT_ONCE = 20


class Turn(NamedTuple):
    """The CPU of a request in milliseconds, and the statements that it runs."""

    cpu: Cpu
    statements: str


async def conversations(scene: Scene) -> list[Table]:
    """Lists of `MEMBERS` conversations, each with a last message."""
    readers = dict(zip(("contacts", "groups"), await scene.people.make(2), strict=True))
    await _fill(scene, readers["contacts"].user_id, readers["groups"].user_id)
    await scene.people.settle()
    rows = [row for limit in LIMITS for row in await _compare(scene, readers, limit)]
    notes = [
        f"Medians of {scene.effort.turns} turns of {scene.effort.requests} requests over {_CONNECTIONS} connections, "
        "in alternation; a ratio is the median of the ratios of consecutive turns.",
        f"Each group has {_OTHERS + 1} members.",
    ]
    return [Table("conversations: groups beside contacts", rows, notes)]


async def _fill(scene: Scene, contact: int, member: int) -> None:
    """Every connected user writes to the one reader, and in a group of the other."""
    users = [device.user_id for device in scene.devices]
    await scene.people.befriend((contact, user) for user in users)
    audiences = [
        [user, *(users[(number + step) % MEMBERS] for step in range(1, _OTHERS)), member]
        for number, user in enumerate(users)
    ]
    groups = await scene.groups.make(audiences)
    await scene.people.settle()
    deliveries = Deliveries(scene.members)
    for number, (socket, group) in enumerate(zip(scene.members, groups, strict=True), 1):
        deliveries.send(Line(socket, contact), 1)
        deliveries.send(Line(socket, group), _OTHERS)
        if number % _AT_ONCE == 0:
            await deliveries.complete()
    await deliveries.complete()


async def _compare(scene: Scene, readers: dict[str, Device], limit: int) -> list[dict[str, object]]:
    taken: dict[str, list[Turn]] = {name: [] for name in readers}
    for turn in range(scene.effort.turns + 1):
        for name, reader in readers.items():
            found = await _turn(scene, reader, limit)
            # The first turn prepares the statements.
            if turn:
                taken[name].append(found)
    return [_row(name, limit, taken) for name in readers]


async def _turn(scene: Scene, reader: Device, limit: int) -> Turn:
    line = f"GET /conversations?limit={limit} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {reader.token}\r\n\r\n"
    numbers = iter(range(scene.effort.requests))

    async def one() -> None:
        connection = await Connection.to(scene.server.port)
        for _ in numbers:
            status = await connection.send(line.encode())
            if status != 200 or connection.body.count(b'"target_receipt":') != limit:
                raise RuntimeError(f"GET /conversations was answered with {status}: {connection.body[:200]!r}")
        connection.close()

    counts, before = await Counts.read(scene.server), scene.server.cpu()
    await asyncio.gather(*(one() for _ in range(_CONNECTIONS)))
    used = scene.server.cpu().since(before).each(scene.effort.requests)
    return Turn(used, (await Counts.read(scene.server)).since(counts, scene.effort.requests))


def _row(name: str, limit: int, taken: dict[str, list[Turn]]) -> dict[str, object]:
    turns = taken[name]
    row: dict[str, object] = {
        "list": f"{limit} of {MEMBERS} {name}",
        "server CPU, ms": round(median(turn.cpu.server for turn in turns), 2),
        "PostgreSQL CPU, ms": round(median(turn.cpu.postgres for turn in turns), 2),
        "statements": turns[-1].statements,
    }
    if name == "groups":
        ratios = [sum(one.cpu) / sum(other.cpu) for one, other in zip(turns, taken["contacts"], strict=True)]
        row |= {"CPU ×": round(median(ratios), 2), "aim": f"≤ {AIM}"}
    return row
