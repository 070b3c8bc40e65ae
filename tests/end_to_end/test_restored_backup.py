"""A data folder restored from a copy: newer cursors expire."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from messenger.testing.factories import PASSWORD
from messenger.testing.folders import memory_folder
from tests.support.server import running

CHEAP = {"password_time_cost": 1, "password_memory_cost": 32, "rate_limits": "off"}


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory_folder("backup") as path:
        yield path


def sync(url: str, headers: dict[str, str], cursor: str | None = None) -> httpx.Response:
    """`GET /sync`."""
    return httpx.get(f"{url}/sync", headers=headers, params={} if cursor is None else {"cursor": cursor})


def sign_in_again(url: str) -> None:
    """Add an event to the account's stream: a new device."""
    draft = {"login": "ada_who_restores", "password": PASSWORD}
    assert httpx.post(f"{url}/login", json=draft).status_code == 200


def test_restored_backup_expires_all_older_cursors(folder: Path) -> None:
    data, backup = folder / "data", folder / "backup"
    data.mkdir()
    with running(data, **CHEAP) as server:
        draft = {"username": "ada_who_restores", "password": PASSWORD, "name": "Ada"}
        signed_in: dict[str, Any] = httpx.post(f"{server.url}/register", json=draft).json()
        headers = {"Authorization": f"Bearer {signed_in['tokens']['access_token']}"}
        kept = sync(server.url, headers).json()["cursor"]
    subprocess.run(["cp", "-a", data, backup], check=True)
    with running(data, **CHEAP) as server:
        assert sync(server.url, headers, kept).status_code == 200
        sign_in_again(server.url)
        lost = sync(server.url, headers).json()["cursor"]
    shutil.rmtree(data)
    subprocess.run(["cp", "-a", backup, data], check=True)
    with running(data, **CHEAP) as server:
        for _ in range(3):
            assert [sync(server.url, headers, cursor).status_code for cursor in (lost, kept)] == [410, 410]
            sign_in_again(server.url)
        now = sync(server.url, headers).json()["cursor"]
    with running(data, **CHEAP) as server:
        assert sync(server.url, headers, now).status_code == 200
