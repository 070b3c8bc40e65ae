"""Processes that are killed, and processes that are stopped for a while."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import asyncpg
import httpx
import psutil

from tests.faults._fault import fault
from tests.faults._world import World

STOPPED_SECONDS = 10.0
BRIEFLY_SECONDS = 6.0
"""In the short form; longer than anybody may wait for an answer then."""
ANSWERED_SECONDS = 3.0
"""Within this everybody is told 503 while the database can't be had."""
_BUSY_SECONDS = 2.0
_WAIT_SECONDS = 10.0
_WAITING = """
    SELECT pid FROM pg_stat_activity WHERE application_name = 'messenger' AND wait_event_type = 'Lock' ORDER BY pid
"""


def kill(processes: Iterable[psutil.Process]) -> None:
    """`kill -9`; ignores a process that has ended."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@asynccontextmanager
async def at_work(world: World, chance: Random) -> AsyncIterator[psutil.Process]:
    """A backend in the middle of a message: all of them wait until the block ends."""
    connection = await asyncpg.connect(world.database_url, timeout=10)
    try:
        await connection.execute("BEGIN; SELECT FROM conversations FOR NO KEY UPDATE")
        async with asyncio.timeout(_WAIT_SECONDS):
            while not (rows := await connection.fetch(_WAITING)):
                await asyncio.sleep(0.01)
        yield psutil.Process(chance.choice(rows)["pid"])
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.execute("ROLLBACK")
    finally:
        connection.terminate()


@asynccontextmanager
async def stopped(world: World, processes: list[psutil.Process]) -> AsyncIterator[None]:
    """SIGSTOP for the length of the block; the fault ends with it."""
    try:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        world.healed()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


# --- kill -9 --------------------------------------------------------------------------------------


@fault("kill_worker", "G1, G5", "kill -9 of one worker")
async def kill_worker(world: World, chance: Random) -> None:
    worker = chance.choice(world.workers())
    world.healed()
    kill([worker])


@fault(
    "kill_server",
    "G1, G5",
    "kill -9 of the server, which ends its workers and its database, too; then a restart",
    recovery=20.0,
    settled=30.0,
)
async def kill_server(world: World, chance: Random) -> None:
    server = world.servers[0].process
    server.kill()
    server.wait()
    world.healed()
    await world.start_again()


@fault(
    "kill_backend",
    "G1, G2, G6",
    "kill -9 of a backend while it stores a message: PostgreSQL ends all sessions and recovers",
)
async def kill_backend(world: World, chance: Random) -> None:
    async with at_work(world, chance) as backend:
        world.healed()
        kill([backend])


@fault("kill_database", "G1, G6", "kill -9 of the postmaster, alone or with all its processes; the server restarts it")
async def kill_database(world: World, chance: Random) -> None:
    processes = world.postgres()
    world.healed()
    kill(processes if chance.random() < 0.5 else processes[:1])


@fault(
    "kill_everything",
    "G1, G2, G5",
    "kill -9 of the server, its workers and its database at once; then a restart",
    recovery=20.0,
    settled=30.0,
)
async def kill_everything(world: World, chance: Random) -> None:
    kill(world.everything())
    world.servers[0].process.wait()
    world.healed()
    await world.start_again()


# --- SIGSTOP --------------------------------------------------------------------------------------


@fault("stop_worker", "G1, G3, G4", "SIGSTOP of one worker for 10 s")
async def stop_worker(world: World, chance: Random) -> None:
    async with stopped(world, [chance.choice(world.workers())]):
        await world.hold(STOPPED_SECONDS)


@fault("stop_backend", "G1, G2, G6", "SIGSTOP for 10 s of a backend that holds the locks of a message")
async def stop_backend(world: World, chance: Random) -> None:
    async with AsyncExitStack() as stack:
        async with at_work(world, chance) as backend:
            await stack.enter_async_context(stopped(world, [backend]))
        await world.hold(STOPPED_SECONDS)


@fault("stop_postmaster", "G6", "SIGSTOP of the postmaster for 10 s: no new connections")
async def stop_postmaster(world: World, chance: Random) -> None:
    async with stopped(world, [world.postmaster()]):
        await world.hold(STOPPED_SECONDS)


@fault(
    "stop_database", "G6", "SIGSTOP of all of PostgreSQL for 10 s: 503 with Retry-After within 3 s, liveness stays 200"
)
async def stop_database(world: World, chance: Random) -> None:
    async with answered_meanwhile(world), stopped(world, world.postgres()):
        await world.hold(STOPPED_SECONDS, brief=BRIEFLY_SECONDS)


@asynccontextmanager
async def answered_meanwhile(world: World) -> AsyncIterator[None]:
    """While the database is unavailable each request is refused in time, and every process reports that it is alive."""
    began = time.monotonic()
    alive = asyncio.create_task(_ask_liveness(world))
    try:
        yield
    finally:
        alive.cancel()
        await asyncio.gather(alive, return_exceptions=True)
    healed = world.healed_at or time.monotonic()
    within = ANSWERED_SECONDS + (_BUSY_SECONDS if world.brief else 0.0)
    # Requests that hung until the end are answered by now; those that hang longer than a client waits have failed.
    await world.population.more(1, seconds=30.0)
    for answer in world.population.answers:
        if answer.began < healed and answer.began + answer.seconds > began:
            what = f"{answer.status} after {answer.seconds:.1f} s, begun {answer.began - began:+.1f} s"
            world.expect(answer.seconds <= within, f"a request was answered late: {what}")
            good = answer.refused or answer.status in {200, 201, 204, 503}
            world.expect(good, f"a request was answered otherwise than 503: {what}")


async def _ask_liveness(world: World) -> None:
    async with httpx.AsyncClient(timeout=1.0) as http:
        while True:
            for server in world.servers:
                try:
                    status: object = (await http.get(f"{server.url}/health/live")).status_code
                except httpx.HTTPError as error:
                    status = repr(error)
                world.expect(status == 200, f"/health/live answered {status}")
            await asyncio.sleep(0.2)
