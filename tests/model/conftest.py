"""Two workers in this event loop, and a folder for servers that are killed and restarted."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from messenger.config import Settings
from messenger.testing.databases import temporary_database
from tests.model._world import World, narrow, world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two_workers(settings: Settings, postgres_url: str, template_name: str) -> AsyncIterator[World]:
    """Two workers with small bounds, on a database of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch)
        async with temporary_database(postgres_url, template_name) as url, world(settings, url) as made:
            yield made


@contextmanager
def on_disk() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach, whatever other test runs do to theirs."""
    path = Path(tempfile.mkdtemp(prefix="messenger-proof-", dir="/var/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for one test."""
    with on_disk() as path:
        yield path
