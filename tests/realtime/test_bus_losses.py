"""The bus over its real transports when they are killed, frozen or cut off."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from messenger.bus import transport_common
from messenger.bus.bus import MAX_WAITING, Bus
from messenger.bus.messages import DevicesRevoked, StreamAdvanced
from messenger.bus.nats import NatsTransport
from messenger.testing.buses import running
from messenger.testing.servers import Proxy
from tests.realtime.bus_servers import Server, bus_database, bus_over, bus_server, nothing_more, quiet

# Imported so that pytest finds these fixtures.
FIXTURES = (bus_database, bus_server, quiet)
pytestmark = pytest.mark.usefixtures("quiet")


class TestTransportLoss:
    async def test_killed_server_is_detected_and_found_again(self, bus_server: Server) -> None:
        one, two = bus_over(bus_server.transport()), bus_over(bus_server.transport())
        async with running(one, two) as (first, second):
            await bus_server.kill()
            # Shorter than any keep-alive interval.
            await first.until_connected(False, seconds=3)
            await second.until_connected(False, seconds=3)
            assert (first.reconnects, second.reconnects) == (0, 0)
            await bus_server.restart()
            await first.until_connected()
            await second.until_connected()
            one.publish(DevicesRevoked(1))
            two.publish(DevicesRevoked(2))
            await second.until_heard(DevicesRevoked(1))
            await first.until_heard(DevicesRevoked(2))
        assert (first.reconnects, second.reconnects) == (1, 1)

    async def test_server_killed_under_traffic_is_found_again(self, bus_server: Server) -> None:
        one, two = bus_over(bus_server.transport()), bus_over(bus_server.transport())
        async with running(one, two) as (first, second):
            chatter = asyncio.create_task(chat(one, two))
            await second.until(lambda: len(second.heard) > 200)
            await bus_server.kill()
            await first.until_connected(False)
            await second.until_connected(False)
            await bus_server.restart()
            await first.until_connected()
            await second.until_connected()
            chatter.cancel()
            one.publish(DevicesRevoked(1))
            await second.until_heard(DevicesRevoked(1))
        assert (first.reconnects, second.reconnects) == (1, 1)

    async def test_publishing_while_away_neither_raises_nor_grows_memory(self, bus_server: Server) -> None:
        one, two = bus_over(bus_server.transport()), bus_over(bus_server.transport())
        async with running(one, two) as (first, second):
            await bus_server.kill()
            await first.until_connected(False)
            await second.until_connected(False)
            for user in range(MAX_WAITING + 500):
                one.publish(DevicesRevoked(user))
            assert len(one._waiting) == MAX_WAITING
            assert one.dropped == 500
            await bus_server.restart()
            await first.until_connected()
            await second.until_connected()
            one.publish(DevicesRevoked(-1))
            await second.until_heard(DevicesRevoked(-1))

    async def test_frozen_server_is_detected(self, bus_server: Server) -> None:
        bus = bus_over(bus_server.transport(probe_seconds=0.5))
        async with running(bus) as (listener,):
            await bus_server.freeze()
            await listener.until(lambda: not bus.connected or listener.reconnects > 0, seconds=5)
            await bus_server.thaw()
            await listener.until(lambda: listener.reconnects == 1)
            await listener.until_connected()

    async def test_publishing_to_frozen_server_raises_error(self, bus_server: Server) -> None:
        async with bus_server.transport(probe_seconds=0.5).connect() as link:
            await link.send("before")
            await bus_server.freeze()
            with pytest.raises(OSError, match=r"\w"):
                async with asyncio.timeout(5):
                    await link.send("x" * 100_000)
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < transport_common.CLOSE_SECONDS + 1
        await bus_server.thaw()

    async def test_dead_network_is_detected_and_leaves_no_sockets_or_tasks(self, bus_server: Server) -> None:
        # Tasks of other libraries, such as a browser driver, live as long as the session.
        before = asyncio.all_tasks()
        async with Proxy(bus_server.dial) as proxy:
            transport = bus_server.transport(probe_seconds=0.5, port=proxy.port)
            clock = asyncio.get_running_loop().time
            async with transport.connect() as link:
                await link.send("before")
                proxy.hold()
                # More than the kernel's buffers hold; a NATS payload has at most 1 MiB.
                payloads = ["x" * 500_000] * 20 if isinstance(transport, NatsTransport) else ["x" * 10_000_000]
                async with asyncio.timeout(5):
                    ends = await asyncio.gather(*map(link.send, payloads), return_exceptions=True)
                assert all(isinstance(end, OSError) for end in ends)
                started = clock()
            assert clock() - started < transport_common.CLOSE_SECONDS + 1
            process = psutil.Process()
            async with asyncio.timeout(5):
                while any(end.raddr and end.raddr.port == proxy.port for end in process.net_connections("tcp")):
                    await asyncio.sleep(0.01)
            assert [task for task in asyncio.all_tasks() - before if "/site-packages/" in repr(task)] == []

    async def test_bus_on_dead_network_is_disconnected(self, bus_server: Server) -> None:
        async with Proxy(bus_server.dial) as proxy:
            bus = bus_over(bus_server.transport(probe_seconds=0.5, port=proxy.port))
            async with running(bus) as (listener,):
                proxy.hold()
                await listener.until(lambda: listener.reconnects == 1, seconds=5)

    async def test_connecting_to_stopped_server_fails_at_once(self, bus_server: Server) -> None:
        await bus_server.kill()
        with pytest.raises(OSError, match=r"\w"):
            async with asyncio.timeout(5), bus_server.transport().connect():
                pass

    async def test_lost_connection_stays_closed(self, bus_server: Server) -> None:
        async with bus_server.transport().connect() as link:
            await bus_server.kill()
            for _ in range(2):
                with pytest.raises(OSError, match=r"\w"):
                    await link.send("something")
            await bus_server.restart()
            with pytest.raises(OSError, match=r"\w"):
                await link.send("something")

    async def test_no_connection_and_no_task_is_left(self, bus_server: Server) -> None:
        transport = bus_server.transport()
        process = psutil.Process()
        tasks, files = len(asyncio.all_tasks()), process.num_fds()
        for _ in range(10):
            async with transport.connect() as link:
                await link.send("something")
        await nothing_more(process, tasks, files)


async def chat(*buses: Bus) -> None:
    position = 0
    while True:
        position += 1
        for bus in buses:
            bus.publish(*(StreamAdvanced(user, position) for user in range(20)))
        await asyncio.sleep(0.001)
