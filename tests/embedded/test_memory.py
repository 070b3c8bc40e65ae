"""How much memory the PostgreSQL that comes along may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from messenger import embedded_host as host
from messenger.config import Settings
from messenger.local_database import embedded

GIB = 2**30


def test_container_s_bound_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = host.memory()
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(host, "_LIMITS", (limit, tmp_path / "absent"))
    assert host.memory() >= machine
    limit.write_text("max\n")
    assert host.memory() >= machine
    limit.write_text("1048576\n")
    assert host.memory() == 1048576


@pytest.mark.parametrize(
    ("memory", "buffers"), [(GIB // 8, "128MB"), (4 * GIB, "1024MB"), (24 * GIB, "6144MB"), (1024 * GIB, "8192MB")]
)
def test_a_quarter_is_postgresql_s(memory: int, buffers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "memory", lambda: memory)
    assert embedded(Settings(data_dir=tmp_path))._settings["shared_buffers"] == buffers
