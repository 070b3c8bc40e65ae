"""The tables of a comparison: for each workload, the ratios between the contenders, and the cost of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from _report import Table, round_trips

from _yardsticks.measure import Outcome, Ratio, Turn

_NOTES = [
    "share of the ceiling: 1 is as fast as hand-written asyncpg, 0.8 is the target; for CPU, it is the"
    " ceiling's milliseconds divided by ours, so that more is better here, too",
    "the ceiling runs one statement per request; in ours, messages that arrive at the same time share a statement and"
    " its commit, so its share can exceed 1",
    "medians of the turns' ratios (lowest to highest); on a noisy machine, CPU is more stable than the rate",
]


class Column(NamedTuple):
    """A column of the first table: the ratio of one contender's value to another's."""

    title: str
    of: Callable[[Turn], float]
    one: str
    other: str


COLUMNS = {
    "ceiling_rate": Column("share of the ceiling: requests/s", lambda turn: turn.rate, "ours", "ceiling"),
    "ceiling_server_cpu": Column("… server CPU", lambda turn: turn.server, "ceiling", "ours"),
    "ceiling_postgres_cpu": Column("… PostgreSQL CPU", lambda turn: turn.postgres, "ceiling", "ours"),
    "ceiling_cpu": Column("… both", lambda turn: turn.cpu, "ceiling", "ours"),
    "baseline_rate": Column("× the baseline: requests/s", lambda turn: turn.rate, "ours", "baseline"),
    "baseline_cpu": Column("… CPU of both", lambda turn: turn.cpu, "baseline", "ours"),
}


def ratios_of(outcome: Outcome) -> dict[str, Ratio]:
    """The ratios for which all contenders were measured."""
    return {
        name: outcome.ratio(column.of, column.one, column.other)
        for name, column in COLUMNS.items()
        if {column.one, column.other} <= set(outcome.turns)
    }


def tables(outcomes: list[Outcome]) -> list[Table]:
    """For each number of workers, the ratios, then the figures behind them."""
    found = []
    for workers in dict.fromkeys(outcome.workers for outcome in outcomes):
        of = f"{workers} worker{'s' if workers > 1 else ''}"
        mine = [outcome for outcome in outcomes if outcome.workers == workers]
        found.append(Table(f"Ratios, {of}", [_ratios(outcome) for outcome in mine], _NOTES))
        found.append(Table(f"Figures, {of}", [row for outcome in mine for row in _figures(outcome)]))
    return found


def _ratios(outcome: Outcome) -> dict[str, object]:
    work = outcome.work
    row: dict[str, object] = {"work": f"`{work.name}`", "round trips": round_trips(work.name)}
    row |= {COLUMNS[name].title: ratio for name, ratio in ratios_of(outcome).items()}
    if "baseline" in outcome.turns:
        row["… target"] = f"≥ {work.baseline_multiple}"
    return row


def _figures(outcome: Outcome) -> list[dict[str, object]]:
    rows = []
    for name, turns in outcome.turns.items():
        middle = outcome.middle(name)
        rows.append(
            {
                "work": f"`{outcome.work.name}`",
                "contender": name,
                "requests/s": Ratio.of([turn.rate for turn in turns]).to_print(0),
                "server CPU, ms": f"{middle.server:.3f}",
                "PostgreSQL CPU, ms": f"{middle.postgres:.3f}",
            }
        )
    return rows
