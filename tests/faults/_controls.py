"""Negative controls: servers broken on purpose, in which the checker must find faults. Without them a checker that sees
nothing would look like a server that loses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from random import Random
from typing import Literal

import httpx
import msgspec

from tests.faults._fault import Installation
from tests.faults._faults_process import kill
from tests.faults._faults_repetition import send_at_once
from tests.faults._outcome import Outcome
from tests.faults._run import HEAL_SECONDS, WARM, store
from tests.faults._world import World, opened
from tests.support.fault_population import FaultPopulation
from tests.support.verdict import stored


class Control(msgspec.Struct, frozen=True):
    """`must_find`: the kind of finding without which the control fails."""

    name: str
    promise: str
    what: str
    must_find: Literal["lost", "duplicated"]
    installation: Installation
    strike: Callable[[World, Random], Awaitable[None]]


# --- loss -----------------------------------------------------------------------------------------

_UNWRITTEN_SECONDS = 3.0


async def lose(world: World, chance: Random) -> None:
    """Kill PostgreSQL while its last acknowledged commits are only in memory."""
    # A commit that waits for the WAL flushes everything before it: the users stay, later writes may be lost.
    await world.execute("SET synchronous_commit = on; CREATE TABLE flushed (); DROP TABLE flushed")
    await asyncio.sleep(_UNWRITTEN_SECONDS)
    world.healed()
    kill(world.postgres())


# --- repetition -----------------------------------------------------------------------------------


async def drop_constraint(world: World) -> None:
    """Keep the index on the client id, but not unique, so that everything still runs."""
    await world.execute(
        "ALTER TABLE messages DROP CONSTRAINT uq_messages_sender_id;"
        " CREATE INDEX uq_messages_sender_id ON messages (sender_id, client_id)"
    )


_HOLD = "BEGIN; SELECT FROM conversations ORDER BY id FOR NO KEY UPDATE; SELECT pg_sleep(0.3); COMMIT"


async def double(world: World, chance: Random) -> None:
    """Send messages several times at the same moment, while their rows are locked. Each worker lets one of them wait
    for the lock; neither of the two statements sees the other's write.
    """
    await drop_constraint(world)
    async with httpx.AsyncClient(timeout=10.0) as http:
        for _ in range(5):
            holding = asyncio.create_task(world.execute(_HOLD))
            await asyncio.gather(*(send_at_once(world, http, device) for device in world.population.devices))
            await holding
    world.healed()


CONTROLS = {
    control.name: control
    for control in (
        Control(
            "acknowledge_early",
            "G1",
            "synchronous_commit off, PostgreSQL killed with -9 under load: the checker must report loss",
            "lost",
            Installation(
                database="apart",
                postgres=(("synchronous_commit", "off"), ("wal_writer_delay", "10s")),
                settings=(("allow_data_loss", "on"),),
            ),
            lose,
        ),
        Control(
            "forget_ids",
            "G2",
            "the constraint on `client_id` dropped, messages sent 5 times at once: the checker must report duplicates",
            "duplicated",
            Installation(),
            double,
        ),
    )
}


async def run_control(control: Control, *, seed: str) -> Outcome:
    """Run once; compare what the server has at the end with what it acknowledged."""
    outcome = Outcome(
        name=control.name,
        promise=control.promise,
        what=control.what,
        seed=seed,
        at=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        asked=1,
        recovery_bound=HEAL_SECONDS,
        settled_bound=HEAL_SECONDS,
        control=control.must_find,
    )
    started = time.monotonic()
    try:
        async with opened(control.installation) as world, AsyncExitStack() as stack:
            world.population = population = FaultPopulation(world, f"{seed}-{control.name}", stack, frozenset({503}))
            await population.gather(control.installation.pairs)
            population.begin_cycle()
            await population.more(WARM, seconds=HEAL_SECONDS)
            await control.strike(world, Random(f"{seed}/{control.name}"))
            healed = world.healed_at or time.monotonic()
            outcome.recovery.append(round(await population.first_good(healed, seconds=HEAL_SECONDS) - healed, 3))
            await population.rest(seconds=HEAL_SECONDS)
            store(outcome, population, await stored(population))
            outcome.cycles = 1
    except Exception as error:
        outcome.error = f"{type(error).__name__}: {error}"
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome
