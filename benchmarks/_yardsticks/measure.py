"""Turns: the contenders run the same workload for a short time, one after another, repeatedly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from _http import Connection

from _yardsticks.contender import Contender
from _yardsticks.load import Expected, load
from _yardsticks.works import Work, expected


class Effort(NamedTuple):
    """The options of the load."""

    connections: int
    seconds: float
    turns: int


class Turn(NamedTuple):
    """Requests per second, and milliseconds of CPU per request, of the server and of PostgreSQL."""

    rate: float
    server: float
    postgres: float

    @property
    def cpu(self) -> float:
        """Of both."""
        return self.server + self.postgres


class Ratio(NamedTuple):
    """The median of the turns' ratios, and their spread."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return self.to_print(2)

    def to_print(self, digits: int) -> str:
        """The ratio with this number of decimal digits."""
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


class Outcome(NamedTuple):
    """The turns of one workload, by contender, in chronological order."""

    work: Work
    workers: int
    turns: dict[str, list[Turn]]

    def middle(self, name: str) -> Turn:
        """A contender's medians."""
        return Turn(*(median(column) for column in zip(*self.turns[name], strict=True)))

    def ratio(self, of: Callable[[Turn], float], name: str, other: str) -> Ratio:
        """The ratio of one contender's figures to another's, for each turn."""
        pairs = zip(self.turns[name], self.turns[other], strict=True)
        return Ratio.of([of(one) / of(two) if of(two) else 0.0 for one, two in pairs])


class Track:
    """Runs the turns of the contenders; `postgres` returns the CPU time of the PostgreSQL that they share."""

    def __init__(self, effort: Effort, postgres: Callable[[], float], *, workers: int) -> None:
        self._effort = effort
        self._postgres = postgres
        self._workers = workers

    async def run(self, work: Work, contenders: Sequence[Contender]) -> Outcome:
        """All turns of one workload; each contender is the first equally often."""
        looks = {each.name: await self._look(work, each) for each in contenders}
        # Warm up, so that statements are prepared on every connection.
        for each in contenders:
            await self._turn(each, work.requests(), looks[each.name], min(1.0, self._effort.seconds))
        turns: dict[str, list[Turn]] = {each.name: [] for each in contenders}
        for number in range(self._effort.turns):
            start = number % len(contenders)
            for each in [*contenders[start:], *contenders[:start]]:
                turn = await self._turn(each, work.requests(), looks[each.name], self._effort.seconds)
                turns[each.name].append(turn)
        return Outcome(work, self._workers, turns)

    async def _look(self, work: Work, contender: Contender) -> Expected:
        """The expected response, from one request."""
        connection = await Connection.to(contender.port)
        status = await connection.send(next(work.requests()))
        look = expected(work, len(connection.body))
        if status != look.status:
            raise SystemExit(f"{contender.name} answers {work.name} with {status}: {connection.body[:300]!r}")
        connection.close()
        return look

    async def _turn(self, contender: Contender, requests: Iterator[bytes], look: Expected, seconds: float) -> Turn:
        server, postgres = contender.cpu(), self._postgres()
        done = await load(contender.port, requests, look, connections=self._effort.connections, seconds=seconds)
        server, postgres = contender.cpu() - server, self._postgres() - postgres
        return Turn(done.answers / done.seconds, 1000 * server / done.answers, 1000 * postgres / done.answers)
