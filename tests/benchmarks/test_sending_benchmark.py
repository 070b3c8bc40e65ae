"""The benchmark of sending: its short form measures every load, and its ratios compare consecutive turns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

from _sending import turns
from _sending.contender import Contender
from _sending.turns import Turn

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sending.py"


class _Server:
    def __init__(self, name: str, workers: int) -> None:
        self.name = name
        self.workers = workers


def turn(*, rate: float, cpu: float) -> Turn:
    return Turn(rate, cpu / 2, cpu / 2, 1.0, 2.0, 3.0, 4.0)


def test_short_form_measures_every_load(tmp_path: Path) -> None:
    report = tmp_path / "sending.json"
    subprocess.run([sys.executable, _SCRIPT, "--quick", "--json", report], check=True, capture_output=True)
    rows = json.loads(report.read_text())["rows"]
    assert [row["load"] for row in rows] == ["16 senders", "64 senders", "200 a second", "500 a second"]
    for row in rows:
        assert row["checkout"] == "this"
        assert row["messages/s"] > 0
        assert row["PostgreSQL CPU, ms"] > 0
        assert 0 < row["delivered p50, ms"] <= row["delivered p99"]


def test_ratios_compare_checkouts_and_numbers_of_workers_turn_by_turn() -> None:
    servers = [_Server(name, workers) for workers in (1, 2) for name in ("other", "this")]
    taken = {
        "16 senders": [
            [turn(rate=10, cpu=4), turn(rate=20, cpu=40), turn(rate=1, cpu=1)],
            [turn(rate=10, cpu=2), turn(rate=40, cpu=40), turn(rate=3, cpu=1)],
            [turn(rate=10, cpu=4), turn(rate=10, cpu=4), turn(rate=10, cpu=4)],
            [turn(rate=10, cpu=3), turn(rate=10, cpu=50), turn(rate=10, cpu=2)],
        ]
    }
    rows = turns.rows(cast("list[Contender]", servers), taken)
    assert [(row["checkout"], row["workers"]) for row in rows] == [("other", 1), ("this", 1), ("other", 2), ("this", 2)]
    assert [row.get("rate ×") for row in rows] == [None, 2.0, None, 1.0]
    assert [row.get("CPU ×") for row in rows] == [None, 1.0, None, 0.75]
    assert [row.get("CPU × 1 worker") for row in rows] == [None, None, 1.0, 1.5]
