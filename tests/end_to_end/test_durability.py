"""Acknowledged messages are stored once and in order, even if all processes are killed under load."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from messenger.config import Settings
from messenger.embedded.local import database_url
from messenger.testing.factories import PASSWORD
from tests.support.server import Server, running

SENDERS, ACKED_BEFORE_THE_END, MOST = 8, 150, 2000


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder on a disk that PostgreSQL's own user can reach."""
    path = Path(tempfile.mkdtemp(prefix="messenger-durable-", dir="/var/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


class People:
    """Two contacts, and the messages between them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tokens: list[str] = []
        self.ids: list[int] = []
        self.acked: dict[str, int] = {}
        self.unknown: set[str] = set()

    async def meet(self) -> None:
        async with httpx.AsyncClient(base_url=self.url) as http:
            for username in ("ada", "bob"):
                draft = {"username": username, "password": PASSWORD, "name": username}
                view = (await http.post("/register", json=draft)).json()
                self.ids.append(view["user"]["id"])
                self.tokens.append(view["tokens"]["access_token"])
            await http.post("/subscribe", json={"target_id": self.ids[1]}, headers=self.headers(0))
            await http.post("/confirm_subscribe", json={"target_id": self.ids[0]}, headers=self.headers(1))

    def headers(self, who: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[who]}"}

    async def send(self, http: httpx.AsyncClient, client_id: str) -> None:
        who = int(client_id.partition("-")[0]) % 2
        body = {"target_id": self.ids[1 - who], "client_id": client_id, "body": client_id}
        self.unknown.add(client_id)
        answer = await http.post("/messages", json=body, headers=self.headers(who))
        if answer.status_code in {200, 201}:
            self.acked[client_id] = answer.json()["seq"]
            self.unknown.discard(client_id)

    async def load(self, server: Server) -> None:
        """Send from all devices until enough messages are acknowledged, then kill the server."""

        async def sender(number: int) -> None:
            async with httpx.AsyncClient(base_url=self.url) as http:
                for count in range(MOST):
                    await self.send(http, f"{number}-{count}")
                    if len(self.acked) >= ACKED_BEFORE_THE_END and server.process.poll() is None:
                        kill_all(server)

        await asyncio.gather(*(sender(number) for number in range(SENDERS)), return_exceptions=True)

    async def repeat_unknown(self) -> None:
        """Repeat messages with unknown outcome, as a client does after a lost connection."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            for client_id in sorted(self.unknown):
                await self.send(http, client_id)


def kill_all(server: Server) -> None:
    """`kill -9` of the server and of every process of its database, at once."""
    processes = [*server.descendants(), psutil.Process(server.process.pid)]
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    server.process.wait()


async def _history(url: str, people: People, who: int) -> list[tuple[int, str]]:
    seen: list[tuple[int, str]] = []
    async with httpx.AsyncClient(base_url=url) as http:
        path: str | None = f"/history/{people.ids[1 - who]}?after=0&limit=200"
        while path is not None:
            page = (await http.get(path, headers=people.headers(who))).json()
            seen += [(message["seq"], message["client_id"]) for message in page["items"]]
            path = page["next"] and f"/history/{people.ids[1 - who]}?after={page['next']}&limit=200"
    return seen


async def _events(folder: Path) -> list[tuple[int, int, int]]:
    with database_url(Settings(data_dir=folder)) as url:
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch(
                "SELECT e.user_id, count(*) AS events, count(DISTINCT e.subject) AS messages FROM events AS e"
                " JOIN messages AS m ON m.id = e.subject WHERE e.name = 'message.created' GROUP BY e.user_id"
            )
        finally:
            await connection.close()
    return [(row["user_id"], row["events"], row["messages"]) for row in rows]


async def test_killing_all_processes_loses_and_duplicates_no_acknowledged_message(folder: Path) -> None:
    cheap = {"password_time_cost": 1, "password_memory_cost": 32, "rate_limits": "off", "access_token_ttl": 3600}
    with running(folder, **cheap) as server:
        people = People(server.url)
        await people.meet()
        await people.load(server)
    assert len(people.acked) >= ACKED_BEFORE_THE_END
    with running(folder, **cheap) as server:
        people.url = server.url
        await people.repeat_unknown()
        mine, theirs = [await _history(server.url, people, who) for who in (0, 1)]
    assert mine == theirs
    assert [seq for seq, _ in mine] == list(range(1, len(mine) + 1)), "seq has gaps or repeats"
    assert {client_id: seq for seq, client_id in mine} == people.acked, "lost, moved, or never sent"
    assert len(mine) == len(people.acked), "doubled"
    counts = await _events(folder)
    assert [(events, messages) for _, events, messages in counts] == [(len(mine), len(mine))] * 2
