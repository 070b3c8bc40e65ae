"""One socket under pressure: order, gaps, bounds, delivery proofs; over a stream that tests write themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from messenger.actor import Actor
from messenger.errors import DatabaseUnavailable, Unauthenticated
from messenger.events import WakeUp
from messenger.realtime.catch_up_window import fit_bytes
from messenger.realtime.channel import Channel
from messenger.realtime.delivery_acks import DeliveryAcks
from messenger.realtime.frames import JSON, Broadcast, SignalFrame
from messenger.realtime.interfaces import DeliveryAck, Handshake, SocketAudit, SocketRef, StreamEvent, StreamPage
from messenger.realtime.socket import MAX_QUEUED, MAX_QUEUED_BYTES, Socket
from messenger.schemas.realtime import EventFrame, RemovedDeviceView, stream_cursor
from messenger.testing.connections import HeldConnection

ADA = Actor(1, uuid4())


def event(position: int, data: Any = None, *, name: str = "x", incoming: bool = False) -> StreamEvent:
    return StreamEvent(position, EventFrame(stream_cursor(position), name, "", data), incoming)


class Table:
    """A stream in memory that can fail like a database."""

    def __init__(self, count: int = 0) -> None:
        self.events = [event(n) for n in range(1, count + 1)]
        self.reads = 0
        self.limits: list[int] = []
        self.faults: list[Exception] = []
        self.kept_from = 1
        self.acks: list[DeliveryAck] = []
        self.take_faults: list[Exception] = []
        self.on_read: Any = None

    def add(self, count: int = 1, **options: Any) -> StreamEvent:
        for _ in range(count):
            self.events.append(event(len(self.events) + 1, **options))
        return self.events[-1]

    async def read_page(self, actor: Actor, *, after: int, limit: int) -> StreamPage:
        self.reads += 1
        self.limits.append(limit)
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        if after + 1 < self.kept_from or after > len(self.events):
            return StreamPage([], len(self.events), len(self.events), 0, lost=True)
        page = self.events[after : after + limit]
        head = len(self.events)
        if self.on_read is not None:
            self.on_read()
        return StreamPage(page, after + len(page), head, 0)

    async def open_socket(self, caller: Any, ticket: str | None = None) -> Handshake:
        return Handshake(ADA, len(self.events), 0, "", 1)

    async def record_delivered(self, acks: Sequence[DeliveryAck]) -> None:
        if self.take_faults:
            raise self.take_faults.pop()
        self.acks.extend(acks)

    async def reconcile(self, sockets: Sequence[SocketRef], waiting: Sequence[int]) -> SocketAudit:
        return SocketAudit({}, None, set(), set(), set())


class Rig:
    """A socket on a held connection, in a channel of its own."""

    def __init__(self, table: Table, *, after: int = 0, latest: int | None = None, pings: bool = True) -> None:
        self.table = table
        self.connection = HeldConnection(pings=pings)
        self.acks = DeliveryAcks(table)
        self.channel = Channel(ADA.user_id)
        self.socket = Socket(ADA, 1, self.connection, JSON, table, self.acks, after=after)
        self.channel.join(self.socket, latest=len(table.events) if latest is None else latest)

    @property
    def positions(self) -> list[int]:
        return [int(f["cursor"][1:]) for f in self.connection.frames if f["type"] == "event"]

    @property
    def kinds(self) -> list[str]:
        return [frame["type"] for frame in self.connection.frames]

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    async def go_live(self) -> None:
        self.socket.start()
        await self.until(lambda: self.socket.live)

    def commit(self, *, visible: bool = True, **options: Any) -> StreamEvent:
        """Append an event, announced by this process or by another one."""
        made = self.table.add(**options)
        data = RemovedDeviceView(uuid4()) if visible else None
        self.channel.on_wake_up(WakeUp(ADA.user_id, made.position, "x", data))
        return made

    def hand(self, *, incoming: bool) -> None:
        """Append an event that the channel passes on directly."""
        self.channel._dispatch(self.table.add(incoming=incoming))


class TestCatchingUp:
    async def test_catch_up_reads_consecutive_pages(self) -> None:
        rig = Rig(Table(350))
        await rig.go_live()
        assert rig.positions == list(range(1, 351))
        assert rig.kinds[-1] == "caught_up"

    async def test_events_committed_during_catch_up_are_sent_once(self) -> None:
        rig = Rig(Table(150))

        def meanwhile() -> None:
            if len(rig.table.events) < 400:
                rig.commit()

        rig.table.on_read = meanwhile
        await rig.go_live()
        for _ in range(20):
            rig.commit()
        assert rig.positions == list(range(1, len(rig.table.events) + 1))

    async def test_hint_beyond_stream_does_not_spin(self) -> None:
        rig = Rig(Table(3), latest=1000)
        await rig.go_live()
        assert (rig.positions, rig.table.reads) == ([1, 2, 3], 2)
        rig.commit()
        assert rig.positions == [1, 2, 3, 4]

    async def test_catch_up_waits_for_unavailable_database(self) -> None:
        rig = Rig(Table(3))
        rig.table.faults = [DatabaseUnavailable()]
        await rig.go_live()
        assert (rig.positions, rig.connection.closed) == ([1, 2, 3], False)

    async def test_socket_of_signed_out_device_is_closed(self) -> None:
        rig = Rig(Table(3))
        rig.table.faults = [Unauthenticated()]
        rig.socket.start()
        await rig.until(lambda: rig.connection.closed)
        assert (rig.connection.close_code, rig.positions) == (4401, [])

    async def test_server_error_closes_with_1011(self, caplog: pytest.LogCaptureFixture) -> None:
        rig = Rig(Table(3))
        rig.table.faults = [ZeroDivisionError()]
        rig.socket.start()
        await rig.until(lambda: rig.connection.closed)
        assert (rig.connection.close_code, "a socket failed" in caplog.text) == (1011, True)

    async def test_peer_not_reading_is_not_written_to(self) -> None:
        rig = Rig(Table(100))
        rig.connection.hold()
        rig.socket.start()
        for _ in range(50):
            await asyncio.sleep(0)
        assert (rig.connection.written, rig.table.reads) == ([], 0)
        rig.connection.let_go()
        await rig.until(lambda: rig.socket.live)
        assert rig.positions == list(range(1, 101))


class TestLiveSocket:
    async def test_event_of_same_process_costs_no_read(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        reads = rig.table.reads
        for _ in range(10):
            rig.commit()
        assert (rig.positions[-10:], rig.table.reads) == (list(range(4, 14)), reads)

    async def test_hinted_event_is_read_once_for_all_sockets(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        other = HeldConnection()
        second = Socket(ADA, 1, other, JSON, rig.table, rig.acks, after=3)
        rig.channel.join(second, latest=3)
        second.start()
        await rig.until(lambda: second.live)
        reads = rig.table.reads
        rig.commit(visible=False)
        await rig.until(lambda: rig.positions == [1, 2, 3, 4])
        assert [f["cursor"] for f in other.frames if f["type"] == "event"] == ["e4"]
        assert rig.table.reads == reads + 1
        # The same bytes: encoded once.
        assert other.written[-1] is rig.connection.written[-1]

    async def test_out_of_order_events_are_sent_in_order(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        rig.table.add(3)
        for position in (6, 4, 5):
            rig.channel.on_wake_up(WakeUp(ADA.user_id, position, "x", RemovedDeviceView(uuid4())))
        await rig.until(lambda: len(rig.positions) == 6)
        assert rig.positions == [1, 2, 3, 4, 5, 6]

    async def test_repeated_events_are_sent_once(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        rig.commit()
        rig.channel.on_wake_up(WakeUp(ADA.user_id, 4, "x", RemovedDeviceView(uuid4())))
        rig.channel.on_hint(4)
        await asyncio.sleep(0)
        assert rig.positions == [1, 2, 3, 4]

    async def test_removed_device_receives_no_more_events(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        rig.table.add(data=RemovedDeviceView(ADA.device_id), name="device.removed")
        rig.channel.on_hint(4)
        await rig.until(lambda: rig.connection.closed)
        assert (rig.connection.close_code, rig.positions) == (4401, [1, 2, 3])

    async def test_sweep_during_live_stream_sends_resync(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        rig.table.add(5)
        rig.table.kept_from = 7
        rig.channel.on_hint(8)
        await rig.until(lambda: "resync" in rig.kinds and rig.socket.live)
        rig.commit()
        assert rig.positions == [1, 2, 3, 9]


class TestSocketBounds:
    async def test_slow_peer_holds_bounded_queue(self) -> None:
        rig = Rig(Table(1))
        await rig.go_live()
        rig.connection.hold()
        for _ in range(MAX_QUEUED * 3):
            rig.commit()
        await asyncio.sleep(0)
        assert rig.positions == [1]
        assert len(rig.socket._queue) <= MAX_QUEUED
        rig.connection.let_go()
        await rig.until(lambda: rig.socket.live and rig.socket.position == len(rig.table.events))
        assert rig.positions == list(range(1, len(rig.table.events) + 1))
        assert rig.kinds.count("caught_up") == 2

    async def test_queued_bytes_are_bounded(self) -> None:
        rig = Rig(Table(1))
        await rig.go_live()
        rig.connection.hold()
        large = Broadcast(EventFrame("e2", "x", "", "y" * (MAX_QUEUED_BYTES // 4)))
        for position in range(2, 10):
            rig.table.add()
            rig.socket.offer_event(event(position), large)
        assert rig.socket._queued_bytes <= MAX_QUEUED_BYTES
        assert not rig.socket.live

    async def test_queued_bytes_are_accounted(self) -> None:
        rig = Rig(Table(1))
        await rig.go_live()
        assert rig.connection.waiting == 0
        rig.connection.hold()
        large = Broadcast(EventFrame("e2", "x", "", "y" * 10_000))
        for position in (2, 3):
            rig.table.add()
            rig.socket.offer_event(event(position), large)
        assert rig.connection.waiting == rig.socket._queued_bytes > 20_000
        rig.connection.let_go()
        await rig.until(lambda: rig.socket.position == 3)
        assert rig.connection.waiting == 0

    async def test_queued_page_is_accounted(self) -> None:
        table = Table()
        table.add(5, data="y" * 10_000)
        rig = Rig(table)
        await rig.go_live()
        assert rig.connection.most_waiting > 50_000
        assert rig.connection.waiting == 0

    async def test_page_of_long_messages_is_held_in_parts(self) -> None:
        table = Table()
        table.add(40, data="y" * (MAX_QUEUED_BYTES // 10))
        rig = Rig(table)
        await rig.go_live()
        assert rig.positions == list(range(1, 41))
        # A page determines how many fit; only a page that fitted allows trying more.
        assert table.limits[:3] == [100, 9, 18]

    def test_part_of_page_has_bounded_bytes(self) -> None:
        events = [event(n, "y" * 1000) for n in range(1, 11)]
        assert [each.position for each in fit_bytes(events, JSON, 3500)] == [1, 2, 3]
        assert [each.position for each in fit_bytes(events, JSON, 1)] == [1]
        assert len(fit_bytes(events, JSON, 100_000)) == 10
        assert fit_bytes([], JSON, 1) == []

    async def test_single_long_event_is_still_sent(self) -> None:
        table = Table()
        table.add(3, data="y" * (2 * MAX_QUEUED_BYTES))
        rig = Rig(table)
        await rig.go_live()
        assert rig.positions == [1, 2, 3]

    async def test_full_queue_drops_signals_but_no_events(self) -> None:
        rig = Rig(Table(1))
        await rig.go_live()
        rig.connection.hold()
        for _ in range(MAX_QUEUED * 2):
            rig.channel.signal(Broadcast(SignalFrame("typing", {})))
        rig.commit()
        rig.connection.let_go()
        await rig.until(lambda: rig.positions == [1, 2])
        assert rig.kinds.count("signal") <= MAX_QUEUED

    async def test_reply_survives_dropped_queue(self) -> None:
        rig = Rig(Table(1))
        await rig.go_live()
        rig.connection.hold()
        rig.socket.reply(7, data="kept")
        for _ in range(MAX_QUEUED * 2):
            rig.commit()
        rig.connection.let_go()
        await rig.until(lambda: rig.socket.live)
        assert {"type": "reply", "id": 7, "data": "kept"} in rig.connection.frames
        assert rig.positions == list(range(1, len(rig.table.events) + 1))

    async def test_peer_with_unread_replies_waits(self) -> None:
        rig = Rig(Table(1))
        await rig.go_live()
        rig.connection.hold()
        for number in range(100):
            rig.socket.reply(number)
        waiting = asyncio.create_task(rig.socket.wait_for_space())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        rig.connection.let_go()
        await waiting
        assert rig.kinds.count("reply") == 100

    async def test_idle_socket_has_no_task(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        await rig.until(lambda: rig.socket._pump is None)
        rig.commit()
        assert rig.socket._pump is None

    async def test_closed_socket_accepts_no_events(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        rig.socket.close(4409, "replaced")
        rig.commit()
        rig.socket.start()
        assert (rig.positions, rig.socket._pump) == ([1, 2, 3], None)


class TestDeliveryProof:
    async def test_proof_is_requested_only_for_received_messages(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        rig.commit(visible=False)
        await rig.until(lambda: rig.positions == [1, 2, 3, 4])
        assert rig.connection.asked == []
        rig.commit(visible=False, incoming=True)
        await rig.until(lambda: rig.connection.asked == [b"5"])
        assert rig.table.acks == []
        rig.connection.pong()
        await rig.until(lambda: rig.table.acks == [DeliveryAck(1, 5)])

    async def test_single_outstanding_ping_proves_all_earlier_events(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        for _ in range(5):
            rig.commit(visible=False, incoming=True)
            position = len(rig.table.events)
            await rig.until(lambda position=position: rig.positions[-1] == position)
        assert rig.connection.asked == [b"4"]
        rig.connection.pong()
        assert rig.connection.asked == [b"8"]

    async def test_pong_of_heartbeat_proves_no_delivery(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        for payload in (b"", b"99", b"x", b"9" * 40):
            rig.socket.on_pong(payload)
        await asyncio.sleep(0)
        assert rig.table.acks == []

    async def test_proof_covers_messages_up_to_ping(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        for incoming in (True, False, True):
            rig.hand(incoming=incoming)
        assert (rig.positions, rig.connection.asked, rig.table.reads) == ([1, 2, 3, 4, 5, 6], [b"4"], 1)
        rig.connection.pong()
        assert rig.connection.asked == [b"6"]
        rig.connection.pong()
        rig.hand(incoming=True)
        assert rig.connection.asked == [b"7"]
        await rig.until(lambda: rig.table.acks == [DeliveryAck(1, 6)])

    async def test_proof_by_any_device_is_sufficient(self) -> None:
        rig = Rig(Table(3))
        await rig.go_live()
        other = HeldConnection()
        second = Socket(Actor(ADA.user_id, uuid4()), 2, other, JSON, rig.table, rig.acks, after=3)
        rig.channel.join(second, latest=3)
        second.start()
        await rig.until(lambda: second.live)
        rig.hand(incoming=True)
        assert (rig.connection.asked, other.asked) == ([b"4"], [b"4"])
        assert other.written[-1] is rig.connection.written[-1]
        other.pong()
        await rig.until(lambda: rig.table.acks == [DeliveryAck(1, 4)])
        rig.connection.pong()
        assert rig.acks._waiting == {}
        rig.hand(incoming=True)
        rig.connection.pong()
        assert rig.acks._waiting == {1: 5}
        await rig.acks.finish()

    async def test_writing_is_proof_without_pings(self) -> None:
        rig = Rig(Table(3), pings=False)
        await rig.go_live()
        rig.commit(visible=False, incoming=True)
        await rig.until(lambda: rig.table.acks == [DeliveryAck(1, 4)])


class TestDeliveryAcks:
    """Acknowledgements that cannot be written wait."""

    async def test_acknowledgement_is_retried_after_any_error(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("messenger.realtime.delivery_acks._RETRY_SECONDS", 0)
        monkeypatch.setattr("messenger.realtime.delivery_acks._BATCH_SECONDS", 0)
        rig = Rig(Table())
        for fault in (DatabaseUnavailable(), ValueError("a bug")):
            rig.table.take_faults = [fault]
            rig.acks.ack(1, 5)
            rig.acks.ack(2, 7)
            await rig.until(lambda: rig.acks._task is None)
            assert rig.table.acks == [DeliveryAck(1, 5), DeliveryAck(2, 7)]
            rig.table.acks.clear()
        logged = [record for record in caplog.records if record.name == "messenger.realtime.delivery_acks"]
        assert [record.exc_info is not None for record in logged] == [False, True]

    async def test_failing_acknowledgement_does_not_block_other_users(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("messenger.realtime.delivery_acks._RETRY_SECONDS", 0)
        monkeypatch.setattr("messenger.realtime.delivery_acks._BATCH_SECONDS", 0)
        monkeypatch.setattr("messenger.realtime.delivery_acks._BATCH_USERS", 1)
        rig = Rig(Table())
        rig.table.take_faults = [ValueError("a bug")]
        rig.acks.ack(1, 5)
        rig.acks.ack(2, 7)
        await rig.until(lambda: rig.acks._task is None)
        assert rig.table.acks == [DeliveryAck(2, 7), DeliveryAck(1, 5)]


async def test_peer_leaving_during_page_read_causes_no_error(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(Table(3))
    rig.table.on_read = lambda: rig.channel.leave(rig.socket)
    rig.socket.start()
    await rig.until(lambda: rig.socket._pump is None)
    assert (rig.connection.closed, caplog.text) == (False, "")
