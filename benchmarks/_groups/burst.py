"""Messages to many groups at once, and what they mean for messages in 1:1 conversations meanwhile."""

from __future__ import annotations

import asyncio
from time import perf_counter

from _realtime.sockets import connect_all, quiet, unbroken
from _realtime.traffic import Line
from _report import Table, ms, percentile

from _groups.deliveries import Deliveries, Delivery
from _groups.scene import Scene

GROUPS = 20
_OUTSIDERS = 20
_PAUSE_SECONDS = 0.01


async def burst(scene: Scene) -> list[Table]:
    """A message to each of the groups at once; users who are in none of them write to members meanwhile."""
    users = [device.user_id for device in scene.devices]
    outsiders = await scene.people.make(_OUTSIDERS)
    await scene.people.befriend(zip((each.user_id for each in outsiders), users[-_OUTSIDERS:], strict=True))
    groups = await scene.groups.make([users] * GROUPS)
    await scene.people.settle()
    sockets = await connect_all(scene.server.port, outsiders)
    deliveries = Deliveries([*scene.members, *sockets])
    many = [Line(scene.members[number], group) for number, group in enumerate(groups)]
    pairs = [Line(socket, users[number - _OUTSIDERS]) for number, socket in enumerate(sockets)]
    for line in pairs:
        # The first message of a pair opens their conversation.
        deliveries.send(line, 2)
    await deliveries.complete()
    await _burst(scene, deliveries, many, pairs)
    taken = [await _burst(scene, deliveries, many, pairs) for _ in range(scene.effort.bursts)]
    meanwhile = [each for _, found in taken for each in found]
    alone = await _alone(deliveries, pairs, len(meanwhile))
    sent = [each for found, _ in taken for each in found]
    lasts = [max(each.received for each in found) for found, _ in taken]
    rows = [
        _row(f"{GROUPS} groups of {len(users)} at once", sent),
        _row("1:1 meanwhile", meanwhile),
        _row("1:1 alone", alone),
    ]
    notes = [
        f"{len(taken)} bursts. All groups have the same members, so their messages need the same rows. A burst has "
        f"reached everyone after {ms(percentile(lasts, 0.5))} ms (median; at most {ms(max(lasts))} ms).",
        f"1:1: by users who are in no group, each to a member of all groups, every {1000 * _PAUSE_SECONDS:g} ms until "
        "the burst has reached everyone.",
        unbroken(),
    ]
    for socket in sockets:
        socket.cut()
    return [Table("burst: messages to many groups at once", rows, notes)]


async def _burst(
    scene: Scene, deliveries: Deliveries, many: list[Line], pairs: list[Line]
) -> tuple[list[Delivery], list[Delivery]]:
    """The messages to the groups, and the 1:1 ones meanwhile."""
    sent = [deliveries.send(line, len(scene.members)) for line in many]
    meanwhile: list[Delivery] = []
    while not all(each.is_complete for each in sent):
        meanwhile.append(deliveries.send(pairs[len(meanwhile) % len(pairs)], 2))
        await asyncio.sleep(_PAUSE_SECONDS)
    await deliveries.complete()
    await quiet(0.2)
    return sent, meanwhile


async def _alone(deliveries: Deliveries, pairs: list[Line], count: int) -> list[Delivery]:
    """As many 1:1 messages as were sent during the bursts, at the same rate."""
    started, sent = perf_counter(), []
    for number in range(count):
        await asyncio.sleep(max(0.0, started + number * _PAUSE_SECONDS - perf_counter()))
        sent.append(deliveries.send(pairs[number % len(pairs)], 2))
    await deliveries.complete()
    await quiet(0.2)
    return sent


def _row(title: str, deliveries: list[Delivery]) -> dict[str, object]:
    received = [each.received for each in deliveries]
    answered = [each.answered for each in deliveries]
    return {
        "": title,
        "messages": len(deliveries),
        "last receiver p50, ms": ms(percentile(received, 0.5)),
        "p99": ms(percentile(received, 0.99)),
        "max": ms(max(received, default=0)),
        "reply p50, ms": ms(percentile(answered, 0.5)),
        "reply p99": ms(percentile(answered, 0.99)),
    }
