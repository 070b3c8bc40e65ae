"""Metrics of several workers, which any of them serves for all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import httpx
import pytest

from tests.support.server import Server, running

TOKEN = "a-token-that-only-prometheus-has"
REQUESTS = 40


@pytest.fixture
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="messenger-metrics-", dir="/var/tmp"))
    folder.chmod(0o711)
    with running(folder, workers=2, metrics_token=TOKEN) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


def counted(server: Server) -> float:
    text = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    wanted = 'messenger_request_seconds_count{method="GET",route="/profile",status="401"}'
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(wanted))


def test_every_request_is_counted_on_any_worker(server: Server) -> None:
    for _ in range(REQUESTS):
        # A connection for each request, so that both workers serve some.
        httpx.get(f"{server.url}/profile")
    end = monotonic() + 20
    while counted(server) < REQUESTS and monotonic() < end:
        pass
    assert counted(server) == REQUESTS
