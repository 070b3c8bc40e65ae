"""The stored budgets: compared with what was counted, and rewritten on request."""

from __future__ import annotations

import fcntl
import os
import platform
from pathlib import Path
from typing import Literal

import msgspec

from tests.budgets._metering import Counted, Price

FILE = Path(__file__).with_name("calls.json")
COMMAND = "MESSENGER_TEST_WRITE_BUDGETS={} .venv/bin/pytest tests/budgets/test_calls.py"
PYTHON = ".".join(platform.python_version_tuple()[:2])

# The tolerated deviation from a budget. Memory varies by a few hundred bytes between runs.
_ABOVE = {"python": 0.02, "c": 0.02, "peak": 0.05}
_BELOW = {"python": 0.10, "c": 0.10, "peak": 0.20}
_SLACK = {"python": 0, "c": 0, "peak": 512}


class Budgets(msgspec.Struct):
    """The contents of the file: the Python version of the counts, and the budget of each request."""

    python: str
    requests: dict[str, Price]

    @classmethod
    def read(cls) -> Budgets:
        """Read the stored budgets."""
        return msgspec.json.decode(FILE.read_bytes(), type=cls)


def complaint(budget: Price | None, counted: Price) -> str | None:
    """The reason why a price violates its budget and what to do about it, or None."""
    if budget is None:
        return f"It has no budget yet. {COMMAND.format('lower')} stores {counted}."
    dearer = _beyond(budget, counted, _ABOVE, 1)
    if dearer:
        return f"It costs more than its budget: {dearer}. Where it is worth that: {COMMAND.format('all')}"
    cheaper = _beyond(budget, counted, _BELOW, -1)
    if cheaper:
        return f"It has become cheaper, well done: {cheaper}. Bank it: {COMMAND.format('lower')}"
    return None


def _beyond(budget: Price, counted: Price, tolerances: dict[str, float], sign: Literal[1, -1]) -> str:
    found = []
    for name, tolerance in tolerances.items():
        stored, used = getattr(budget, name), getattr(counted, name)
        if sign * (used - stored) > tolerance * stored + _SLACK[name]:
            found.append(f"{name} {used} instead of {stored} ({used / max(1, stored) - 1:+.1%})")
    return ", ".join(found)


def settle(what: str, counted: Counted) -> str | None:
    """Compare with the budget, or write it if the environment asks for that."""
    folder = os.environ.get("MESSENGER_TEST_LIST_CALLS")
    if folder:
        Path(folder, f"{what.replace('/', '_')}.txt").write_text("\n".join(counted.calls) + "\n")
    return _settle(what, counted.price)


def _settle(what: str, counted: Price) -> str | None:
    mode = os.environ.get("MESSENGER_TEST_WRITE_BUDGETS")
    if not mode:
        return complaint(Budgets.read().requests.get(what), counted)
    if mode not in {"lower", "all"}:
        return f"MESSENGER_TEST_WRITE_BUDGETS is {mode}: it can be `lower` or `all`"
    with FILE.open("r+b") as file:
        # Workers of one test run write to the same file.
        fcntl.flock(file, fcntl.LOCK_EX)
        budgets = msgspec.json.decode(file.read(), type=Budgets)
        _write(budgets, what, counted, raises=mode == "all")
        file.seek(0)
        file.write(msgspec.json.format(msgspec.json.encode(budgets), indent=2) + b"\n")
        file.truncate()
    return complaint(budgets.requests[what], counted)


def _write(budgets: Budgets, what: str, counted: Price, *, raises: bool) -> None:
    stored = budgets.requests.get(what)
    if stored is not None and not raises:
        counted = Price(*(min(getattr(stored, name), getattr(counted, name)) for name in Price.__struct_fields__))
    budgets.python = PYTHON
    budgets.requests = dict(sorted({**budgets.requests, what: counted}.items()))
