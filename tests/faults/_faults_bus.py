"""Outages of the bus between workers: no event is lost, some are delayed."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from weakref import WeakKeyDictionary

from messenger.testing.servers import NatsServer, RedisServer, ServerProcess
from tests.faults._fault import USUAL, Installation, Strike, fault
from tests.faults._faults_sockets import ends, people, writing
from tests.faults._many_sockets import many_sockets
from tests.faults._world import World

AWAY_SECONDS = 10.0
# Without a bus each worker polls the table every second; an event just after a poll waits for the next one.
# A frozen server seems alive until it fails to answer for five seconds; until then polls are as rare as with a bus.
_LATE_SECONDS, _LATE_SECONDS_FROZEN = 4.0, 8.0
_EVERY_SECONDS = 0.2
_QUIET = 20
_buses: WeakKeyDictionary[World, ServerProcess] = WeakKeyDictionary()


async def with_nats(world: World) -> None:
    """NATS connects the workers."""
    _start(world, NatsServer())


async def with_redis(world: World) -> None:
    """Redis connects the workers."""
    _start(world, RedisServer())


def _start(world: World, bus: ServerProcess) -> None:
    _buses[world] = world.stack.enter_context(bus)
    for settings in world.settings:
        settings["bus_url"] = bus.url


def _needs(kind: type[ServerProcess]) -> Callable[[], str | None]:
    def needs() -> str | None:
        if shutil.which(kind.binary) or shutil.which(kind.binary, path="/usr/sbin"):
            return None
        return f"NOT TESTED: there is no {kind.binary} here (apt-get install {kind.package})"

    return needs


@asynccontextmanager
async def _listening(world: World, *, within: float = _LATE_SECONDS) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Users who receive no other messages: no other event wakes their streams on the other worker."""
    async with writing(world) as (writers, friends), many_sockets(world.servers[0].port) as quiet:
        users = await people(world, quiet, _QUIET, friends)
        await quiet.do("connect")

        async def arrives() -> None:
            await writers.do("write", to=users, count=_QUIET, rate=10 * _QUIET, size=20)
            began = time.monotonic()
            breaks = await quiet.do("reach", ends=await ends(world, users))
            seconds = time.monotonic() - began
            world.expect(breaks == 0, f"{breaks} events did not follow the one before them")
            world.expect(seconds <= within, f"without a bus an event took {seconds:.1f} s to reach everybody")

        yield arrives


async def _stay_away(world: World, arrives: Callable[[], Awaitable[None]]) -> None:
    until = time.monotonic() + (3.0 if world.brief else AWAY_SECONDS)
    while time.monotonic() < until:
        await arrives()
        await asyncio.sleep(_EVERY_SECONDS)


async def lose_server(world: World, chance: Random) -> None:
    """Kill the server, or freeze it so that its connections look alive."""
    bus = _buses[world]
    frozen = chance.random() < 0.5
    lose, heal = (bus.freeze, bus.thaw) if frozen else (bus.kill, bus.start)
    async with _listening(world, within=_LATE_SECONDS_FROZEN if frozen else _LATE_SECONDS) as arrives:
        lose()
        try:
            await _stay_away(world, arrives)
        finally:
            world.healed()
            heal()
        await arrives()


for _kind, _prepare in ((NatsServer, with_nats), (RedisServer, with_redis)):
    _register: Callable[[Strike], Strike] = fault(
        f"lose_{_kind.scheme}",
        "G4, G7",
        f"{_kind.binary} between the workers killed or frozen for 10 s: no message is refused or lost",
        installation=Installation(prepare=_prepare),
        answers=frozenset(),
        needs=_needs(_kind),
    )
    _register(lose_server)


@fault(
    "lose_postgres_bus",
    "G4, G7",
    "LISTEN/NOTIFY between the workers cut repeatedly for 10 s: no message is refused or lost",
    installation=USUAL,
    answers=frozenset(),
)
async def lose_postgres_bus(world: World, chance: Random) -> None:
    async def cut() -> None:
        while True:
            await world.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'messenger bus'"
            )
            await asyncio.sleep(chance.uniform(0, 2 * _EVERY_SECONDS))

    async with _listening(world) as arrives:
        cutting = asyncio.create_task(cut())
        try:
            await _stay_away(world, arrives)
        finally:
            cutting.cancel()
            await asyncio.gather(cutting, return_exceptions=True)
            world.healed()
