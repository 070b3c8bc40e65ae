"""Limits by address, over two workers, with and without a proxy that is trusted."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from messenger.limits import LIMITS
from tests.process.server import Server, running

LIMIT = LIMITS["refresh"]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="messenger-limits-", dir="/var/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def refresh(server: Server, number: int, forwarded: str) -> int:
    """A try with a token that is none, over a connection of its own: either worker may have it."""
    headers = {"X-Forwarded-For": forwarded, "Forwarded": f"for={forwarded}", "X-Real-IP": forwarded}
    body = {"refresh_token": f"nothing-{number}"}
    return httpx.post(f"{server.url}/token/refresh", json=body, headers=headers).status_code


def test_a_claimed_address_changes_nothing(folder: Path) -> None:
    with running(folder, workers=2) as server:
        statuses = [refresh(server, number, f"198.51.100.{number}") for number in range(LIMIT.burst + 1)]
    assert statuses == [401] * LIMIT.burst + [429]


def test_behind_a_trusted_proxy_the_address_is_what_it_saw(folder: Path) -> None:
    with running(folder, workers=2, trusted_proxies="127.0.0.1") as server:
        # What stands left of it the client wrote.
        statuses = [refresh(server, number, f"198.51.100.{number}, 203.0.113.5") for number in range(LIMIT.burst + 1)]
        other = refresh(server, 0, "203.0.113.5, 203.0.113.6")
    assert (statuses, other) == ([401] * LIMIT.burst + [429], 401)
