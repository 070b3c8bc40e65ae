"""Compares this server with a hand-written ceiling, the baseline and the floors of the machine, in alternating turns.

`make setup && .venv/bin/python benchmarks/compare.py` takes about seven minutes; `--quick` is a glance. All contenders
are up at once, on the PostgreSQL and over the data of ours, with durable settings; one at a time has work. Before
anything is measured, the ceiling must give our answers. How to read it: `docs/performance.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import uvloop
from _server import Server
from _yardsticks import agreement, floor
from _yardsticks.contender import Contender, Ours, Yardstick
from _yardsticks.measure import Effort, Outcome, Track
from _yardsticks.report import Report, facts
from _yardsticks.table import tables
from _yardsticks.works import NOTHING, Work, works
from _yardsticks.world import World

POOL_SIZE = 10
SETTINGS = {"POOL_SIZE": POOL_SIZE, "LOG_LEVEL": "warning"}


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three short turns with one worker")
    parser.add_argument("--workers", type=int, action="append", help="may be repeated; 1 and 2 without")
    parser.add_argument("--only", action="append", default=[], metavar="WORK", help="works that begin so; repeatable")
    parser.add_argument("--no-baseline", action="store_true", help="without the baseline")
    parser.add_argument("--no-floors", action="store_true", help="without the floors")
    parser.add_argument("--turns", type=int, help="13 without")
    parser.add_argument("--seconds", type=float, help="of each turn; 0.5 without")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="of compare.md and compare.json")
    options = parser.parse_args(arguments)
    options.workers = options.workers or ([1] if options.quick else [1, 2])
    options.turns = options.turns or (3 if options.quick else 13)
    options.seconds = options.seconds or 0.5
    return options


class Comparison:
    """A server of ours, its contenders, and what came of it."""

    def __init__(self, server: Server, options: argparse.Namespace) -> None:
        self._server = server
        self._options = options
        self._effort = Effort(options.connections, options.seconds, options.turns)
        asked = {name: value for name, value in vars(options).items() if name not in {"folder", "only", "quick"}}
        settings = {**server.settings, **asked, "ACTIVITY_RESOLUTION": "the default", "DATA_DIR": "a new one"}
        self.report = Report(asyncio.run(facts(server.database_url)), settings)

    def run(self) -> None:
        """With each number of workers; the floors at the end."""
        head = asyncio.run(World.write(self._server.database_url))
        only = tuple(self._options.only)
        asked = [work for work in works(head) if not only or work.name.startswith(only)]
        for workers in self._options.workers:
            if workers != self._server.settings["WORKERS"]:
                self._server.stop()
                self._server.settings["WORKERS"] = workers
                self._server.start()
            self._compare(workers, asked)
        self.report.tables += tables(self.report.outcomes)
        if not self._options.no_floors:
            self.report.tables.append(floor.table(self._floors(self._options.workers[-1])))

    def _compare(self, workers: int, asked: list[Work]) -> None:
        with contextlib.ExitStack() as stack:
            names = ["ceiling"] if self._options.no_baseline else ["ceiling", "baseline"]
            others = [stack.enter_context(self._yardstick(name, workers)) for name in names]
            uvloop.run(self._measure(workers, [Ours(self._server), *others], asked))

    async def _measure(self, workers: int, contenders: list[Contender], asked: list[Work]) -> None:
        await agree(contenders[0], contenders[1], asked)
        for work in asked:
            able = [each for each in contenders if each.name != "baseline" or work.baseline_multiple is not None]
            await self._take_turns(work, workers, able)

    async def _take_turns(self, work: Work, workers: int, contenders: list[Contender]) -> Outcome:
        outcome = await Track(self._effort, self._postgres, workers=workers).run(work, contenders)
        if work is not NOTHING:
            self.report.outcomes.append(outcome)
        shown = ", ".join(f"{name} {outcome.middle(name).rate:.0f}/s" for name in outcome.turns)
        print(f"{workers} worker(s), {work.name}: {shown}", file=sys.stderr, flush=True)
        return outcome

    def _floors(self, workers: int) -> list[dict[str, object]]:
        with self._yardstick("constant", workers) as constant:
            outcome = uvloop.run(self._take_turns(NOTHING, workers, [Ours(self._server), constant]))
        rows = [{"workers": workers, **floor.nothing(outcome, name)} for name in ("constant", "ours")]
        seconds = max(1, round(self._options.turns * self._options.seconds))
        for script in (floor.profile(), floor.messages()):
            url = self._server.database_url
            rows.append(floor.pgbench(url, script, self._postgres, clients=POOL_SIZE * workers, seconds=seconds))
        return rows

    def _yardstick(self, name: str, workers: int) -> Yardstick:
        return Yardstick(name, self._server.database_url, workers=workers, pool_size=POOL_SIZE)

    def _postgres(self) -> float:
        return self._server.cpu().postgres


async def agree(ours: Contender, ceiling: Contender, asked: list[Work]) -> None:
    """Raises `Disagreement`."""
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ours.port}") as one,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ceiling.port}") as other,
    ):
        await agreement.check(one, other, asked)


def main() -> None:
    options = options_of()
    # A pause of this process would be measured as the server's.
    gc.disable()
    with Server(0, WORKERS=options.workers[0], **SETTINGS) as server:
        server.start()
        comparison = Comparison(server, options)
        comparison.run()
    print(comparison.report.markdown())
    comparison.report.write(options.folder)


if __name__ == "__main__":
    main()
