"""Two hosts on one database, connected by NATS or Redis; the bus is killed and restarted, a cable is cut."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from messenger import migrations
from messenger.embedded.postgres import EmbeddedPostgres
from messenger.testing.factories import PASSWORD
from messenger.testing.folders import memory_folder
from messenger.testing.hosts import Host, network
from messenger.testing.servers import NatsServer, RedisServer, ServerProcess
from tests.support.fault_population import FaultPopulation
from tests.support.proxy import Address
from tests.support.server import environment
from tests.support.sockets import Realtime, Wire
from tests.support.verdict import judge

START_SECONDS = 30.0
WAIT_SECONDS = 60.0
PORT = 8000
SOCKET_TIMEOUT = 6
SECRET = "one secret for all hosts of this installation"


class Hosts:
    """Two servers in separate network namespaces, and their bus."""

    def __init__(self, hosts: list[Host], bus: ServerProcess, database_url: str) -> None:
        self.hosts = hosts
        self.bus = bus
        self.database_url = database_url
        self.urls = [f"http://{host.address}:{PORT}" for host in hosts]
        self.problems: list[str] = []

    # --- as a crowd sees it ---

    def address(self, chance: Random) -> Address:
        return chance.choice(self.hosts).address, PORT

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        connection = await asyncpg.connect(self.database_url)
        try:
            rows: list[Any] = await connection.fetch(sql, *values)
        finally:
            await connection.close()
        return rows

    def report(self, problem: str) -> None:
        self.problems.append(problem)


class Friend:
    """A signed-in user without a socket."""

    def __init__(self, view: dict[str, Any]) -> None:
        self.user_id: int = view["user"]["id"]
        self.headers = {"Authorization": f"Bearer {view['tokens']['access_token']}"}


async def friends(two: Hosts) -> tuple[Friend, Friend]:
    """Two mutual contacts."""
    async with httpx.AsyncClient(base_url=two.urls[0]) as http:
        drafts = [{"username": f"u{uuid4().hex[:12]}", "password": PASSWORD, "name": "Ada"} for _ in range(2)]
        ada, bob = [Friend((await http.post("/register", json=draft)).json()) for draft in drafts]
        await http.post("/subscribe", json={"target_id": bob.user_id}, headers=ada.headers)
        await http.post("/confirm_subscribe", json={"target_id": ada.user_id}, headers=bob.headers)
    return ada, bob


@pytest.fixture(params=[NatsServer, RedisServer], ids=["nats", "redis"])
def two(request: pytest.FixtureRequest) -> Iterator[Hosts]:
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(network(2))
        folder = stack.enter_context(memory_folder("hosts"))
        # Reached through a Unix socket, which is not part of a network namespace; the bus is.
        database = stack.enter_context(EmbeddedPostgres(folder / "postgres", durable=False))
        url = database.start()
        migrations.upgrade(url)
        bus = stack.enter_context(request.param(net.address, password="between hosts"))
        for number, host in enumerate(net.hosts):
            stack.enter_context(_serving(host, folder / f"host-{number}", url, bus.url))
        yield Hosts(list(net.hosts), bus, url)


@contextlib.contextmanager
def _serving(host: Host, folder: Path, database_url: str, bus_url: str) -> Iterator[None]:
    folder.mkdir()
    settings = {
        "host": host.address,
        "port": PORT,
        "database_url": database_url,
        "allow_data_loss": "on",
        "bus_url": bus_url,
        "secret": SECRET,
        "socket_timeout": SOCKET_TIMEOUT,
        "rate_limits": "off",
        "password_time_cost": 1,
        "password_memory_cost": 32,
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            host.command([sys.executable, "-m", "messenger", "serve"]),
            env=environment(folder, **settings),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(f"http://{host.address}:{PORT}"):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, (folder / "server.log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        ready = httpx.get(f"{url}/health/ready", timeout=1)
        return ready.status_code == 200 and ready.json()["checks"]["bus"] == "ok"
    return False


@contextlib.asynccontextmanager
async def socket(url: str, friend: Friend) -> AsyncIterator[Wire]:
    realtime = Realtime(0)
    realtime.url = url.replace("http", "ws", 1) + "/ws"
    async with realtime.wire(headers=friend.headers) as wire:
        yield wire


async def online(two: Hosts, viewer: Friend) -> bool:
    async with httpx.AsyncClient() as http:
        items = (await http.get(f"{two.urls[0]}/statuses", headers=viewer.headers)).json()["items"]
    return bool(items[0]["online"])


async def test_two_hosts_act_as_single_server(two: Hosts) -> None:
    ada, bob = await friends(two)
    async with socket(two.urls[0], ada) as hers, socket(two.urls[1], bob) as his:
        await hers.ask("message.send", target_id=bob.user_id, client_id="x", body="Across")
        assert (await his.event("message.created"))["body"] == "Across"
        assert (await hers.event("receipt.updated", user_id=bob.user_id))["delivered_seq"] == 1
        await his.ask("typing", target_id=ada.user_id)
        assert (await hers.signal("typing"))["user_id"] == bob.user_id
        await his.ask("presence.set", status="busy")
        await hers.signal("presence", user_id=bob.user_id, status="busy")
        # A sign-out on one host closes the socket on the other within a second.
        started = time.monotonic()
        async with httpx.AsyncClient() as http:
            await http.post(f"{two.urls[0]}/logout", headers=bob.headers)
        assert (await his.closed())[0] == 4401
        assert time.monotonic() - started < 1
        await hers.signal("presence", user_id=bob.user_id, online=False)


async def test_stopped_bus_delays_but_loses_no_event(two: Hosts) -> None:
    async with AsyncExitStack() as stack:
        population = FaultPopulation(two, "hosts", stack, frozenset())
        await population.gather(2)
        population.begin_cycle()
        await population.more(20, seconds=WAIT_SECONDS)
        two.bus.kill()
        began = time.monotonic()
        await population.more(20, seconds=WAIT_SECONDS)
        # Without the bus each host polls the table every second.
        for user_id, position in [tuple(row) for row in await two.fetch("SELECT user_id, position FROM streams")]:
            for device in population.devices:
                if device.user_id == user_id:
                    await device.reach(position)
        two.bus.start()
        await population.all_good(began, seconds=WAIT_SECONDS)
        await population.rest(seconds=WAIT_SECONDS)
        findings = await judge(population)
    assert findings.faults == {}, str(findings)
    assert two.problems + population.problems == []


async def test_cut_cable_is_detected(two: Hosts) -> None:
    ada, bob = await friends(two)
    async with socket(two.urls[0], ada) as hers, socket(two.urls[1], bob):
        await hers.signal("presence", user_id=bob.user_id, online=True)
        two.hosts[1].cut()
        started = time.monotonic()
        # No traffic: the host behind the cut detects the silent peer, and records it in the table.
        while await online(two, ada):
            assert time.monotonic() - started < SOCKET_TIMEOUT + 10
        assert time.monotonic() - started > 1
        two.hosts[1].mend()
