"""Concurrent requests of a device never fail with `Object '<User>' is already attached to session …`."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest
from PIL import Image

from messenger.testing.factories import PASSWORD
from messenger.testing.folders import memory_folder
from tests.support.server import Server, running

DEVICES, ROUNDS = 3, 12
ENVELOPE = {
    "algorithm": "AES-256-GCM",
    "kdf": {"name": "hkdf"},
    "nonce": base64.b64encode(bytes(12)).decode(),
    "ciphertext": base64.b64encode(bytes(range(48))).decode(),
}


@pytest.fixture
def server(fresh_database_url: str) -> Iterator[Server]:
    """Two workers on a database of this test's own, with a stamp at every request."""
    settings = {
        "database_url": fresh_database_url,
        # The tests' own PostgreSQL is not durable.
        "allow_data_loss": "on",
        "workers": 2,
        "activity_resolution": 0,
        "rate_limits": "off",
        "password_time_cost": 1,
        "password_memory_cost": 32,
    }
    with memory_folder("sessions") as folder, running(folder, **settings) as server:
        yield server


def _image() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 90)).save(file, "PNG")
    return file.getvalue()


async def _register(http: httpx.AsyncClient, username: str) -> tuple[int, str]:
    draft = {"username": username, "password": PASSWORD, "name": username}
    view = (await http.post("/register", json=draft)).json()
    return view["user"]["id"], view["tokens"]["access_token"]


def _eleven(http: httpx.AsyncClient, token: str, other: int) -> list[asyncio.Task[httpx.Response]]:
    """Eleven endpoints at the same time, as one device."""
    headers = {"Authorization": f"Bearer {token}"}
    requests = [
        http.get("/profile", headers=headers),
        http.put("/profile", headers=headers, json={"about": "again"}),
        http.get("/contacts", headers=headers),
        http.post("/subscribe", headers=headers, json={"target_id": other}),
        http.post("/confirm_subscribe", headers=headers, json={"target_id": other}),
        http.get("/statuses", headers=headers),
        http.get(f"/history/{other}", headers=headers),
        http.post("/avatar/upload", headers=headers, files={"file": ("a.png", _image())}),
        http.delete("/avatar/", headers=headers),
        http.post("/e2e/secret_key", headers=headers, json=ENVELOPE),
        http.get("/ice_servers", headers=headers),
    ]
    return [asyncio.create_task(request) for request in requests]


async def test_eleven_concurrent_endpoints_share_no_session_state(server: Server, fresh_database_url: str) -> None:
    limits = httpx.Limits(max_connections=40)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as http:
        me, first = await _register(http, "ada")
        other, _ = await _register(http, "bob")
        tokens = [first]
        for _ in range(DEVICES - 1):
            answer = await http.post("/login", json={"login": "ada", "password": PASSWORD})
            tokens.append(answer.json()["tokens"]["access_token"])
        for _ in range(ROUNDS):
            began = datetime.now(UTC)
            tasks = [task for token in tokens for task in _eleven(http, token, other)]
            answers = await asyncio.gather(*tasks)
            failed = [f"{a.request.method} {a.request.url.path} {a.text}" for a in answers if a.status_code >= 500]
            assert failed == []
    connection = await asyncpg.connect(fresh_database_url)
    try:
        stamps = await connection.fetch(
            "SELECT last_activity FROM devices WHERE user_id = $1 UNION ALL"
            " SELECT last_activity FROM users WHERE id = $1",
            me,
        )
        busy = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'messenger' AND state <> 'idle'"
        )
    finally:
        await connection.close()
    began = began.replace(microsecond=began.microsecond // 1000 * 1000)
    assert all(row["last_activity"] >= began for row in stamps), "a stamp was lost"
    assert busy == 0, "a connection was left in a transaction"
