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

from messenger.testing.recorder import Findings, check
from tests.faults._fault import Fault
from tests.faults._outcome import KINDS, Outcome
from tests.faults._world import World, opened
from tests.support.fault_population import FaultCrowd
from tests.support.verdict import await_proofs, judge

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
        crowd = FaultCrowd(world, f"{outcome.seed}-{fault.name}", stack, fault.answers)
        world.crowd = crowd
        try:
            await crowd.gather(fault.installation.pairs)
            for number in range(outcome.asked):
                async with asyncio.timeout(CYCLE_SECONDS):
                    await _cycle(world, crowd, fault, outcome, number)
                if any(getattr(outcome, kind) for kind in KINDS):
                    break
            else:
                take(outcome, crowd, await judge(crowd))
        except Exception as error:
            said = "\n".join(server.tail() for server in world.servers)
            outcome.error = f"cycle {outcome.cycles + 1}: {type(error).__name__}: {error}\n{said}"
        finally:
            world.crowd = None
    outcome.problems = [*world.problems, *crowd.problems][:_SHOWN]
    outcome.notes = list(world.notes)
    outcome.seconds = round(time.monotonic() - started, 1)


async def _cycle(world: World, crowd: FaultCrowd, fault: Fault, outcome: Outcome, number: int) -> None:
    chance = Random(f"{outcome.seed}/{fault.name}/{number}")
    await world.whole()
    crowd.begin_cycle()
    await crowd.more(WARM, seconds=HEAL_SECONDS)
    world.healed_at = None
    await fault.strike(world, chance)
    healed = world.healed_at or time.monotonic()
    first = await crowd.first_good(healed, seconds=HEAL_SECONDS)
    await crowd.all_good(healed, seconds=HEAL_SECONDS)
    outcome.recovery.append(round(first - healed, 3))
    outcome.settled.append(round(time.monotonic() - healed, 3))
    await crowd.rest(seconds=HEAL_SECONDS)
    await drain(crowd)
    take(outcome, crowd, check(crowd.recorder.history, [device.view for device in crowd.devices]))
    outcome.cycles += 1


async def drain(crowd: FaultCrowd) -> None:
    """Every device reads to the end of its stream, once the stream stops growing."""
    await await_proofs(crowd)
    async with asyncio.timeout(HEAL_SECONDS):
        ends: dict[int, int] = {}
        while ends != (ends := await _ends(crowd)):
            await asyncio.gather(*(device.reach(ends[device.user_id]) for device in crowd.devices))


async def _ends(crowd: FaultCrowd) -> dict[int, int]:
    users = [member.id for member in crowd.members]
    rows = await crowd.fetch("SELECT user_id, position FROM streams WHERE user_id = ANY ($1)", users)
    return {row["user_id"]: row["position"] for row in rows}


def take(outcome: Outcome, crowd: FaultCrowd, findings: Findings) -> None:
    attempts = sum(entry.kind == "invoke" for entry in crowd.recorder.history)
    outcome.take(findings, crowd.statuses, attempts, sum(device.repeats for device in crowd.devices))
