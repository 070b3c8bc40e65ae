"""Turns of each server under each load, and the table of their medians and ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from _realtime.sockets import quiet
from _report import ms, percentile
from _server import Cpu

from _sending.contender import Contender
from _sending.load import Sample

SENDERS = (16, 64)
RATES = (200, 500)


class Turn(NamedTuple):
    """What one server did in one turn: times in milliseconds, CPU in milliseconds a message."""

    rate: float
    server: float
    postgres: float
    answered_p50: float
    answered_p99: float
    delivered_p50: float
    delivered_p99: float

    @classmethod
    def of(cls, sample: Sample, cpu: Cpu) -> Turn:
        """A turn with this sample, which used this CPU."""
        used = cpu.each(sample.sent)
        times = [ms(percentile(each, share), 2) for each in sample[2:] for share in (0.5, 0.99)]
        return cls(sample.sent / sample.seconds, used.server, used.postgres, *times)

    @property
    def cpu(self) -> float:
        """Of the server and PostgreSQL."""
        return self.server + self.postgres


class LoadCase(NamedTuple):
    """A number of senders for some seconds, or else a rate."""

    title: str
    senders: int
    rate: float
    seconds: float

    async def run(self, contender: Contender) -> Turn:
        """One turn of a server."""
        before = contender.server.cpu()
        if self.senders:
            sample = await contender.load.by_senders(self.senders, self.seconds)
        else:
            sample = await contender.load.at_rate(self.rate, int(self.rate * self.seconds))
        # The CPU of delivery receipts is counted, too.
        await quiet(0.2)
        return Turn.of(sample, contender.server.cpu().since(before))


Taken = Mapping[str, Sequence[Sequence[Turn]]]
"""By load, then by server: the turns."""


def loads(seconds: float) -> list[LoadCase]:
    """The numbers of senders for `seconds` each, the rates for twice as long."""
    by_senders = [LoadCase(f"{senders} senders", senders, 0, seconds) for senders in SENDERS]
    return [*by_senders, *(LoadCase(f"{rate} a second", 0, rate, 2 * seconds) for rate in RATES)]


async def run(contenders: Sequence[Contender], cases: Sequence[LoadCase], turns: int) -> Taken:
    """Run all turns; each server is the first in some of them."""
    taken: dict[str, list[list[Turn]]] = {case.title: [[] for _ in contenders] for case in cases}
    for contender in contenders:
        # Each connection prepares its statements before the measurement.
        await contender.load.by_senders(64, 0.5)
    numbers = range(len(contenders))
    for turn in range(turns):
        first = turn % len(contenders)
        for case in cases:
            for number in (*numbers[first:], *numbers[:first]):
                taken[case.title][number].append(await case.run(contenders[number]))
    return taken


def rows(contenders: Sequence[Contender], taken: Taken) -> list[dict[str, object]]:
    """A row for each load and server. Ratios are to the other checkout, and to one worker of the same checkout."""
    places = {(contender.name, contender.workers): number for number, contender in enumerate(contenders)}
    found = []
    for case, by_contender in taken.items():
        for (name, workers), number in places.items():
            turns = by_contender[number]
            row = {"load": case, "workers": workers, "checkout": name, **figures(turns)}
            if name == "this" and ("other", workers) in places:
                row |= ratios(turns, by_contender[places["other", workers]])
            if workers > 1 and (name, 1) in places:
                row["CPU × 1 worker"] = ratio(_cpu(turns), _cpu(by_contender[places[name, 1]]))
            found.append(row)
    return found


def figures(turns: Sequence[Turn]) -> dict[str, object]:
    """Medians of the turns."""
    middle = Turn(*(median(column) for column in zip(*turns, strict=True)))
    return {
        "messages/s": round(middle.rate),
        "server CPU, ms": round(middle.server, 3),
        "PostgreSQL CPU, ms": round(middle.postgres, 3),
        "reply p50, ms": round(middle.answered_p50, 2),
        "p99": round(middle.answered_p99, 2),
        "delivered p50, ms": round(middle.delivered_p50, 2),
        "delivered p99": round(middle.delivered_p99, 2),
    }


def ratios(turns: Sequence[Turn], other: Sequence[Turn]) -> dict[str, object]:
    """Ratios to the turns of the other checkout."""
    columns = {
        "rate ×": "rate",
        "PostgreSQL CPU ×": "postgres",
        "CPU ×": "cpu",
        "reply p50 ×": "answered_p50",
        "delivered p99 ×": "delivered_p99",
    }
    return {
        column: ratio([getattr(turn, name) for turn in turns], [getattr(turn, name) for turn in other])
        for column, name in columns.items()
    }


def ratio(figures: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios, turn by turn."""
    return round(median(one / other for one, other in zip(figures, others, strict=True)), 2)


def _cpu(turns: Sequence[Turn]) -> list[float]:
    return [turn.cpu for turn in turns]
