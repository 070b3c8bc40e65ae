"""Cut connections: between commit and response, and at any byte; in front of the server, and of its database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from tests.faults._fault import Installation, fault
from tests.faults._faults_process import BRIEFLY_SECONDS, STOPPED_SECONDS, answered_meanwhile
from tests.faults._world import World
from tests.support.proxy import Proxy

CUTTING_SECONDS = 2.5
_ANSWERS = (b"HTTP/1.1 20", b'"type":"reply"', b"\xa5reply")
# What PostgreSQL sends for a committed message, and for a transaction.
_DONE = (b"\x00\x00\x00\x04sent", b"COMMIT\x00")
_SIZES = (0, 1, 20, 200, 2000, 20_000)
APART = Installation(database="apart")


def cut_somewhere(proxy: Proxy, chance: Random) -> None:
    """Cut now, or in the middle of the next data, in either direction."""
    if chance.random() < 0.2:
        proxy.abort()
    else:
        proxy.cut_after(chance.choice(_SIZES) + chance.randint(0, 50), chance.choice(("up", "down")))


@contextmanager
def cutting(world: World, proxies: list[Proxy]) -> Iterator[None]:
    """Afterwards the networks work again; something must have been cut."""
    before = sum(proxy.cuts for proxy in proxies)
    try:
        yield
    finally:
        world.healed()
        for proxy in proxies:
            proxy.heal()
    cuts = sum(proxy.cuts for proxy in proxies)
    world.expect(cuts > before, "nothing was cut")
    world.note(f"{cuts} connections cut up to now")


@fault("cut_answers", "G1, G2", "clients' connections cut between the commit and the response")
async def cut_answers(world: World, chance: Random) -> None:
    proxies = [device.proxy for device in world.population.devices]
    with cutting(world, proxies):
        for _ in range(10):
            for proxy in chance.sample(proxies, len(proxies) // 2):
                proxy.swallow(*_ANSWERS)
            await asyncio.sleep(CUTTING_SECONDS / 10)


@fault("cut_clients", "G2, G4, G7", "clients' connections cut at random bytes, in either direction, 60 times")
async def cut_clients(world: World, chance: Random) -> None:
    proxies = [device.proxy for device in world.population.devices]
    with cutting(world, proxies):
        for _ in range(60):
            cut_somewhere(chance.choice(proxies), chance)
            await asyncio.sleep(CUTTING_SECONDS / 60)


@fault(
    "cut_commits",
    "G1, G2, G6",
    "the connection to the database cut between the commit and its response",
    installation=APART,
)
async def cut_commits(world: World, chance: Random) -> None:
    with cutting(world, [world.database_proxy]):
        for _ in range(20):
            world.database_proxy.swallow(*_DONE)
            await asyncio.sleep(chance.uniform(0, 2 * CUTTING_SECONDS / 20))


@fault(
    "cut_database",
    "G1, G2, G6",
    "the connection to the database cut at random bytes, in either direction",
    installation=APART,
)
async def cut_database(world: World, chance: Random) -> None:
    with cutting(world, [world.database_proxy]):
        for _ in range(20):
            cut_somewhere(world.database_proxy, chance)
            await asyncio.sleep(chance.uniform(0, 2 * CUTTING_SECONDS / 20))


@fault(
    "silence_database",
    "G6",
    "the connection to the database silently drops everything for 10 s: 503 within 3 s, liveness stays 200",
    installation=APART,
)
async def silence_database(world: World, chance: Random) -> None:
    async with answered_meanwhile(world):
        world.database_proxy.hold()
        try:
            await world.hold(STOPPED_SECONDS, brief=BRIEFLY_SECONDS)
        finally:
            world.healed()
            world.database_proxy.heal()
