"""The faults in their short form: three cycles each, with short durations. `make faults` runs the long form."""

from __future__ import annotations

import sys
from contextlib import aclosing

import pytest

from messenger.testing.servers import give_up
from tests.faults._controls import CONTROLS, Control, run_control
from tests.faults._fault import Fault, Installation, all_faults
from tests.faults._report import line
from tests.faults._run import run_all

CYCLES = 2


def by_installation() -> list[list[Fault]]:
    """The faults that share a world."""
    groups: dict[Installation, list[Fault]] = {}
    for fault in all_faults().values():
        groups.setdefault(fault.installation, []).append(fault)
    return list(groups.values())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("faults", by_installation(), ids=lambda faults: faults[0].name)
async def test_guarantee_holds_under_fault(faults: list[Fault]) -> None:
    outcomes = []
    async with aclosing(run_all(faults, seed="ci", cycles=CYCLES, brief=True)) as running:
        async for outcome in running:
            sys.stdout.write(line(outcome) + "\n")
            outcomes.append(outcome)
    wrong = [line(outcome) for outcome in outcomes if not (outcome.good or outcome.skipped)]
    assert not wrong, "\n".join(wrong)
    for outcome in outcomes:
        if "apt-get install" in outcome.skipped:
            give_up(outcome.skipped)
        elif outcome.skipped:
            # What no package provides: a shallow checkout has no earlier release, some kernels drop no packets.
            pytest.skip(outcome.skipped)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
async def test_broken_server_is_detected(control: Control) -> None:
    outcome = await run_control(control, seed="ci")
    assert outcome.good, line(outcome)
