"""The bus between hosts: a network namespace each, and the server beside them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from messenger.testing.hosts import Host, Network, network
from messenger.testing.servers import NatsServer, RedisServer, ServerProcess

PEER = Path(__file__).with_name("bus_peer.py")


class Peer:
    """A process on a host, and its output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines_read: list[str] = []
        self._process = process
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def say(self, number: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"say {number}\n".encode())
        await self._process.stdin.drain()

    async def until(self, *lines: str, seconds: float = 20) -> None:
        """Wait until the last lines of its output are these, in this order."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(
                    lambda: [line for line in self.lines_read if line in lines][-len(lines) :] == list(lines)
                )
        except TimeoutError:
            pytest.fail(f"waited for {lines} in vain: {self.lines_read}")

    async def end(self) -> str:
        """End it; return its error output."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                errors = await self._process.stderr.read()
                await self._process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._reading
        return errors.decode()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._changed:
                self.lines_read.append(line.decode().strip())
                self._changed.notify_all()


@pytest.fixture(scope="module")
def hosts() -> Iterator[Network]:
    with network(2) as made:
        yield made


@pytest.fixture(params=[NatsServer, RedisServer], ids=["nats", "redis"])
def server(request: pytest.FixtureRequest, hosts: Network) -> Iterator[ServerProcess]:
    with request.param(hosts.address, password="between hosts") as server:
        yield server


@contextlib.asynccontextmanager
async def peers(hosts: Network, server: ServerProcess, *, probe_seconds: float = 5) -> AsyncIterator[list[Peer]]:
    async def start(host: Host) -> Peer:
        url = server.url.replace("between hosts", "between%20hosts")
        command = host.command([sys.executable, str(PEER), url, str(probe_seconds)])
        pipe = asyncio.subprocess.PIPE
        return Peer(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe))

    started = [await start(host) for host in hosts.hosts]
    try:
        for peer in started:
            await peer.until("up")
        yield started
    finally:
        errors = [await peer.end() for peer in started]
        # One line for each outage of the bus, and none from the libraries.
        assert [
            line for text in errors for line in text.splitlines() if not line.startswith("the bus is disconnected: ")
        ] == []


async def talk(one: Peer, two: Peer, number: int) -> None:
    await one.say(number)
    await two.until(f"heard {number}")
    await two.say(number + 1)
    await one.until(f"heard {number + 1}")


class TestHosts:
    async def test_killed_server_is_found_again_by_both_hosts(self, hosts: Network, server: ServerProcess) -> None:
        async with peers(hosts, server) as (one, two):
            await talk(one, two, 1)
            server.kill()
            await one.until("up", "down")
            await two.until("up", "down")
            server.start()
            await one.until("down", "back", "up")
            await two.until("down", "back", "up")
            await talk(one, two, 3)
        assert one.lines_read == ["up", "heard 2", "down", "back", "up", "heard 4"]
        assert two.lines_read == ["up", "heard 1", "down", "back", "up", "heard 3"]

    async def test_cut_cable_is_detected_by_affected_host(self, hosts: Network, server: ServerProcess) -> None:
        async with peers(hosts, server, probe_seconds=1) as (one, two):
            await talk(one, two, 1)
            hosts.hosts[0].cut()
            try:
                await one.until("up", "down", seconds=5)
                await one.say(3)
            finally:
                hosts.hosts[0].mend()
            await one.until("down", "back", "up")
            await talk(one, two, 5)
        assert one.lines_read == ["up", "heard 2", "down", "back", "up", "heard 6"]
        # What was published behind the cut cable waited there.
        assert two.lines_read == ["up", "heard 1", "heard 3", "heard 5"]
