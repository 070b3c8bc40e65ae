"""All database connections of a worker are in use: requests without one are refused in time, and health stays green."""

from __future__ import annotations

import asyncio
import time
from random import Random

import asyncpg

from tests.faults._fault import Installation, fault
from tests.faults._probe import Answered, probe
from tests.faults._world import World

POOL = 4
HELD_SECONDS = 10.0
POOL_TIMEOUT, STATEMENT_TIMEOUT = 2.0, 5.0
# The pool checks its waiters every half a second, and the machine may be busy.
_MARGIN = 1.0


@fault(
    "pool_exhausted",
    "G14",
    "every connection waits for a lock: 503 within the pool's 2 s, health checks stay green on a separate connection",
    recovery=2.0,
    installation=Installation(workers=1, settings=(("pool_size", POOL),)),
)
async def pool_exhausted(world: World, chance: Random) -> None:
    locking = await asyncpg.connect(world.database_url, timeout=10)
    try:
        async with probe(world) as mine:
            transaction = locking.transaction()
            await transaction.start()
            await locking.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
            try:
                found = await _refusals(world)
            finally:
                await transaction.rollback()
            world.healed()
            for answer in await mine.read():
                world.expect(answer.status == 200, f"with connections again: {answer}")
    finally:
        await locking.close()
    world.expect(found > 0, "nobody was refused: the pool was never exhausted")
    world.note(f"{found} requests that found no connection refused within {POOL_TIMEOUT + _MARGIN:.0f} s")


async def _refusals(world: World) -> int:
    """Keep every connection busy for a while; return how many requests that need one and no lock were refused."""
    async with probe(world) as mine, probe(world, device=2) as other:
        partner = world.population.member(other.device).partner.id
        until = time.monotonic() + (4.0 if world.brief else HELD_SECONDS)

        async def hold_all() -> None:
            while time.monotonic() < until:
                reads = await asyncio.gather(*(other.ask("GET", f"/history/{partner}") for _ in range(2 * POOL)))
                for answer in reads:
                    _expect_refused(world, answer, within=STATEMENT_TIMEOUT + POOL_TIMEOUT + _MARGIN)

        holding = asyncio.create_task(hold_all())
        refused = 0
        while time.monotonic() < until:
            for answer in await mine.health():
                world.expect(answer.status == 200 and answer.seconds < _MARGIN, str(answer))
            answer = await mine.ask("GET", "/profile")
            if answer.status != 200:
                _expect_refused(world, answer, within=POOL_TIMEOUT + _MARGIN)
                refused += 1
            await asyncio.sleep(0.05)
        await holding
    return refused


def _expect_refused(world: World, answer: Answered, *, within: float) -> None:
    world.expect(answer.status == 503 and answer.retry_after and answer.seconds <= within, str(answer))
