"""The output of benchmarks: percentiles, Markdown tables, and the machine."""

from __future__ import annotations

import ast
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import msgspec
import psutil

_BUDGETS = Path(__file__).parents[1] / "tests" / "budgets" / "test_statements.py"
_PACKAGES = ("messenger", "litestar", "uvicorn", "uvloop", "websockets", "asyncpg", "msgspec")


class Table(msgspec.Struct):
    """The result of a case; not every row has every column."""

    title: str
    rows: list[dict[str, object]]
    notes: list[str] = []

    def markdown(self) -> str:
        """As it is printed."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [f"### {self.title}", "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        lines += [f"| {' | '.join(str(row.get(column, '')) for column in columns)} |" for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes), ""])


def percentile(values: Sequence[float], share: float) -> float:
    """The percentile of the values (nearest rank); 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def ms(seconds: float, digits: int = 1) -> float:
    """Milliseconds to print."""
    return round(1000 * seconds, digits)


def middle(values: Sequence[float], digits: int = 2) -> float:
    """The median to print."""
    return round(median(values), digits)


def machine() -> dict[str, object]:
    """The machine; its load shows whether other processes are running."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def round_trips(name: str) -> int:
    """The round trips of a request such as `GET /contacts (50 of 200)`, from the table in the tests."""
    for line in ast.parse(_BUDGETS.read_text()).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "BUDGETS":
            budgets: dict[str, int] = ast.literal_eval(line.value)
            return budgets.get(name.split(" (")[0].rstrip("/"), 0)
    raise LookupError(f"there is no BUDGETS in {_BUDGETS}")
