"""Rate limits by address, over two workers, with and without a trusted proxy."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from messenger.limits import LIMITS
from tests.support.server import Server, running

LIMIT = LIMITS["refresh"]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="messenger-limits-", dir="/var/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def refresh(server: Server, number: int, forwarded: str) -> int:
    """Refresh with an invalid token over a new connection: either worker may serve it."""
    headers = {"X-Forwarded-For": forwarded, "Forwarded": f"for={forwarded}", "X-Real-IP": forwarded}
    body = {"refresh_token": f"nothing-{number}"}
    return httpx.post(f"{server.url}/token/refresh", json=body, headers=headers).status_code


def _tries(server: Server, forwarded: str) -> tuple[int, bool]:
    """How many attempts passed before the first refusal, and whether that is the burst plus the refill
    of the meantime.
    """
    began = time.monotonic()
    for number in range(2 * LIMIT.burst):
        if refresh(server, number, forwarded.format(number)) == 429:
            return number, LIMIT.burst <= number <= LIMIT.burst + LIMIT.rate * (time.monotonic() - began)
    return 2 * LIMIT.burst, False


def test_claimed_address_of_untrusted_client_is_ignored(folder: Path) -> None:
    with running(folder, workers=2) as server:
        tries, is_the_burst = _tries(server, "198.51.100.{}")
    assert is_the_burst, tries


def test_limit_counts_address_reported_by_trusted_proxy(folder: Path) -> None:
    with running(folder, workers=2, trusted_proxies="127.0.0.1") as server:
        # Everything to the left of it was written by the client.
        tries, is_the_burst = _tries(server, "198.51.100.{}, 203.0.113.5")
        other = refresh(server, 0, "203.0.113.5, 203.0.113.6")
    assert (is_the_burst, other) == (True, 401), tries
