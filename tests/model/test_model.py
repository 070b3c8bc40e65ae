"""Random operations on 3 devices of 2 users with random cuts; after each run every device's replayed state equals a
fresh load, its log is the stream from the beginning, and no message was lost, duplicated or moved. Groups are what
their changes make of them, in the database and on every device.

`MESSENGER_PROOF_SEED=…` repeats a run. By default three fixed seeds run; `MESSENGER_PROOF=long` runs 100 random ones
with more steps.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from contextlib import AsyncExitStack
from random import Random, SystemRandom
from typing import TypeVar

import pytest

from messenger.testing.recorder import Findings
from tests.model._faults import FAULTS, SERVER_FAULTS
from tests.model._operations import OPERATIONS, SLOW
from tests.model._walk import Walk
from tests.model._world import World
from tests.support.verdict import judge, shown

T = TypeVar("T")

LONG = os.environ.get("MESSENGER_PROOF") == "long"
GIVEN = os.environ.get("MESSENGER_PROOF_SEED")
WALKS, STEPS = (100, 250) if LONG else (3, 120)
SECONDS = 60.0
TROUBLED = 0.25

# A request cancelled while connecting leaves its socket to the garbage collector (httpx), only here:
# each run collects its own.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


async def draw(walk: Walk, chance: Random) -> None:
    """One step: an operation of a device, or a fault."""
    devices = [device for member in walk.members for device in member.signed_in]
    # A client that waits for an impossible answer does little else: not too many of those.
    device = chance.choice(
        [device for device in devices if not device.proxy.is_sick or chance.random() < 0.1] or devices
    )
    if chance.random() < TROUBLED:
        # In every other run the bus and the database work: signals must arrive there.
        faults = FAULTS + (SERVER_FAULTS if walk.rough else ())
        fault = _weighted(chance, faults)
        walk.outcomes[fault.__name__] += 1
        walk.last(fault(walk, device, chance))
    else:
        operation = _weighted(chance, OPERATIONS + (SLOW if walk.rough else ()))
        await walk.attempt(device, operation.__name__, operation(walk, device, chance))


def _weighted(chance: Random, choices: tuple[tuple[int, T], ...]) -> T:
    return chance.choices([each for _, each in choices], [weight for weight, _ in choices])[0]


async def walked(world: World, seed: str) -> tuple[Walk, Findings]:
    """A complete run, and its findings."""
    async with AsyncExitStack() as stack:
        walk = Walk(world, seed, stack)
        await walk.meet((2, 1), Random(seed))
        await walk.go(STEPS, draw)
        return walk, await judge(walk)


async def in_time(task: asyncio.Task[T]) -> T:
    """The result of the run; a run that hangs reports where."""
    await asyncio.wait([task], timeout=SECONDS)
    if not task.done():
        for each in asyncio.all_tasks():
            each.print_stack(limit=8, file=sys.stdout)
        sys.stdout.flush()
        task.cancel()
        await asyncio.wait([task], timeout=10)
        pytest.fail(f"the walk hangs after {SECONDS:.0f} s")
    return task.result()


@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize("number", range(1 if GIVEN else WALKS))
async def test_every_device_converges_with_fresh_login(
    two_workers: World, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    seed = GIVEN or (f"{SystemRandom().getrandbits(48):x}" if LONG else f"walk-{number}")
    sys.stdout.write(f"MESSENGER_PROOF_SEED={seed}\n")
    walk, findings = await in_time(asyncio.create_task(walked(two_workers, seed)))
    sys.stdout.write(f"{shown(walk, findings)} {dict(walk.outcomes)}\n")
    gc.collect()
    walk.problems += [f"logged: {record.getMessage()}" for record in caplog.records if record.levelno >= logging.ERROR]
    assert not walk.problems, "\n".join(walk.problems[:20])
    assert not findings.faults, findings
