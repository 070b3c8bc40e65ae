"""A fault under load, repeatedly: inject, heal, recover, drain, check; at the end everything is compared with fresh
logins. A seed decides what is chosen (which process, when, what); the scheduling of the machine is not reproducible.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from random import Random

from messenger.testing.recorder import Findings
from tests.faults._fault import Fault
from tests.faults._outcome import KINDS, Outcome
from tests.faults._world import World, opened
from tests.support.fault_population import FaultPopulation
from tests.support.verdict import await_proofs, found, judge, read_stored

WARM = 32
"""Messages that are acknowledged before a fault: it comes under load."""
HEAL_SECONDS = 60.0
"""Nothing waits longer than this for what must come."""
CYCLE_SECONDS = 180.0
_SHOWN = 20
# The short form runs beside other tests, on a machine too busy for guarantees in seconds.
_BRIEF_SLACK = 4.0


async def run_all(
    faults: Iterable[Fault], *, seed: str, cycles: int, brief: bool = False
) -> AsyncGenerator[Outcome, None]:
    """Each fault's outcome, as it arrives. A world that a fault left broken is not reused."""
    async with AsyncExitStack() as stack:
        world: World | None = None
        for fault in faults:
            outcome = begun(fault, seed, cycles, brief=brief)
            outcome.skipped = (fault.needs and fault.needs()) or ""
            if not outcome.skipped:
                try:
                    if world is None or world.installation != fault.installation:
                        world = None
                        await stack.aclose()
                        world = await stack.enter_async_context(opened(fault.installation, brief=brief))
                    await run(world, fault, outcome)
                except Exception as error:
                    outcome.error = outcome.error or f"{type(error).__name__}: {error}"
                if outcome.error:
                    world = None
            yield outcome


def begun(fault: Fault, seed: str, cycles: int, *, brief: bool = False) -> Outcome:
    """An empty outcome."""
    slack = _BRIEF_SLACK if brief else 1.0
    return Outcome(
        name=fault.name,
        promise=fault.promise,
        what=fault.what,
        seed=seed,
        at=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        asked=cycles,
        recovery_bound=fault.recovery * slack,
        settled_bound=fault.settled * slack,
    )


async def run(world: World, fault: Fault, outcome: Outcome) -> None:
    """Run all cycles of one fault, with users of its own, into `outcome`."""
    started = time.monotonic()
    world.problems.clear()
    world.notes.clear()
    async with AsyncExitStack() as stack:
        population = FaultPopulation(
            world,
            f"{outcome.seed}-{fault.name}",
            stack,
            fault.answers,
            has_groups=fault.installation.has_groups,
            busy=world.brief,
        )
        world.population = population
        try:
            await population.gather(fault.installation.pairs)
            for number in range(outcome.asked):
                async with asyncio.timeout(CYCLE_SECONDS):
                    await _cycle(world, population, fault, outcome, number)
                if any(getattr(outcome, kind) for kind in KINDS):
                    break
            else:
                store(outcome, population, await judge(population))
        except Exception as error:
            said = "\n".join(server.tail() for server in world.servers)
            outcome.error = f"cycle {outcome.cycles + 1}: {type(error).__name__}: {error}\n{said}"
        finally:
            world.population = None
    outcome.problems = [*world.problems, *population.problems][:_SHOWN]
    outcome.notes = list(world.notes)
    outcome.seconds = round(time.monotonic() - started, 1)


async def _cycle(world: World, population: FaultPopulation, fault: Fault, outcome: Outcome, number: int) -> None:
    chance = Random(f"{outcome.seed}/{fault.name}/{number}")
    await world.whole()
    population.begin_cycle()
    await population.more(WARM, seconds=HEAL_SECONDS)
    world.healed_at = None
    await fault.strike(world, chance)
    healed = world.healed_at or time.monotonic()
    first = await population.first_good(healed, seconds=HEAL_SECONDS)
    await population.all_good(healed, seconds=HEAL_SECONDS)
    outcome.recovery.append(round(first - healed, 3))
    outcome.settled.append(round(time.monotonic() - healed, 3))
    await population.rest(seconds=HEAL_SECONDS)
    await drain(population)
    store(outcome, population, found(population, await read_stored(population)))
    outcome.cycles += 1


async def drain(population: FaultPopulation) -> None:
    """Every device reads to the end of its stream, once the stream stops growing."""
    await await_proofs(population)
    async with asyncio.timeout(HEAL_SECONDS):
        ends: dict[int, int] = {}
        while ends != (ends := await _ends(population)):
            await asyncio.gather(*(device.reach(ends[device.user_id]) for device in population.devices))
    await asyncio.gather(*(device.load_groups() for device in population.devices))


async def _ends(population: FaultPopulation) -> dict[int, int]:
    users = [member.id for member in population.members]
    rows = await population.fetch("SELECT user_id, position FROM streams WHERE user_id = ANY ($1)", users)
    return {row["user_id"]: row["position"] for row in rows}


def store(outcome: Outcome, population: FaultPopulation, findings: Findings) -> None:
    attempts = sum(entry.kind == "invoke" for entry in population.recorder.history)
    outcome.store(findings, population.statuses, attempts, sum(device.repeats for device in population.devices))
