"""One socket per device: the newer one stays, in whatever order they are registered; polls miss no event."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from messenger.actor import Actor
from messenger.bus.bus import Bus
from messenger.container import Container
from messenger.realtime.delivery_acks import DeliveryAcks
from messenger.realtime.frames import JSON, REPLACED
from messenger.realtime.hub import Hub
from messenger.realtime.interfaces import SocketRef
from messenger.realtime.presence import PresenceTracker
from messenger.realtime.socket import Socket
from messenger.services import _events
from messenger.services import sync as sync_module
from messenger.testing import Factory, Person
from messenger.testing.connections import HeldConnection
from tests.realtime.test_socket import Table

ADA = Actor(1, uuid4())


class Sockets:
    """A hub, and numbered sockets of one device."""

    def __init__(self) -> None:
        self.hub = Hub(Bus(uuid4()))
        self.table = Table()

    def socket(self, number: int) -> Socket:
        return Socket(ADA, number, HeldConnection(), JSON, self.table, DeliveryAcks(self.table), after=0)

    @property
    def current(self) -> int | None:
        socket = self.hub.sockets.get(ADA.device_id)
        return None if socket is None else socket.generation


def close_code(socket: Socket) -> int | None:
    connection: Any = socket.connection
    return connection.close_code if connection.closed else None


class TestHubReplacement:
    @pytest.mark.parametrize("order", [(1, 2), (2, 1)])
    async def test_newer_socket_stays_in_either_order(self, order: tuple[int, int]) -> None:
        sockets = Sockets()
        made = {number: sockets.socket(number) for number in order}
        accepted = {number: sockets.hub.connect(made[number], latest=0) for number in order}
        assert sockets.current == 2
        assert (close_code(made[1]), close_code(made[2])) == (REPLACED, None)
        assert accepted == {2: True, 1: order == (1, 2)}
        made[2].close(1000)

    async def test_closing_older_socket_keeps_newer_socket(self) -> None:
        sockets = Sockets()
        older, newer = sockets.socket(1), sockets.socket(2)
        for socket in (older, newer):
            sockets.hub.connect(socket, latest=0)
        sockets.hub.disconnect(older)
        assert sockets.current == 2
        assert newer.channel is not None
        sockets.hub.disconnect(newer)
        assert sockets.current is None
        newer.close(1000)


class _Presences:
    """Records what a presence board writes."""

    def __init__(self) -> None:
        self.written: list[tuple[list[int], list[int]]] = []

    async def write(self, worker_id: UUID, connected: Any, disconnected: Any) -> list[int]:
        self.written.append(([each.generation for each in connected], [each.generation for each in disconnected]))
        return []

    async def describe(self, users: Any) -> dict[int, Any]:
        return {}

    async def renew(self, worker_id: UUID) -> list[int]:
        return []


class TestBoardReplacement:
    @pytest.mark.parametrize("order", [(1, 2), (2, 1)])
    async def test_newer_socket_is_written_in_either_order(self, order: tuple[int, int]) -> None:
        presences = _Presences()
        board = PresenceTracker(uuid4(), presences, lambda *_: None)
        for number in order:
            board.connected(SocketRef(ADA, number))
        await board._pass()
        assert presences.written == [([2], [])]

    async def test_leaving_older_socket_does_not_prevent_writing_newer_socket(self) -> None:
        presences = _Presences()
        board = PresenceTracker(uuid4(), presences, lambda *_: None)
        board.connected(SocketRef(ADA, 2))
        board.disconnected(SocketRef(ADA, 1))
        await board._pass()
        assert presences.written == [([2], [])]

    async def test_socket_leaving_at_once_is_not_written(self) -> None:
        presences = _Presences()
        board = PresenceTracker(uuid4(), presences, lambda *_: None)
        board.connected(SocketRef(ADA, 1))
        board.disconnected(SocketRef(ADA, 1))
        await board._pass()
        assert presences.written == [([], [1])]


async def row(hosted: Container, person: Person) -> tuple[UUID, int] | None:
    """The worker and the number in a device's row."""
    async with hosted.engine.connect() as connection:
        found = await connection.exec_driver_sql(
            f"SELECT worker_id, number FROM connections WHERE device_id = '{person.actor.device_id}'"
        )
        first = found.first()
    return None if first is None else (first.worker_id, first.number)


class TestTableReplacement:
    @pytest.mark.parametrize("order", [(1, 2), (2, 1)])
    async def test_newer_socket_owns_row_in_either_write_order(
        self, people: Factory, hosted: Container, order: tuple[int, int]
    ) -> None:
        ada = await people.person()
        workers = {number: uuid4() for number in order}
        for number in order:
            await hosted.services.presence.renew(workers[number])
            await hosted.services.presence.write(workers[number], [SocketRef(ada.actor, number)], [])
        assert await row(hosted, ada) == (workers[2], 2)

    async def test_leaving_older_socket_keeps_row_of_newer_socket(self, people: Factory, hosted: Container) -> None:
        ada = await people.person()
        older, newer = uuid4(), uuid4()
        for worker, number in ((older, 1), (newer, 2)):
            await hosted.services.presence.renew(worker)
            await hosted.services.presence.write(worker, [SocketRef(ada.actor, number)], [])
        turned = await hosted.services.presence.write(older, [], [SocketRef(ada.actor, 1)])
        assert (turned, await row(hosted, ada)) == ([], (newer, 2))
        turned = await hosted.services.presence.write(newer, [], [SocketRef(ada.actor, 2)])
        assert (turned, await row(hosted, ada)) == ([ada.id], None)


class TestConcurrentPolls:
    @pytest.mark.parametrize("reads", [1, 2])
    async def test_event_committed_between_reads_ends_poll(
        self, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch, reads: int
    ) -> None:
        # Without the loop that polls the table, which would compensate.
        ada, bob = await make.friends()
        cursor = (await container.services.sync.sync(bob.actor, cursor=None, limit=1)).cursor
        read_page, count = _events.read_page, 0

        async def read_and_commit(*args: Any, **options: Any) -> Any:
            nonlocal count
            found = await read_page(*args, **options)
            count += 1
            if count == reads:
                # Only existing listeners are notified.
                await make.message(ada, bob, "Hello")
            return found

        monkeypatch.setattr(sync_module, "read_page", read_and_commit)
        async with asyncio.timeout(5):
            page = await container.services.sync.sync(bob.actor, cursor=cursor, limit=10, wait=30)
        assert [event.event for event in page.events] == ["message.created"]
