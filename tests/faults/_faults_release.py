"""Operations under load: stop the server, deploy a new release, roll it back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from random import Random
from weakref import WeakKeyDictionary

import httpx

from messenger.migrations import head_revision
from tests.faults._fault import USUAL, Installation, fault
from tests.faults._faults_sockets import people
from tests.faults._many_sockets import many_sockets
from tests.faults._releases import Release, needs_history, unpack
from tests.faults._world import World

DRAINED_SECONDS = 15.0
_SOCKETS = 20
_RESTARTING = 1012
_START_SECONDS = 30.0
_MIXED_SECONDS = 4.0


@fault(
    "sigterm",
    "G11",
    "SIGTERM under load, two workers: exit code 0 within 15 s, sockets closed with 1012, accepted requests answered",
    recovery=15.0,
    installation=USUAL,
    answers=frozenset(),
)
async def sigterm(world: World, chance: Random) -> None:
    server = world.servers[0]
    async with many_sockets(server.port) as listeners:
        await people(world, listeners, _SOCKETS, [])
        await listeners.do("connect", returning=False)
        seconds = await _drain(world, 0)
        codes = await listeners.do("codes")
        world.expect(codes == {str(_RESTARTING): _SOCKETS}, f"sockets ended with {codes}")
    world.healed()
    await world.start_again()
    world.note(f"drained in {seconds:.1f} s")


async def _drain(world: World, number: int) -> float:
    """Stop a server gracefully; return the seconds that it took."""
    process = world.servers[number].process
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(2 * DRAINED_SECONDS):
            while process.poll() is None:
                await asyncio.sleep(0.02)
    except TimeoutError:
        process.kill()
        process.wait()
    seconds = time.monotonic() - began
    world.expect(process.returncode == 0, f"the server ended with {process.returncode}")
    world.expect(seconds <= DRAINED_SECONDS, f"the server took {seconds:.1f} s to end")
    return seconds


# --- releases -----------------------------------------------------------------------------------------

# The migration before whose release there are no groups; rolling it back removes them.
_GROUPS = "0013"
_earlier: WeakKeyDictionary[World, Release] = WeakKeyDictionary()


async def with_the_release_before(world: World) -> None:
    """The source of the previous release, beside this one."""
    _earlier[world] = await asyncio.to_thread(unpack, world.folder / "release")


@fault(
    "releases",
    "G12",
    "this release and the one before its newest migration on one schema, in turns and together: no refused request",
    installation=Installation(
        servers=2,
        workers=1,
        database="apart",
        prepare=with_the_release_before,
        has_groups=head_revision() > _GROUPS,
    ),
    answers=frozenset(),
    needs=needs_history,
)
async def releases(world: World, chance: Random) -> None:
    earlier, head = _earlier[world], await _schema(world)
    # Rolled back one by one, on a schema that is newer than the release.
    for number in (0, 1):
        await _replace(world, number, earlier, chance)
    await _migrate(world, "downgrade", earlier.head, "--yes")
    await _mixed(world)
    world.expect(await _schema(world) == earlier.head, "the schema was not taken back")
    await _migrate(world, "upgrade", "head")
    await _mixed(world)
    # Deployed one by one: both releases share the schema and each other's messages.
    for number in (1, 0):
        await _replace(world, number, None, chance)
    world.healed()
    world.expect(await _schema(world) == head, "the schema is not where it was")
    if not earlier.knows_newer_schemas:
        world.note(f"the release of {earlier.head} knows nothing of newer schemas: it ran, and called itself unready")


async def _replace(world: World, number: int, release: Release | None, chance: Random) -> None:
    """Replace the release of a server, None: by this one. A balancer moves its clients to the other server first."""
    server, other = world.servers[number], world.servers[1 - number]
    for device in world.population.devices:
        device.proxy.target = "127.0.0.1", other.port
    await _drain(world, number)
    server.variables = release.variables if release else {}
    server.settings["auto_migrate"] = "off"
    server.start()
    await _serving(server.url)
    for device in chance.sample(world.population.devices, len(world.population.devices) // 2):
        device.proxy.target = "127.0.0.1", server.port
        device.proxy.abort()
    await _mixed(world)


async def _serving(url: str) -> None:
    """Its database answers; what it says about the version of the schema does not matter here."""
    async with httpx.AsyncClient(timeout=1.0) as http, asyncio.timeout(_START_SECONDS):
        while True:
            try:
                checks = (await http.get(f"{url}/health/ready")).json()["checks"]
                if checks["database"] == "ok":
                    return
            except httpx.HTTPError:
                await asyncio.sleep(0.05)


async def _mixed(world: World) -> None:
    """Some load on the mixed installation."""
    await world.population.more(12 if world.brief else 24, seconds=30.0)
    await world.hold(_MIXED_SECONDS, brief=0.2)


async def _migrate(world: World, *words: str) -> None:
    """Migrate with this release's command line, under load."""
    environment: Mapping[str, str] = {**os.environ, "MESSENGER_DATABASE_URL": world.database_url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "messenger", "db", *words),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise AssertionError(f"messenger db {' '.join(words)}: {said.decode()}")


async def _schema(world: World) -> str:
    rows = await world.fetch("SELECT version_num FROM alembic_version")
    return str(rows[0]["version_num"])
