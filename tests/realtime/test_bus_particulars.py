"""Behaviour that is specific to one transport."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from messenger.bus.messages import DevicesRevoked
from messenger.bus.nats import NatsTransport
from messenger.bus.postgres import APPLICATION_NAME
from messenger.bus.redis import RedisTransport
from messenger.testing.buses import running
from messenger.testing.servers import NatsServer, Proxy, RedisServer, free_port
from tests.realtime.bus_servers import Postgres, bus_database, bus_over, quiet, signal_to, users_of

# Imported so that pytest finds these fixtures.
FIXTURES = (bus_database, quiet)
pytestmark = pytest.mark.usefixtures("quiet")


class TestNatsTransport:
    async def test_first_reachable_server_is_used(self) -> None:
        with NatsServer() as server:
            url = f"nats://127.0.0.1:{free_port()},{server.url}"
            for _ in range(4):
                async with NatsTransport(url, "tests").connect() as link:
                    await link.send("something")

    async def test_payloads_respect_server_maximum(self, tmp_path: Path) -> None:
        config = tmp_path / "nats.conf"
        config.write_text("max_payload: 2000\n")
        with NatsServer(extra=["--config", str(config)]) as server:
            one, two = (bus_over(NatsTransport(server.url, "tests")) for _ in range(2))
            async with running(one, two) as (first, second):
                one.publish(signal_to(2_000))
                await second.until(lambda: len(users_of(second)) == 2_000)
            assert first.reconnects == 0

    async def test_required_tls_is_not_skipped(self) -> None:
        with NatsServer() as server:
            url = server.url.replace("nats:", "tls:")
            with pytest.raises(OSError, match="does not offer TLS"):
                async with NatsTransport(url, "tests").connect():
                    pass

    async def test_missing_publish_permission_is_detected(self, tmp_path: Path) -> None:
        config = tmp_path / "nats.conf"
        rights = "publish: {deny: messenger_tests}"
        config.write_text(f"authorization {{users: [{{user: u, password: hidden, permissions: {{{rights}}}}}]}}\n")
        with NatsServer(extra=["--config", str(config)]) as server:
            url = server.url.replace("//", "//u:hidden@")
            async with NatsTransport(url, "tests").connect() as link:
                with contextlib.suppress(OSError):
                    await link.send("something")
                with pytest.raises(OSError, match=r"(?i)permissions violation"):
                    await anext(aiter(link.payloads()))


class TestRedisTransport:
    async def test_listening_connection_is_kept_alive(self) -> None:
        with RedisServer(extra=["--timeout", "1"]) as server:
            one, two = (bus_over(RedisTransport(server.url, "tests", probe_seconds=0.3)) for _ in range(2))
            async with running(one, two) as (first, second):
                # Redis checks idle connections once a second, and ends those past the timeout.
                await asyncio.sleep(2.5)
                one.publish(DevicesRevoked(1))
                await second.until_heard(DevicesRevoked(1))
            assert (first.reconnects, second.reconnects) == (0, 0)

    async def test_numbered_databases_share_channel(self) -> None:
        with RedisServer() as server:
            one, two = (bus_over(RedisTransport(f"{server.url}/{number}", "tests")) for number in (0, 3))
            async with running(one, two) as (_, second):
                one.publish(DevicesRevoked(1))
                await second.until_heard(DevicesRevoked(1))

    async def test_silent_subscription_is_detected_while_publishing_works(self) -> None:
        with RedisServer() as server:

            async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
                return await asyncio.open_connection(server.host, server.port)

            async with Proxy(dial) as proxy:
                bus = bus_over(RedisTransport(f"redis://127.0.0.1:{proxy.port}", "tests", probe_seconds=0.5))
                async with running(bus) as (listener,):
                    proxy.hold(1)
                    await listener.until(lambda: listener.reconnects == 1, seconds=5)


class TestPostgresTransport:
    async def test_bus_uses_single_named_connection(self, bus_database: Postgres) -> None:
        async with running(bus_over(bus_database.transport()), bus_over(bus_database.transport())):
            rows = await bus_database.sql(
                f"SELECT application_name FROM pg_stat_activity WHERE datname = '{bus_database.name}'"
            )
        assert [row["application_name"] for row in rows] == [APPLICATION_NAME] * 2

    async def test_repeated_and_unusual_payloads_arrive(self, bus_database: Postgres) -> None:
        payloads = ["x" * 50_000, "ä" * 5_000, "x" * 7_900, "x" * 7_901, "1/2:", "'); --", "\\", "😀" * 30_000]
        async with bus_database.transport().connect() as link:
            for payload in payloads:
                await link.send(payload)
            heard = aiter(link.payloads())
            assert [await anext(heard) for _ in payloads] == payloads
