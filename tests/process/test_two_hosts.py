"""Two hosts on one database, woken by NATS or Redis; the bus dies and comes back, a cable is cut."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from messenger import migrations
from messenger.embedded import EmbeddedPostgres
from messenger.testing.hosts import Host, network
from messenger.testing.servers import NatsServer, RedisServer, ServerProcess
from tests.process.load import Device, Load
from tests.process.server import environment
from tests.realtime._wire import Realtime, Wire

START_SECONDS = 30.0
PORT = 8000
SOCKET_TIMEOUT = 6
SECRET = "one secret for all hosts of this installation"


class Hosts:
    """Two servers, each in a network of its own, and their bus."""

    def __init__(self, hosts: list[Host], bus: ServerProcess) -> None:
        self.hosts = hosts
        self.bus = bus
        self.urls = [f"http://{host.address}:{PORT}" for host in hosts]


@pytest.fixture(params=[NatsServer, RedisServer], ids=["nats", "redis"])
def two(request: pytest.FixtureRequest) -> Iterator[Hosts]:
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(network(2))
        folder = Path(tempfile.mkdtemp(prefix="messenger-hosts-", dir="/dev/shm"))
        folder.chmod(0o711)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Reached through its file system socket, which is no part of a network namespace; the bus is.
        database = stack.enter_context(EmbeddedPostgres(folder / "postgres", durable=False))
        url = database.start()
        migrations.upgrade(url)
        bus = stack.enter_context(request.param(net.address, password="between hosts"))
        for number, host in enumerate(net.hosts):
            stack.enter_context(_serving(host, folder / f"host-{number}", url, bus.url))
        yield Hosts(list(net.hosts), bus)


@contextlib.contextmanager
def _serving(host: Host, folder: Path, database_url: str, bus_url: str) -> Iterator[None]:
    folder.mkdir()
    settings = {
        "host": host.address,
        "port": PORT,
        "database_url": database_url,
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
async def socket(url: str, device: Device) -> AsyncIterator[Wire]:
    realtime = Realtime(0)
    realtime.url = url.replace("http", "ws", 1) + "/ws"
    async with realtime.wire(headers=device.headers) as wire:
        yield wire


async def online(load: Load, viewer: Device) -> bool:
    async with httpx.AsyncClient() as http:
        items = (await http.get(f"{load.urls[0]}/statuses", headers=viewer.headers)).json()["items"]
    return bool(items[0]["online"])


async def test_hosts_are_one_server(two: Hosts) -> None:
    async with Load(two.urls) as load:
        await load.meet(1)
        ada, bob = load.pairs[0]
        async with socket(two.urls[0], ada) as hers, socket(two.urls[1], bob) as his:
            await hers.ask("message.send", target_id=bob.user_id, client_id="x", body="Across")
            assert (await his.event("message.created"))["body"] == "Across"
            assert (await hers.event("receipt.updated", user_id=bob.user_id))["delivered_seq"] == 1
            await his.ask("typing", target_id=ada.user_id)
            assert (await hers.signal("typing"))["user_id"] == bob.user_id
            await his.ask("presence.set", status="busy")
            await hers.signal("presence", user_id=bob.user_id, status="busy")
            # Signed out on one host, closed on the other within a second.
            started = time.monotonic()
            async with httpx.AsyncClient() as http:
                await http.post(f"{two.urls[0]}/logout", headers=bob.headers)
            assert (await his.closed())[0] == 4401
            assert time.monotonic() - started < 1
            await hers.signal("presence", user_id=bob.user_id, online=False)


async def test_bus_that_dies_costs_a_delay_and_no_event(two: Hosts) -> None:
    async with Load(two.urls) as load:
        await load.meet(2)
        load.start()
        await load.more(20)
        two.bus.kill()
        await load.more(20)
        # Without the bus each host looks at the table every second.
        for device in load.devices:
            await device.until(device.cursor)
        two.bus.start()
        await load.more(20)
        findings = await load.settle()
    assert findings.faults == {}, str(findings)


async def test_cut_cable_is_found(two: Hosts) -> None:
    async with Load(two.urls) as load:
        await load.meet(1)
        ada, bob = load.pairs[0]
        async with socket(two.urls[0], ada) as hers, socket(two.urls[1], bob):
            await hers.signal("presence", user_id=bob.user_id, online=True)
            two.hosts[1].cut()
            started = time.monotonic()
            # Nobody says a word: the host behind the cut finds its peer silent, and says so in the table.
            while await online(load, ada):
                assert time.monotonic() - started < SOCKET_TIMEOUT + 10
            assert time.monotonic() - started > 1
            two.hosts[1].mend()
