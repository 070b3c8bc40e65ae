"""Turns: every contender does the same work for a moment, one after the other, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from _http import Connection

from _yardsticks.contender import Contender
from _yardsticks.load import Expected, load
from _yardsticks.works import Work, expected


class Effort(NamedTuple):
    """How the load is made."""

    connections: int
    seconds: float
    turns: int


class Turn(NamedTuple):
    """Requests per second, and milliseconds of CPU for each: the server's and PostgreSQL's."""

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
        """With so many digits behind the point."""
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


class Outcome(NamedTuple):
    """The turns of one work, by contender, in the order they were made."""

    work: Work
    workers: int
    turns: dict[str, list[Turn]]

    def middle(self, name: str) -> Turn:
        """A contender's medians."""
        return Turn(*(median(column) for column in zip(*self.turns[name], strict=True)))

    def ratio(self, of: Callable[[Turn], float], name: str, other: str) -> Ratio:
        """One contender's figures to another's, turn by turn."""
        pairs = zip(self.turns[name], self.turns[other], strict=True)
        return Ratio.of([of(one) / of(two) if of(two) else 0.0 for one, two in pairs])


class Track:
    """Where contenders do their turns; `postgres` is the clock of the PostgreSQL that they share."""

    def __init__(self, effort: Effort, postgres: Callable[[], float], *, workers: int) -> None:
        self._effort = effort
        self._postgres = postgres
        self._workers = workers

    async def run(self, work: Work, contenders: Sequence[Contender]) -> Outcome:
        """All turns of one work; each contender begins as often as the others."""
        looks = {each.name: await self._look(work, each) for each in contenders}
        # Statements are prepared on every connection, and plans settle, before it counts.
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
        """What one answer is like."""
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
