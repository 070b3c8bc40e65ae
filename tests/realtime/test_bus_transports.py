"""The bus over its real transports: PostgreSQL, NATS and Redis."""

from __future__ import annotations

import asyncio
import traceback
from urllib.parse import quote
from uuid import uuid4

import pytest

from messenger.bus.messages import BusMessage, DevicesRevoked, SocketOpened, StreamAdvanced
from messenger.testing.buses import running
from tests.realtime.bus_servers import PASSWORD, Server, bus_database, bus_over, bus_server, quiet, signal_to, users_of

# Imported so that pytest finds these fixtures.
FIXTURES = (bus_database, bus_server, quiet)
pytestmark = pytest.mark.usefixtures("quiet")


class TestEachTransport:
    async def test_two_buses_receive_only_messages_of_each_other(self, bus_server: Server) -> None:
        one, two = bus_over(bus_server.transport()), bus_over(bus_server.transport())
        said: list[BusMessage] = [
            StreamAdvanced(7, 3),
            signal_to(2, {"käse": "✓"}),
            SocketOpened(5, uuid4()),
            DevicesRevoked(9),
        ]
        async with running(one, two) as (first, second):
            one.publish(*said)
            await second.until_heard(*said)
            two.publish(StreamAdvanced(8, 1))
            await first.until_heard(StreamAdvanced(8, 1))
        assert second.heard == said
        assert first.heard == [StreamAdvanced(8, 1)]

    async def test_namespaces_are_separate(self, bus_server: Server) -> None:
        names = ["tests", "other", "Other", "odd 'name'; > * .ä", "x" * 200]
        buses = [bus_over(bus_server.transport(name)) for name in names for _ in range(2)]
        async with running(*buses) as listeners:
            for number, bus in enumerate(buses):
                bus.publish(DevicesRevoked(number))
            for number, listener in enumerate(listeners):
                await listener.until_heard(DevicesRevoked(number ^ 1))
            # A bus that receives the last one too early would have received the others as well.
            assert [len(listener.heard) for listener in listeners] == [1] * len(buses)

    async def test_many_messages_arrive_complete(self, bus_server: Server) -> None:
        one, two = bus_over(bus_server.transport()), bus_over(bus_server.transport())
        news = [StreamAdvanced(10_000_000 + user, 1_000_000) for user in range(700)]
        async with running(one, two) as (_, second):
            one.publish(*news, signal_to(2_000), signal_to(15_000, "ä€😀" * 3_000))
            await second.until(lambda: len(users_of(second)) == 17_000)
        assert [message for message in second.heard if isinstance(message, StreamAdvanced)] == news
        assert users_of(second)[:2_000] == list(signal_to(2_000).users)
        assert users_of(second)[2_000:] == list(signal_to(15_000).users)
        assert one.dropped == 0

    async def test_largest_call_signal_arrives(self, bus_server: Server) -> None:
        one, two = bus_over(bus_server.transport()), bus_over(bus_server.transport())
        said = [signal_to(1, {"payload": letter * (64 * 1024 // len(letter.encode()))}) for letter in ("x", "ä", "😀")]
        async with running(one, two) as (_, second):
            one.publish(*said)
            await second.until_heard(*said)

    async def test_many_buses_publish_concurrently(self, bus_server: Server) -> None:
        async with bus_server.transport(probe_seconds=1).connect() as link:
            await asyncio.gather(*(link.send(f"{number}") for number in range(300)))
            heard = aiter(link.payloads())
            async with asyncio.timeout(10):
                assert {await anext(heard) for _ in range(300)} == {f"{number}" for number in range(300)}

    async def test_message_of_finished_process_arrives(self, bus_server: Server) -> None:
        speaker = bus_over(bus_server.transport())
        async with running(bus_over(bus_server.transport())) as (other,):
            speaker.publish(DevicesRevoked(1))
            await speaker.flush()
            await other.until_heard(DevicesRevoked(1))

    async def test_malformed_payload_on_transport_is_ignored(self, bus_server: Server) -> None:
        speaker = bus_over(bus_server.transport())
        async with (
            bus_server.transport().connect() as link,
            running(speaker, bus_over(bus_server.transport())) as (_, other),
        ):
            for junk in ("", "junk", "1/2:half", "2/2:half", "7/7:", "💥" * 3_000):
                await link.send(junk)
            speaker.publish(DevicesRevoked(1))
            await other.until_heard(DevicesRevoked(1))
        assert other.reconnects == 0

    async def test_refused_password_is_not_revealed(self, bus_server: Server) -> None:
        wrong = "wr/ng:s@cret"
        with pytest.raises(OSError, match=r"(?i)auth|password") as raised:
            async with bus_server.transport(password=wrong).connect():
                pass
        text = "".join(traceback.format_exception(raised.value))
        assert not any(secret in text for secret in (wrong, quote(wrong, safe=""), "s@cret", PASSWORD))
