"""Realtime across processes: two workers, a command line beside the server, signals, and processes that die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import psutil
import pytest

from messenger.schemas.accounts import SignedInView
from messenger.testing import Person
from messenger.testing.folders import memory_folder
from tests.support.server import Server, environment, running
from tests.support.sockets import Realtime, Wire

PASSWORD = "fjord-lantern-quiet-93"
CHEAP = {"password_time_cost": 1, "password_memory_cost": 32, "rate_limits": "off", "activity_resolution": 3600}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with memory_folder("realtime") as path:
        yield path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """Two workers on one host, connected by LISTEN/NOTIFY."""
    with running(folder, workers=2, **CHEAP) as server:
        yield server


@pytest.fixture
def realtime(server: Server) -> Realtime:
    return Realtime(int(server.url.rpartition(":")[2]))


class People:
    """Users over HTTP."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=10)

    async def person(self) -> Person:
        draft = {"username": f"u{uuid4().hex[:12]}", "password": PASSWORD, "name": "Ada"}
        answer = (await self.http.post("/register", json=draft)).raise_for_status()
        return Person.of(msgspec.json.decode(answer.content, type=SignedInView), PASSWORD)

    async def friends(self) -> tuple[Person, Person]:
        one, other = await self.person(), await self.person()
        await self.post(one, "/subscribe", target_id=other.id)
        await self.post(other, "/confirm_subscribe", target_id=one.id)
        return one, other

    async def post(self, who: Person, path: str, **body: Any) -> httpx.Response:
        return (await self.http.post(path, json=body, headers=who.headers)).raise_for_status()


@pytest.fixture
async def people(server: Server) -> AsyncIterator[People]:
    people = People(server.url)
    yield people
    await people.http.aclose()


def worker_of(server: Server, wire: Wire) -> int:
    """The process at the other end of a socket."""
    port = wire.connection.local_address[1]
    for process in server.descendants():
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.raddr and connection.raddr.port == port:
                    return process.pid
    raise AssertionError("nobody holds this socket")


@contextlib.asynccontextmanager
async def apart(server: Server, realtime: Realtime, one: Person, other: Person) -> AsyncIterator[tuple[Wire, Wire]]:
    """Sockets of two users on two workers: the kernel distributes connections, so reconnect until they differ."""
    for _ in range(200):
        async with realtime.wire(one) as first:
            # Wait for the first one: a second socket of the same device closes it.
            holder = worker_of(server, first)
            async with realtime.wire(other) as second:
                if holder != worker_of(server, second):
                    yield first, second
                    return
    raise AssertionError("the kernel always chose the same worker")


class TestTwoWorkers:
    async def test_message_signal_and_presence_cross_workers(
        self, server: Server, realtime: Realtime, people: People
    ) -> None:
        ada, bob = await people.friends()
        async with apart(server, realtime, ada, bob) as (hers, his):
            await hers.ask("message.send", target_id=bob.id, client_id="x", body="Across")
            assert (await his.event("message.created"))["body"] == "Across"
            assert (await hers.event("receipt.updated", user_id=bob.id))["delivered_seq"] == 1
            await his.ask("typing", target_id=ada.id)
            assert (await hers.signal("typing"))["user_id"] == bob.id
            await his.ask("presence.set", status="busy")
            await hers.signal("presence", user_id=bob.id, status="busy")
        statuses = (await people.http.get("/statuses", headers=ada.headers)).json()["items"]
        assert [item["user_id"] for item in statuses] == [bob.id]

    async def test_large_call_signal_crosses_workers(self, server: Server, realtime: Realtime, people: People) -> None:
        ada, bob = await people.friends()
        async with apart(server, realtime, ada, bob) as (hers, his):
            payload = {"sdp": "v=0\r\n" * 8_000}
            reply = await hers.ask("call.signal", target_id=bob.id, call_id=str(uuid4()), payload=payload)
            assert reply["data"] is None
            assert (await his.signal("call.signal"))["payload"] == payload

    async def test_sign_out_closes_socket_of_other_worker_within_a_second(
        self, server: Server, realtime: Realtime, people: People
    ) -> None:
        ada, bob = await people.friends()
        async with apart(server, realtime, ada, bob) as (hers, his):
            for wire, person in ((hers, ada), (his, bob)):
                started = time.monotonic()
                await people.http.post("/logout", headers=person.headers)
                assert (await wire.closed())[0] == 4401
                assert time.monotonic() - started < 1

    async def test_newer_socket_on_other_worker_closes_older(
        self, server: Server, realtime: Realtime, people: People
    ) -> None:
        ada = await people.person()
        async with apart(server, realtime, ada, ada) as (older, newer):
            assert (await older.closed())[0] == 4409
            assert (await newer.ask("ping"))["data"] is None

    async def test_sockets_of_killed_worker_resume_without_gap(
        self, server: Server, realtime: Realtime, people: People
    ) -> None:
        ada, bob = await people.friends()
        cursor = (await realtime.sync(bob)).json()["cursor"]
        async with apart(server, realtime, ada, bob) as (_, his):
            os.kill(worker_of(server, his), signal.SIGKILL)
            await his.connection.wait_closed()
            assert his.connection.close_code == 1006
        # A kept-alive connection may belong to the dead worker.
        others = People(server.url)
        await others.post(ada, "/messages", target_id=bob.id, client_id="y", body="Meanwhile")
        await others.http.aclose()
        async with realtime.wire(bob, cursor=cursor) as his:
            assert (await his.event("message.created"))["body"] == "Meanwhile"


class TestCommandLine:
    async def test_disabling_account_closes_sockets(
        self, server: Server, folder: Path, realtime: Realtime, people: People
    ) -> None:
        ada = await people.person()
        async with realtime.wire(ada) as wire:
            command = [sys.executable, "-m", "messenger", "users", "disable", str(ada.id)]
            await asyncio.to_thread(subprocess.run, command, env=environment(folder), cwd=folder, check=True)
            assert (await wire.closed())[0] == 4401


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_drains_without_failed_requests(workers: int) -> None:
    with memory_folder("realtime") as folder, running(folder, workers=workers, **CHEAP) as server:
        realtime, people = Realtime(int(server.url.rpartition(":")[2])), People(server.url)
        ada, bob = await people.friends()
        sent: list[int] = []
        failures: list[str] = []

        async def write() -> None:
            number = 0
            while True:
                number += 1
                try:
                    answer = await people.http.post(
                        "/messages",
                        headers=ada.headers,
                        json={"target_id": bob.id, "client_id": str(number), "body": str(number)},
                    )
                except httpx.TransportError:
                    # The server no longer accepts requests: the outcome is unknown at worst, and never a 5xx.
                    return
                if answer.status_code != 201:
                    failures.append(answer.text)
                    return
                sent.append(number)

        writing = asyncio.create_task(write())
        waiting = asyncio.create_task(realtime.sync(await people.person(), cursor="e1", wait=30))
        async with contextlib.AsyncExitStack() as stack:
            wires = [await stack.enter_async_context(realtime.wire(await people.person())) for _ in range(20)]
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            closes = await asyncio.gather(*(wire.closed() for wire in wires))
            assert {code for code, _ in closes} == {1012}
            waits = {reason for _, reason in closes}
            assert len(waits) > 5
            assert all(reason.startswith("retry_after=") for reason in waits)
        assert (await waiting).status_code == 200
        assert await asyncio.to_thread(server.process.wait, 15) == 0
        assert time.monotonic() - started < 15
        await writing
        await people.http.aclose()
        assert failures == []
        assert sent
