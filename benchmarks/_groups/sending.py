"""A text to groups of several sizes, beside the same text to one user."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter
from typing import NamedTuple

from _http import Counts
from _realtime.sockets import quiet, unbroken
from _realtime.traffic import Line
from _report import Table, ms, percentile
from _server import Cpu

from _groups.deliveries import Deliveries, Delivery
from _groups.scene import MEMBERS, Scene

SIZES = (10, 50, MEMBERS)
RATE = 5
AIM_POSTGRES, AIM_P99 = 5, 80
_SENDERS = 10


class Load(NamedTuple):
    """Lines that send in turn; so many sockets receive each message."""

    title: str
    lines: list[Line]
    receivers: int

    @property
    def has_aim(self) -> bool:
        """Whether it is the largest group, of which the most messages are sent."""
        return self.receivers == MEMBERS


class Turn(NamedTuple):
    """The messages of a turn, and the CPU of each in milliseconds."""

    deliveries: list[Delivery]
    cpu: Cpu
    statements: str


async def sending(scene: Scene) -> list[Table]:
    """Latency and CPU of a message, at a few messages a second."""
    deliveries = Deliveries(scene.members)
    loads = await _loads(scene)
    taken: dict[str, list[Turn]] = {load.title: [] for load in loads}
    for load in loads:
        # The first messages open conversations and prepare statements.
        await _turn(scene, deliveries, load, len(load.lines), rate=4 * RATE)
    for _ in range(scene.effort.turns):
        for load in loads:
            count = scene.effort.messages * (2 if load.has_aim else 1)
            taken[load.title].append(await _turn(scene, deliveries, load, count, rate=RATE))
    notes = [
        f"{RATE} messages a second from {_SENDERS} senders in turn. Times are measured from just before the request is "
        "written until the last receiver has the event, or the sender has the reply.",
        "CPU includes delivery receipts, and excludes the upkeep of the idle sockets: "
        f"{ms(scene.upkeep.server)} ms a second in the server and {ms(scene.upkeep.postgres)} ms in PostgreSQL.",
        "CPU is the median of the turns. Of the group of which only the sender is connected, it is that of the "
        "statement that sends, and of one receipt.",
        *(f"Statements a message, {title}: {turns[-1].statements}." for title, turns in taken.items()),
        unbroken(),
    ]
    return [Table("sending: a text to a group", [_row(load, taken[load.title]) for load in loads], notes)]


async def _loads(scene: Scene) -> list[Load]:
    users = [device.user_id for device in scene.devices]
    sockets = scene.members[:_SENDERS]
    absent = [device.user_id for device in await scene.people.make(MEMBERS - 1)]
    await scene.people.befriend(zip(users[:_SENDERS], users[_SENDERS : 2 * _SENDERS], strict=True))
    *groups, alone = await scene.groups.make([*(users[:size] for size in SIZES), [users[0], *absent]])
    await scene.people.settle()
    pairs = [Line(sender, users[_SENDERS + number]) for number, sender in enumerate(sockets)]
    return [
        Load("1:1", pairs, 2),
        *(
            Load(f"group of {size}", [Line(sender, group) for sender in sockets], size)
            for size, group in zip(SIZES, groups, strict=True)
        ),
        Load(f"group of {MEMBERS}, one connected", [Line(sockets[0], alone)], 1),
    ]


async def _turn(scene: Scene, deliveries: Deliveries, load: Load, count: int, *, rate: float) -> Turn:
    sent: list[Delivery] = []
    counts = await Counts.read(scene.server)
    before, started = scene.server.cpu(), perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, started + number / rate - perf_counter()))
        sent.append(deliveries.send(load.lines[number % len(load.lines)], load.receivers))
    await deliveries.complete()
    # The CPU of delivery receipts is counted, too.
    await quiet(0.2)
    used = scene.used(before, perf_counter() - started).each(count)
    return Turn(sent, used, (await Counts.read(scene.server)).since(counts, count))


def _row(load: Load, turns: list[Turn]) -> dict[str, object]:
    received = [each.received for turn in turns for each in turn.deliveries]
    answered = [each.answered for turn in turns for each in turn.deliveries]
    return {
        "to": load.title,
        "messages": len(received),
        "last receiver p50, ms": ms(percentile(received, 0.5)),
        "p99": ms(percentile(received, 0.99)),
        "aim": f"≤ {AIM_P99}" if load.has_aim else "",
        "reply p50, ms": ms(percentile(answered, 0.5)),
        "reply p99": ms(percentile(answered, 0.99)),
        "server CPU, ms": round(median(turn.cpu.server for turn in turns), 2),
        "PostgreSQL CPU, ms": round(median(turn.cpu.postgres for turn in turns), 2),
        "aim, PostgreSQL": f"≤ {AIM_POSTGRES}" if load.has_aim else "",
    }
