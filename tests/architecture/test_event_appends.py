"""Events are appended to streams in one place, so whatever has to follow from an event can be added there."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src/messenger"
INSERT = re.compile(r"INSERT\s+INTO\s+events\b", re.IGNORECASE)


def test_single_fragment_inserts_events() -> None:
    counts = {
        str(path.relative_to(SOURCE)): len(INSERT.findall(path.read_text(encoding="utf-8")))
        for path in SOURCE.rglob("*.py")
    }
    assert {path: count for path, count in counts.items() if count} == {"repositories/events.py": 1}
