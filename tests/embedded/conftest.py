"""Folders for clusters: in memory where possible, accessible to every user, removed afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from messenger.embedded.postgres import EmbeddedPostgres


def _fresh() -> Path:
    made = Path(tempfile.mkdtemp(prefix="pg", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))  # noqa: S108
    made.chmod(0o755)
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of its own."""
    made = _fresh()
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def seed() -> Iterator[Path]:
    """A stopped cluster, created once."""
    made = _fresh()
    with EmbeddedPostgres(made / "data", durable=False):
        pass
    yield made / "data"
    shutil.rmtree(made)


@pytest.fixture
def data(folder: Path, seed: Path) -> Path:
    """A data folder with a stopped cluster."""
    subprocess.run(["cp", "-a", seed, folder / "data"], check=True)
    return folder / "data"
