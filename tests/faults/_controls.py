"""Negative controls: servers broken on purpose, in which the checker must find faults. Without them a checker that sees
nothing would look like a server that loses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Literal

import httpx
import msgspec

from messenger.testing.recorder import Findings
from tests.faults._fault import Installation
from tests.faults._faults_process import kill
from tests.faults._faults_repetition import send_at_once
from tests.faults._outcome import Outcome
from tests.faults._run import HEAL_SECONDS, WARM, drain, store
from tests.faults._world import World, opened
from tests.support.fault_population import FaultPopulation
from tests.support.group_load import Attempts
from tests.support.verdict import found, read_stored, stored


class Control(msgspec.Struct, frozen=True):
    """`must_find`: the kind of finding without which the control fails."""

    name: str
    promise: str
    what: str
    must_find: Literal["lost", "duplicated", "unexpected", "gaps", "diverged"]
    installation: Installation
    strike: Callable[[World, Random], Awaitable[None]]
    judge: Callable[[FaultPopulation], Awaitable[Findings]] = stored
    """`stored`: fresh logins and the database. `seen`: also every device."""


async def seen(population: FaultPopulation) -> Findings:
    """What the devices have, compared with the database."""
    await drain(population)
    return found(population, await read_stored(population))


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


# --- groups ---------------------------------------------------------------------------------------


@asynccontextmanager
async def falsified(world: World, table: str, when: str, body: str) -> AsyncIterator[None]:
    """A trigger falsifies what is written meanwhile."""
    await world.execute(
        f"CREATE FUNCTION falsify() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"
        f" CREATE TRIGGER falsify BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION falsify()"
    )
    yield
    await world.execute("DROP FUNCTION falsify() CASCADE")
    world.healed()


@asynccontextmanager
async def attempts(world: World, chance: Random) -> AsyncIterator[Attempts]:
    """Attempts at changes by users of the run."""
    async with httpx.AsyncClient(timeout=10.0) as http:
        yield Attempts(world.population.load, http, chance)


async def create(world: World, trying: Attempts, *, uses: int) -> tuple[int, str]:
    """A group that nobody else changes, and the token of its link."""
    population = world.population
    group_id = await trying.create(population.members[0], "none")
    assert group_id is not None, "the group can't be created"
    population.load.groups.remove(group_id)
    token = await trying.link(group_id, population.members[0], uses=uses)
    assert token is not None, "a group without a link"
    return group_id, token


async def full_group(world: World, trying: Attempts) -> int:
    """A group of everyone, which all devices know with its members."""
    population = world.population
    others = population.members[1:]
    group_id, token = await create(world, trying, uses=len(others))
    for member in others:
        await trying.join(group_id, member, token)
    for device in population.devices:
        await device.until(lambda device=device: group_id in device.state.groups, "the group")  # type: ignore[misc]
        await device.load_groups()
    return group_id


async def keep_members(world: World, chance: Random) -> None:
    """Answer those who leave, and let them stay."""
    async with attempts(world, chance) as trying:
        group_id = await full_group(world, trying)
        async with falsified(world, "members", "DELETE", "RETURN NULL;"):
            for member in world.population.members[-2:]:
                await trying.leave(group_id, member)


async def count_no_uses(world: World, chance: Random) -> None:
    """A link admits everyone, since its uses are not counted."""
    async with attempts(world, chance) as trying:
        group_id, token = await create(world, trying, uses=1)
        async with falsified(world, "group_links", "UPDATE", "NEW.uses := OLD.uses; RETURN NEW;"):
            await asyncio.gather(*(trying.join(group_id, each, token) for each in world.population.members[1:5]))


async def hide_members(world: World, chance: Random) -> None:
    """Report a change of the group in place of a change of a member."""
    body = "IF NEW.name = 'group.member' THEN NEW.name := 'group.updated'; NEW.payload := NULL; END IF; RETURN NEW;"
    async with attempts(world, chance) as trying:
        group_id = await full_group(world, trying)
        async with falsified(world, "events", "INSERT", body):
            await trying.leave(group_id, world.population.members[-1])


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
        Control(
            "keep_members",
            "G1",
            "members who leave stay: the checker must report acknowledged changes as lost",
            "lost",
            Installation(),
            keep_members,
        ),
        Control(
            "count_no_uses",
            "G17",
            "the uses of links are not counted: the checker must report more members than they admit",
            "unexpected",
            Installation(),
            count_no_uses,
        ),
        Control(
            "hide_members",
            "G7",
            "a member leaves without an event for the others: the checker must report devices that differ",
            "diverged",
            Installation(),
            hide_members,
            seen,
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
            store(outcome, population, await control.judge(population))
            outcome.cycles = 1
    except Exception as error:
        outcome.error = f"{type(error).__name__}: {error}"
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome
