"""Who has received and read a member's newest message is signalled to devices that watch the group."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest

from messenger.actor import Actor
from messenger.bus.bus import Bus
from messenger.bus.messages import GroupReceipts
from messenger.container import Container
from messenger.errors import DatabaseUnavailable
from messenger.realtime import receipt_signals
from messenger.realtime.frames import JSON
from messenger.realtime.hub import Hub
from messenger.realtime.receipt_signals import BATCH, ReceiptSignals
from messenger.realtime.socket import Socket
from messenger.schemas.realtime import ReceiptCountsView
from messenger.testing import Factory
from messenger.testing.buses import MemoryBroker, running
from messenger.testing.connections import HeldConnection
from tests.support.groups import create_group, join
from tests.support.sockets import Realtime, Wire

GROUP = 500


class Counts:
    """The counts of all groups, and which were asked for."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[int, int]]] = []
        self.read = 0
        self.faults: list[Exception] = []
        self.changed = asyncio.Event()

    async def count_receipts(self, watchers: Sequence[tuple[int, int]]) -> dict[tuple[int, int], ReceiptCountsView]:
        self.asked.append(list(watchers))
        self.changed.set()
        if self.faults:
            raise self.faults.pop()
        return {pair: ReceiptCountsView(pair[1], 9, self.read, 0, 3) for pair in watchers}

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(10):
            while len(self.asked) < times:
                self.changed.clear()
                await self.changed.wait()


def socket_of(user_id: int) -> Socket:
    nothing: Any = None
    actor = Actor(user_id, UUID(int=user_id))
    socket = Socket(actor, 1, HeldConnection(), JSON, nothing, nothing, after=0)
    socket.live = True
    return socket


def signalled(socket: Socket) -> list[int]:
    """The `read` of each signal that the socket was sent."""
    connection: Any = socket.connection
    return [frame["data"]["read"] for frame in connection.frames if frame.get("event") == "receipts"]


@contextlib.asynccontextmanager
async def signals_of(counts: Counts) -> AsyncIterator[ReceiptSignals]:
    signals = ReceiptSignals(counts)
    task = asyncio.create_task(signals.run())
    try:
        yield signals
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short intervals."""
    monkeypatch.setattr(receipt_signals, "EVERY_SECONDS", 0.2)
    monkeypatch.setattr(receipt_signals, "GATHER_SECONDS", 0.01)


async def read(wire: Wire, group: int, seq: int) -> None:
    assert "error" not in await wire.ask("receipt.set", target_id=group, read_seq=seq)


async def send(wire: Wire, group: int, client_id: str) -> None:
    assert "error" not in await wire.ask("message.send", target_id=group, client_id=client_id, body="Hello")


class TestSignal:
    async def test_watching_sender_sees_counts_of_newest_message(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob, eve = await people.people(3)
        group = await create_group(hosted, ada)
        await join(hosted, people, ada, group, bob, eve)
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            await send(hers, group.id, "a")
            await send(hers, group.id, "b")
            await hers.ask("watch", target_ids=[group.id])
            shown = await hers.signal("receipts", seq=2, delivered=1)
            assert shown == {"target_id": group.id, "seq": 2, "read": 0, "delivered": 1, "members": 2}
            await read(his, group.id, 1)
            await read(his, group.id, 2)
            shown = await hers.signal("receipts", read=1)
            assert shown == {"target_id": group.id, "seq": 2, "read": 1, "delivered": 1, "members": 2}

    async def test_device_without_watch_gets_no_counts(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob, eve = await people.people(3)
        group = await create_group(hosted, ada)
        await join(hosted, people, ada, group, bob, eve)
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his, realtime.wire(eve) as theirs:
            for wire in (hers, his, theirs):
                await send(wire, group.id, "a")
            await theirs.ask("watch", target_ids=[group.id + 1])
            await hers.ask("watch", target_ids=[group.id])
            await read(his, group.id, 3)
            await hers.signal("receipts")
            for wire in (his, theirs):
                assert [frame for frame in await wire.settled() if frame.get("event") == "receipts"] == []

    async def test_watching_outsider_gets_no_counts(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob, eve = await people.people(3)
        group = await create_group(hosted, ada)
        await join(hosted, people, ada, group, bob)
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his, realtime.wire(eve) as theirs:
            await send(hers, group.id, "a")
            await theirs.ask("watch", target_ids=[group.id])
            await hers.ask("watch", target_ids=[group.id])
            await read(his, group.id, 1)
            await hers.signal("receipts", read=1)
            assert [frame for frame in await theirs.settled() if frame.get("event") == "receipts"] == []


@pytest.mark.usefixtures("soon")
class TestInterval:
    async def test_receipts_within_interval_are_counted_together(self) -> None:
        counts, ada = Counts(), socket_of(1)
        async with signals_of(counts) as signals:
            started = asyncio.get_running_loop().time()
            signals.watch(ada, [GROUP])
            await counts.until_asked(1)
            for counts.read in range(1, 50):
                signals.on_receipts(GROUP)
                await asyncio.sleep(0)
            await counts.until_asked(2)
            # Watching again does not shorten the interval either.
            signals.watch(ada, [])
            signals.watch(ada, [GROUP])
            counts.read = 50
            await counts.until_asked(3)
            assert asyncio.get_running_loop().time() - started >= 0.4
        assert counts.asked == [[(1, GROUP)]] * 3
        assert signalled(ada) == [0, 49, 50]

    async def test_counts_are_not_read_without_receipt(self) -> None:
        counts, ada, bob = Counts(), socket_of(1), socket_of(2)
        async with signals_of(counts) as signals:
            signals.watch(ada, [GROUP])
            await counts.until_asked(1)
            signals.on_receipts(GROUP + 1)
            # After more than one interval of the first watcher.
            await asyncio.sleep(0.3)
            signals.watch(bob, [GROUP + 1])
            await counts.until_asked(2)
        assert counts.asked == [[(1, GROUP)], [(2, GROUP + 1)]]

    async def test_unchanged_counts_are_not_sent_again(self) -> None:
        counts, ada = Counts(), socket_of(1)
        async with signals_of(counts) as signals:
            signals.watch(ada, [GROUP])
            for times in (1, 2, 3):
                await counts.until_asked(times)
                signals.on_receipts(GROUP)
            counts.read = 1
            await counts.until_asked(4)
        assert signalled(ada) == [0, 1]

    async def test_watchers_are_counted_together(self) -> None:
        counts = Counts()
        sockets = [socket_of(user) for user in range(1, BATCH + 3)]
        async with signals_of(counts) as signals:
            for socket in sockets:
                signals.watch(socket, [GROUP])
            await counts.until_asked(2)
        assert [len(pairs) for pairs in counts.asked] == [BATCH, 2]

    async def test_failed_count_is_repeated(self) -> None:
        counts, ada = Counts(), socket_of(1)
        counts.faults = [DatabaseUnavailable(), RuntimeError("broken")]
        async with signals_of(counts) as signals:
            signals.watch(ada, [GROUP])
            await counts.until_asked(3)
            await asyncio.sleep(0)
        assert signalled(ada) == [0]


@pytest.mark.usefixtures("soon")
class TestEnd:
    async def test_ended_lease_costs_no_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counts, ada, bob = Counts(), socket_of(1), socket_of(2)
        monkeypatch.setattr("messenger.realtime.frames.WATCH_SECONDS", 0.05)
        async with signals_of(counts) as signals:
            signals.watch(ada, [GROUP])
            await counts.until_asked(1)
            await asyncio.sleep(0.06)
            signals.on_receipts(GROUP)
            await asyncio.sleep(0.3)
            signals.watch(bob, [GROUP])
            await counts.until_asked(2)
        assert counts.asked == [[(1, GROUP)], [(2, GROUP)]]

    async def test_ended_socket_leaves_no_entry(self) -> None:
        counts, ada = Counts(), socket_of(1)
        signals = ReceiptSignals(counts)
        signals.watch(ada, [GROUP, GROUP + 1])
        signals.on_receipts(GROUP)
        signals.forget(ada)
        assert (signals._watchers, signals._by_group, signals._due) == ({}, {}, set())

    async def test_former_target_costs_no_count(self) -> None:
        counts, ada = Counts(), socket_of(1)
        async with signals_of(counts) as signals:
            signals.watch(ada, [GROUP])
            signals.watch(ada, [GROUP + 1])
            signals.on_receipts(GROUP)
            await counts.until_asked(1)
        assert counts.asked == [[(1, GROUP + 1)]]
        assert list(signals._by_group) == [GROUP + 1]

    async def test_catching_up_socket_gets_counts_afterwards(self) -> None:
        counts, ada, bob = Counts(), socket_of(1), socket_of(2)
        ada.live = False
        async with signals_of(counts) as signals:
            signals.watch(ada, [GROUP])
            signals.watch(bob, [GROUP])
            await counts.until_asked(1)
            ada.live = True
            await counts.until_asked(2)
            await asyncio.sleep(0)
        assert counts.asked == [[(2, GROUP)], [(1, GROUP)]]
        assert signalled(ada) == [0]


class TestWorkers:
    async def test_receipt_wakes_watchers_of_other_workers(self) -> None:
        broker = MemoryBroker()
        speaking, listening = (Bus(UUID(int=n), broker.transport()) for n in (1, 2))
        async with running(speaking, listening):
            here, there = Hub(speaking), Hub(listening)
            woken: list[tuple[str, int]] = []
            arrived = asyncio.Event()
            here.on_receipts = lambda group_id: woken.append(("here", group_id))

            def arrive(group_id: int) -> None:
                woken.append(("there", group_id))
                arrived.set()

            there.on_receipts = arrive
            # One message for many receipts.
            for _ in range(3):
                here.announce_receipts([GROUP])
            async with asyncio.timeout(10):
                await arrived.wait()
            here.on_message(GroupReceipts(GROUP + 1))
        assert woken == [*[("here", GROUP)] * 3, ("there", GROUP), ("here", GROUP + 1)]
