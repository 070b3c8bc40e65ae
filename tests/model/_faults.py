"""Faults during random operations: cuts, lost hints, slow readers, replaced sockets. Some last for several steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from messenger.client import ClientError
from tests.model._walk import Walk
from tests.support.device import Device

Fault = Callable[[Walk, Device, Random], Coroutine[Any, Any, None]]


def _steps(chance: Random) -> int:
    return chance.randint(1, 12)


# --- the network ----------------------------------------------------------------------------------


async def abort(_: Walk, device: Device, __: Random) -> None:
    """Reset all connections of a device."""
    device.proxy.abort()


async def cut(_: Walk, device: Device, chance: Random) -> None:
    """Cut in the middle of a frame, a head or a body, in either direction."""
    way = "down" if chance.random() < 0.6 else "up"
    device.proxy.cut_after(chance.choice((0, 1, 20, 200, 2000, 20_000)) + chance.randint(0, 50), way)  # type: ignore[arg-type]


async def swallow(_: Walk, device: Device, __: Random) -> None:
    """Cut between the commit and its response."""
    device.proxy.swallow(b"HTTP/1.1 20", b'"type":"reply"', b"\xa5reply")


async def move(walk: Walk, device: Device, chance: Random) -> None:
    """Move to another worker, as after a cut behind a balancer."""
    device.proxy.target = walk.world.target(chance)
    device.proxy.abort()


async def refuse(walk: Walk, device: Device, chance: Random) -> None:
    """No network for a while."""
    device.proxy.refuse()
    await walk.steps(_steps(chance))
    device.proxy.refuse(False)


async def hold(walk: Walk, device: Device, chance: Random) -> None:
    """A device that does not read for a while, until its queue at the server overflows."""
    device.proxy.hold()
    await walk.steps(2 * _steps(chance))
    device.proxy.heal()


# --- the device -----------------------------------------------------------------------------------


async def crash(_: Walk, device: Device, chance: Random) -> None:
    """The program crashes, and restarts at an older cursor."""
    if not device.turning.locked():
        async with device.turning:
            await device.listen(behind=chance.choice((0, 0, 1, 5)))


async def poll(walk: Walk, device: Device, chance: Random) -> None:
    """Use the long poll instead of a socket for a while."""
    if device.turning.locked():
        return
    async with device.turning:
        await device.listen(polling=True)
        await walk.steps(2 * _steps(chance))
        await device.listen()


async def replace(walk: Walk, device: Device, chance: Random) -> None:
    """Open another socket of the same device, on any worker: the newer one stays."""
    if device.turning.locked():
        return
    async with device.turning:
        host, port = walk.world.target(chance)
        try:
            token = await device.client.keeper.access()
            headers = {"Authorization": f"Bearer {token}"}
            # It reads everything: a peer that does not would not notice that it was replaced.
            options = {"additional_headers": headers, "compression": None, "max_queue": None}
            async with connect(f"ws://{host}:{port}/ws", **options) as other:  # type: ignore[arg-type]
                await other.recv()
                await _one_goes(device, asyncio.create_task(other.wait_closed()))
        except (ClientError, WebSocketException, OSError):
            # The device was signed out, or the database connection was cut during the handshake.
            return
        if device.replaced:
            await device.listen()


async def _one_goes(device: Device, other: asyncio.Task[None]) -> None:
    mine = asyncio.create_task(device.until(lambda: device.replaced or device.signed_out, "one socket to go"))
    await asyncio.wait((mine, other), return_when=asyncio.FIRST_COMPLETED)
    for task in (mine, other):
        task.cancel()
    await asyncio.gather(mine, other, return_exceptions=True)
    if mine.done() and not mine.cancelled():
        mine.result()


# --- the server -----------------------------------------------------------------------------------


async def lose_hints(walk: Walk, _: Device, chance: Random) -> None:
    """The bus drops messages without noticing."""
    walk.world.broker.losing += chance.randint(1, 4)


async def lose_news(walk: Walk, _: Device, chance: Random) -> None:
    """A commit that is announced to nobody, not even in its own process."""
    chance.choice(walk.world.workers).announcer.losing += chance.randint(1, 2)


async def bus_away(walk: Walk, _: Device, chance: Random) -> None:
    """No bus for a while."""
    walk.world.broker.stop()
    await walk.steps(_steps(chance))
    walk.world.broker.start()


async def cut_database(walk: Walk, _: Device, chance: Random) -> None:
    """End database connections of the workers."""
    await walk.world.cut_database(chance.choice((1, 2, 16)))


FAULTS: tuple[tuple[int, Fault], ...] = (
    (10, abort),
    (20, cut),
    (12, swallow),
    (8, move),
    (4, refuse),
    (6, hold),
    (8, crash),
    (5, poll),
    (5, replace),
)
SERVER_FAULTS: tuple[tuple[int, Fault], ...] = ((6, lose_hints), (6, lose_news), (3, bus_away), (3, cut_database))
