"""Sockets that end: signed out, replaced, silent, stalled, flooding; and what is detected without a hint."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.config import Settings
from messenger.container import Container
from messenger.errors import RefreshTokenReused
from messenger.realtime import upkeep
from messenger.realtime.frames import JSON
from messenger.realtime.interfaces import SocketRef
from messenger.testing import Factory
from messenger.testing.connections import HeldConnection
from messenger.web import sockets
from tests.support.served import serving
from tests.support.sockets import Realtime


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short heartbeat interval."""
    monkeypatch.setattr(upkeep, "_CHECK_SECONDS", 0.01)


class TestSignedOutSocket:
    async def test_logout_closes_socket(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada = await people.person()
        async with realtime.wire(ada) as wire:
            await hosted.services.devices.logout(ada.actor)
            assert await wire.closed() == (4401, "signed out")
            assert [frame["event"] for frame in wire.frames if frame["type"] == "event"] == []

    async def test_other_device_stays_connected_and_is_notified(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        phone = await people.device(ada)
        async with realtime.wire(ada) as wire, realtime.wire(phone) as other:
            await hosted.services.devices.sign_out(ada.actor, phone.actor.device_id)
            assert (await other.closed())[0] == 4401
            assert (await wire.event("device.removed"))["id"] == str(phone.actor.device_id)
            assert (await wire.ask("ping"))["data"] is None

    async def test_password_change_closes_other_sockets(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        phone = await people.device(ada)
        async with realtime.wire(ada) as wire, realtime.wire(phone) as other:
            await hosted.services.accounts.change_password(ada.actor, ada.password, "harbor-violet-candle-41")
            assert (await other.closed())[0] == 4401
            await wire.event("device.removed")

    async def test_erasure_closes_sockets(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada = await people.person()
        async with realtime.wire(ada) as wire:
            await hosted.services.accounts.erase(ada.actor, ada.password)
            assert (await wire.closed())[0] == 4401

    async def test_reused_refresh_token_closes_socket(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        first = await hosted.services.devices.refresh(ada.refresh_token, address="x")
        await hosted.services.devices.refresh(first.tokens.refresh_token, address="x")
        async with hosted.engine.begin() as connection:
            earlier = "UPDATE refresh_tokens SET used_at = used_at - interval '5 minutes' WHERE device_id = "
            await connection.exec_driver_sql(f"{earlier}'{ada.actor.device_id}'")
        ticket = await hosted.services.streams.issue_ticket(ada.actor)
        async with realtime.wire(query=f"?ticket={ticket.ticket}") as wire:
            with pytest.raises(RefreshTokenReused):
                await hosted.services.devices.refresh(ada.refresh_token, address="x")
            assert (await wire.closed())[0] == 4401

    async def test_sign_out_is_detected_without_hint(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        async with realtime.wire(ada) as wire:
            async with hosted.engine.begin() as connection:
                await connection.exec_driver_sql(f"DELETE FROM devices WHERE id = '{ada.actor.device_id}'")
            hosted.realtime.upkeep.suspect(None)
            assert (await wire.closed())[0] == 4401


class TestReplacedSocket:
    async def test_newer_socket_of_device_closes_older_socket(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        async with realtime.wire(ada) as older, realtime.wire(ada) as newer:
            assert await older.closed() == (4409, "connected elsewhere")
            assert (await newer.ask("ping"))["data"] is None

    async def test_replaced_socket_keeps_user_online(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(bob) as his, realtime.wire(ada) as older:
            await his.signal("presence", online=True)
            async with realtime.wire(ada):
                await older.closed()
                await hosted.realtime.presence._pass()
                statuses = await hosted.services.contacts.statuses(bob.actor)
                assert statuses.items[0].online
                assert [f for f in await his.settled() if f["type"] == "signal"] == []

    async def test_newer_socket_on_other_worker_closes_older_socket(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        async with realtime.wire(ada) as wire:
            await hosted.realtime.presence._pass()
            await hosted.services.presence.write(uuid4(), [SocketRef(ada.actor, 2**40)], [])
            hosted.realtime.upkeep.suspect(ada.id)
            assert (await wire.closed())[0] == 4409

    async def test_connection_row_lost_in_crash_is_rewritten(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(ada), realtime.wire(bob) as his:
            await hosted.realtime.presence._pass()
            async with hosted.engine.begin() as connection:
                await connection.exec_driver_sql("DELETE FROM connections")
            hosted.realtime.upkeep.suspect(None)
            await his.signal("presence", user_id=ada.id, online=True)


class TestMissedEvents:
    @pytest_asyncio.fixture(loop_scope="session")
    async def deaf(self, engine: AsyncEngine, settings: Settings) -> AsyncIterator[Container]:
        """Another worker, whose announcements are not received."""
        container = Container(settings, engine=engine)
        yield container
        await container.close()

    @pytest.mark.parametrize("cause", ["doubt", "the bus is lost", "time"])
    async def test_unannounced_event_is_found(
        self,
        realtime: Realtime,
        people: Factory,
        hosted: Container,
        deaf: Container,
        monkeypatch: pytest.MonkeyPatch,
        cause: str,
    ) -> None:
        ada, bob = await people.friends()
        if cause == "time":
            monkeypatch.setattr(upkeep, "RECONCILE_SECONDS", 0.05)
        async with realtime.wire(bob) as wire:
            await Factory(deaf).message(ada, bob, "Unheard")
            if cause == "doubt":
                hosted.realtime.upkeep.suspect(None)
            elif cause == "the bus is lost":
                hosted.hub.on_disconnect()
            else:
                # The poll under way still uses its old interval.
                hosted.realtime.upkeep.suspect(ada.id)
            assert (await wire.event("message.created"))["body"] == "Unheard"


class TestHeartbeat:
    async def test_silent_peer_is_closed_and_responsive_peer_is_not(
        self, beats: None, settings: Settings, engine: AsyncEngine
    ) -> None:
        async with _quick(settings, engine) as (container, realtime):
            people = Factory(container)
            ada, bob = await people.people(2)
            async with realtime.wire(ada) as alive, realtime.wire(bob) as silent:
                # A connected peer that answers nothing, not even pings.
                silent.connection.protocol.receive_data = lambda data: None  # type: ignore[method-assign]
                async with asyncio.timeout(10):
                    while bob.actor.device_id in container.hub.sockets:
                        await asyncio.sleep(0.01)
                assert ada.actor.device_id in container.hub.sockets
                assert (await alive.ask("ping"))["data"] is None

    async def test_silent_peer_gets_close_frame_without_waiting(
        self, beats: None, settings: Settings, engine: AsyncEngine
    ) -> None:
        async with _quick(settings, engine) as (container, realtime):
            bob = await Factory(container).person()
            async with realtime.wire(bob) as silent:
                silent_since = asyncio.get_running_loop().create_future()

                def note(data: bytes | bytearray) -> None:
                    # The close frame, hidden from the library, which would answer it.
                    if b"silent" in data and not silent_since.done():
                        silent_since.set_result(asyncio.get_running_loop().time())

                silent.connection.protocol.receive_data = note  # type: ignore[method-assign]
                async with asyncio.timeout(10):
                    at = await silent_since
                    await silent.connection.wait_closed()
                assert 0.5 < asyncio.get_running_loop().time() - at < 3

    async def test_stalled_peer_is_aborted(self, hosted: Container, people: Factory) -> None:
        ada = await people.person()
        connection = HeldConnection()
        socket = hosted.realtime.socket(ada.actor, 1, connection, JSON, after=0)
        with hosted.realtime.connected(socket, latest=0):
            connection.hold()
            assert connection.stalled_since is not None
            hosted.realtime.upkeep._check_heartbeat(socket, connection.stalled_since + 29)
            assert not connection.closed
            hosted.realtime.upkeep._check_heartbeat(socket, connection.stalled_since + 31)
            assert connection.close_code == 1006

    async def test_pings_are_spread_over_interval(self, hosted: Container, people: Factory) -> None:
        ada = await people.person()
        connection = HeldConnection()
        socket = hosted.realtime.socket(ada.actor, 1, connection, JSON, after=0)
        now = connection.last_received
        hosted.realtime.upkeep._check_heartbeat(socket, now)
        assert now < socket.ping_at <= now + 30
        hosted.realtime.upkeep._check_heartbeat(socket, socket.ping_at)
        assert connection.asked == [b""]


@contextlib.asynccontextmanager
async def _quick(settings: Settings, engine: AsyncEngine) -> AsyncIterator[tuple[Container, Realtime]]:
    """A server whose sockets time out after three seconds."""
    container = Container(msgspec.structs.replace(settings, socket_timeout=3.0), engine=engine)
    async with container.realtime.running(), serving(container) as (_, port):
        yield container, Realtime(port)
    await container.close()


class TestFloodingSocket:
    async def test_flooding_socket_is_closed(
        self, people: Factory, settings: Settings, engine: AsyncEngine, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(sockets, "BURST", 20.0)
        container = Container(msgspec.structs.replace(settings, rate_limits="on"), engine=engine)
        ada = await people.person()
        async with (
            container.realtime.running(),
            serving(container) as (_, port),
            Realtime(port).wire(ada) as wire,
        ):
            for number in range(60):
                await wire.send({"type": "request", "id": number, "method": "ping"})
            assert (await wire.closed())[0] == 4429
        await container.close()


class TestDrainingServer:
    async def test_draining_server_asks_sockets_to_return_later(
        self, people: Factory, settings: Settings, engine: AsyncEngine
    ) -> None:
        container = Container(settings, engine=engine)
        ada, bob = await people.friends()
        async with (
            container.realtime.running(),
            serving(container) as (server, port),
            Realtime(port).wire(ada) as hers,
            Realtime(port).wire(bob) as his,
        ):
            await hers.signal("presence", user_id=bob.id, online=True)
            container.drain()
            server.should_exit = True
            closes = [await hers.closed(), await his.closed()]
            assert [code for code, _ in closes] == [1012, 1012]
            waits = [float(reason.removeprefix("retry_after=")) for _, reason in closes]
            assert all(0 <= wait <= 30 for wait in waits)
        # The sockets reconnect to another worker within seconds, so no contact is notified of a change.
        assert (await container.services.contacts.statuses(bob.actor)).items[0].online
        await container.close()
