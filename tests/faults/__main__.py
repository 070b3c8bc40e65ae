"""Break a server in every known way under load, and check whether it keeps its guarantees. Without names: every fault,
then the negative controls, which must have findings. Outcomes are written to build/faults.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from random import SystemRandom

from tests.faults._controls import CONTROLS, Control, run_control
from tests.faults._fault import Fault, all_faults
from tests.faults._outcome import Outcome
from tests.faults._report import DOCS, line, write, write_docs
from tests.faults._run import run_all


def main() -> int:
    """0: all guarantees hold. 1: some do not. 2: there is no such fault."""
    given = _arguments()
    faults = all_faults()
    if given.write_docs:
        write_docs()
        return 0
    if given.list:
        listed: list[Fault | Control] = [*faults.values(), *CONTROLS.values()]
        sys.stdout.writelines(f"{each.name:24} {each.promise:12} {each.what}\n" for each in listed)
        return 0
    unknown = (set(given.fault) - set(faults)) | (set(given.control) - set(CONTROLS))
    if unknown:
        sys.stderr.write(f"there is no {', '.join(sorted(unknown))}; see --list\n")
        return 2
    every = not (given.fault or given.control)
    chosen = [each for each in faults.values() if every or each.name in given.fault]
    controls = [each for each in CONTROLS.values() if every or each.name in given.control]
    seed = given.seed or f"{SystemRandom().getrandbits(32):x}"
    sys.stdout.write(f"seed {seed}: --seed {seed} chooses the same again\n")
    running = _outcomes(chosen, controls, seed, given.cycles, given.brief)
    try:
        # The short form measures no figures.
        outcomes = asyncio.run(_go(running, keep=not given.brief))
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.stderr.write("ended before the end; what was found stands in build/faults\n")
        return 1
    failed = [each.name for each in outcomes if not each.good]
    sys.stdout.write(f"{len(outcomes) - len(failed)} of {len(outcomes)} good; {', '.join(failed) or 'none failed'}\n")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--cycles", type=int, default=3, help="how often each fault (3)")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME", help="this one; may be repeated")
    parser.add_argument("--control", action="append", default=[], metavar="NAME", help="this negative control")
    parser.add_argument("--seed", help="choose as an earlier run did")
    parser.add_argument("--brief", action="store_true", help="as CI does: faults that last are short, bounds wide")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--write-docs", action="store_true", help=f"put the figures of build/faults into {DOCS}")
    return parser.parse_args()


async def _outcomes(
    faults: Sequence[Fault], controls: Sequence[Control], seed: str, cycles: int, brief: bool
) -> AsyncGenerator[Outcome, None]:
    async with aclosing(run_all(faults, seed=seed, cycles=cycles, brief=brief)) as running:
        async for outcome in running:
            yield outcome
    for control in controls:
        yield await run_control(control, seed=seed)


async def _go(outcomes: AsyncGenerator[Outcome, None], *, keep: bool) -> list[Outcome]:
    """Print and store each outcome as it arrives. A cancelled run closes its servers first."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    found = []
    async with aclosing(outcomes):
        async for outcome in outcomes:
            found.append(outcome)
            sys.stdout.write(line(outcome) + "\n")
            sys.stdout.flush()
            if keep:
                write(outcome)
    return found


if __name__ == "__main__":
    sys.exit(main())
