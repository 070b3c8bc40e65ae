"""The bus over an in-memory transport: what it sends, what it passes on, and how it reconnects."""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID, uuid4

import msgspec
import pytest

from messenger.bus import bus as bus_module
from messenger.bus.bus import Bus
from messenger.bus.messages import BusMessage, DevicesRevoked, Signal, SocketOpened, StreamAdvanced
from messenger.testing.buses import Listener, MemoryBroker, running


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def bus_of(broker: MemoryBroker, *, max_payload: int = 100_000) -> Bus:
    return Bus(uuid4(), broker.transport(max_payload=max_payload))


def signal(*users: int, data: object = None) -> Signal:
    return Signal(users, "typing", msgspec.Raw(msgspec.json.encode(data)))


class TestPublish:
    async def test_each_kind_of_message_arrives_complete(self, broker: MemoryBroker) -> None:
        said: list[BusMessage] = [
            StreamAdvanced(7, 3),
            signal(1, 2, data={"käse": "✓"}),
            SocketOpened(5, uuid4()),
            DevicesRevoked(9),
        ]
        speaker = bus_of(broker)
        async with running(speaker, bus_of(broker)) as (_, other):
            speaker.publish(*said)
            await other.until_heard(*said)
        assert other.heard == said

    async def test_own_messages_are_ignored(self, broker: MemoryBroker) -> None:
        speaker = bus_of(broker)
        async with running(speaker, bus_of(broker)) as (own, other):
            speaker.publish(DevicesRevoked(1))
            await other.until_heard(DevicesRevoked(1))
        assert broker.payloads
        assert own.heard == []

    async def test_messages_published_together_share_payload(self, broker: MemoryBroker) -> None:
        speaker = bus_of(broker)
        async with running(speaker, bus_of(broker)) as (_, other):
            for user in range(100):
                speaker.publish(StreamAdvanced(user, 1))
            await other.until(lambda: len(other.heard) == 100)
        assert len(broker.payloads) == 1

    async def test_newest_wake_up_of_user_is_sent(self, broker: MemoryBroker) -> None:
        speaker = bus_of(broker)
        async with running(speaker, bus_of(broker)) as (_, other):
            speaker.publish(
                StreamAdvanced(1, 5),
                StreamAdvanced(2, 1),
                StreamAdvanced(1, 7),
                DevicesRevoked(3),
                StreamAdvanced(1, 6),
            )
            await other.until_heard(DevicesRevoked(3))
        assert other.heard == [StreamAdvanced(1, 7), StreamAdvanced(2, 1), DevicesRevoked(3)]

    async def test_messages_exceeding_payload_are_split(self, broker: MemoryBroker) -> None:
        speaker = bus_of(broker, max_payload=1_000)
        said: list[BusMessage] = [*(StreamAdvanced(user, user) for user in range(400)), signal(*range(10_000, 12_000))]
        async with running(speaker, bus_of(broker)) as (_, other):
            speaker.publish(*said)
            await other.until(lambda: sum(isinstance(m, StreamAdvanced) for m in other.heard) == 400)
            await other.until(lambda: len(_users(other)) == 2_000)
        assert {m for m in other.heard if isinstance(m, StreamAdvanced)} == set(said[:400])
        assert sorted(_users(other)) == list(range(10_000, 12_000))
        assert max(map(len, broker.payloads)) <= 1_000
        assert speaker.dropped == 0

    async def test_oversized_message_is_dropped_and_rest_arrives(
        self, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        speaker = bus_of(broker, max_payload=500)
        async with running(speaker, bus_of(broker)) as (_, other):
            speaker.publish(StreamAdvanced(1, 1), signal(1, data="x" * 600), DevicesRevoked(2))
            await other.until_heard(StreamAdvanced(1, 1), DevicesRevoked(2))
        assert len(other.heard) == 2
        assert speaker.dropped == 1
        assert "exceeds the size limit of the bus" in caplog.text

    async def test_oldest_messages_beyond_queue_bound_are_dropped(
        self, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bus_module, "MAX_WAITING", 10)
        speaker, other = bus_of(broker), bus_of(broker)
        for user in range(25):
            speaker.publish(DevicesRevoked(user))
        async with running(speaker, other) as (_, listener):
            await listener.until_heard(DevicesRevoked(24))
        assert speaker.dropped == 15

    async def test_silent_bus_still_receives(self, broker: MemoryBroker) -> None:
        silent, other = Bus(uuid4(), broker.transport(), publishes=False), bus_of(broker)
        async with running(silent, other) as (listener, _):
            silent.publish(DevicesRevoked(1))
            other.publish(DevicesRevoked(2))
            await listener.until_heard(DevicesRevoked(2))
        assert len(broker.payloads) == 1

    async def test_bus_without_transport_is_connected_and_sends_no_payload(self) -> None:
        bus = Bus(uuid4())
        bus.publish(DevicesRevoked(1))
        await bus.run()
        await bus.flush()
        assert bus.connected


class TestConnectionLoss:
    async def test_connection_loss_is_reported_once(self, broker: MemoryBroker) -> None:
        bus = bus_of(broker)
        async with running(bus, bus_of(broker)) as (listener, _):
            broker.stop()
            await listener.until(lambda: listener.disconnects > 0)
            assert not bus.connected
            broker.start()
            await listener.until_connected()
        assert listener.disconnects == 1

    async def test_reconnect_is_reported_once_and_not_at_first_connect(self, broker: MemoryBroker) -> None:
        one, two = bus_of(broker), bus_of(broker)
        async with running(one, two) as (first, second):
            assert first.reconnects == 0
            broker.stop()
            await first.until_connected(False)
            await second.until_connected(False)
            broker.start()
            await first.until_connected()
            await second.until_connected()
            one.publish(DevicesRevoked(1))
            await second.until_heard(DevicesRevoked(1))
        assert (first.reconnects, second.reconnects) == (1, 1)

    async def test_delayed_first_connection_counts_as_reconnect(
        self, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        broker.stop()
        bus = bus_of(broker)
        listener = Listener(bus)
        task = asyncio.create_task(bus.run())
        await listener.until(lambda: "the broker is stopped" in caplog.text)
        broker.start()
        await listener.until_connected()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert listener.reconnects == 1
        assert not bus.connected

    async def test_messages_published_while_away_are_sent_after_reconnect(self, broker: MemoryBroker) -> None:
        transport = broker.transport()
        speaker = Bus(uuid4(), transport)
        async with running(speaker, bus_of(broker)) as (own, other):
            transport.stop()
            await own.until_connected(False)
            speaker.publish(DevicesRevoked(1))
            transport.start()
            await other.until_heard(DevicesRevoked(1))

    async def test_messages_not_taken_by_lost_connection_are_sent_over_next(self, broker: MemoryBroker) -> None:
        speaker = bus_of(broker, max_payload=200)
        sent: list[str] = []

        def refuse_the_third(payload: str) -> bool:
            sent.append(payload)
            return len(sent) == 3

        broker.refuses = refuse_the_third
        said = [SocketOpened(user, uuid4()) for user in range(10)]
        async with running(speaker, bus_of(broker)) as (own, other):
            speaker.publish(*said)
            await other.until_heard(*said)
        assert own.reconnects == 1
        assert len(other.heard) == 10
        assert speaker.dropped == 0

    async def test_refused_payload_does_not_block_other_payloads(self, broker: MemoryBroker) -> None:
        speaker = bus_of(broker, max_payload=100)
        broker.refuses = lambda payload: '"r",13' in payload
        async with running(speaker, bus_of(broker)) as (_, other):
            speaker.publish(*map(DevicesRevoked, range(10, 30)))
            await other.until_heard(DevicesRevoked(29))
        assert DevicesRevoked(13) not in other.heard
        assert len(other.heard) == 20 - speaker.dropped
        assert speaker.dropped < 10

    async def test_short_lived_connections_back_off(
        self, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("random.uniform", lambda low, high: high)
        waits: list[float] = []
        sleep = asyncio.sleep

        async def slept(seconds: float) -> None:
            task = asyncio.current_task()
            assert task is not None
            # Background tasks of other tests sleep on the same loop.
            is_of_bus = task.get_coro().__qualname__ == Bus.run.__qualname__  # type: ignore[union-attr]
            if is_of_bus:
                waits.append(seconds)
            await sleep(0 if is_of_bus else seconds)

        bus = bus_of(broker)
        async with running(bus) as (own,):
            monkeypatch.setattr("asyncio.sleep", slept)
            for _ in range(7):
                before = own.reconnects
                broker.drop()
                await own.until(lambda: own.reconnects > before)  # noqa: B023
        assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]

    @pytest.mark.parametrize(
        "junk",
        ["", "nonsense", "[]", "{}", '["x",[]]', f'["{UUID(int=1)}",[["z",1]]]', f'["{UUID(int=1)}",[["n","x",1]]]'],
    )
    async def test_malformed_payload_is_ignored(
        self, broker: MemoryBroker, junk: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        speaker = bus_of(broker)
        async with running(speaker, bus_of(broker)) as (_, other):
            broker.deliver(junk)
            speaker.publish(DevicesRevoked(1))
            await other.until_heard(DevicesRevoked(1))
        assert other.reconnects == 0
        assert "malformed payload" in caplog.text

    async def test_failing_receiver_gets_next_message(
        self, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Raising(Listener):
            def on_message(self, message: BusMessage) -> None:
                super().on_message(message)
                raise LookupError("a fault of the receiver's")

            def on_reconnect(self) -> None:
                super().on_reconnect()
                raise LookupError("another fault of the receiver's")

            def on_disconnect(self) -> None:
                super().on_disconnect()
                raise LookupError("one more")

        speaker, bus = bus_of(broker), bus_of(broker)
        async with running(speaker, bus):
            raising = Raising(bus)
            speaker.publish(DevicesRevoked(1), DevicesRevoked(2))
            await raising.until_heard(DevicesRevoked(1), DevicesRevoked(2))
            broker.drop()
            await raising.until(lambda: raising.reconnects == 1)
            await raising.until_connected()
            speaker.publish(DevicesRevoked(3))
            await raising.until_heard(DevicesRevoked(3))
        assert "a fault of the receiver's" in caplog.text
        assert "another fault of the receiver's" in caplog.text

    async def test_transport_error_is_logged_and_retried(
        self, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fault(_: str) -> bool:
            broker.refuses = lambda _: False
            raise LookupError("a fault of the transport's")

        speaker = bus_of(broker)
        broker.refuses = fault
        async with running(speaker, bus_of(broker)) as (own, other):
            speaker.publish(DevicesRevoked(1))
            await other.until_heard(DevicesRevoked(1))
            assert own.reconnects == 1
        assert [record.exc_info is not None for record in caplog.records if "disconnected" in record.message] == [True]

    async def test_outage_is_logged_once_with_reason(
        self, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        bus = bus_of(broker)
        async with running(bus) as (own,):
            broker.stop()
            await own.until_connected(False)
            await own.until(lambda: broker.refused == 3)
            broker.start()
            await own.until_connected()
        said = [record.message for record in caplog.records if record.name == bus_module.__name__]
        assert said == [
            "the bus is disconnected: the broker has stopped; streams are read every second",
            "the bus is connected again",
        ]


class TestFlush:
    async def test_flush_sends_queued_messages_without_running_bus(self, broker: MemoryBroker) -> None:
        speaker = bus_of(broker)
        async with running(bus_of(broker)) as (other,):
            speaker.publish(DevicesRevoked(1), StreamAdvanced(2, 3))
            await speaker.flush()
            await other.until_heard(DevicesRevoked(1), StreamAdvanced(2, 3))
            await speaker.flush()
        assert len(broker.payloads) == 1

    async def test_flush_logs_unavailable_bus(self, broker: MemoryBroker, caplog: pytest.LogCaptureFixture) -> None:
        broker.stop()
        speaker = bus_of(broker)
        speaker.publish(DevicesRevoked(1))
        await speaker.flush()
        assert "other workers were not notified: the broker is stopped" in caplog.text


def _users(listener: Listener) -> list[int]:
    return [user for message in listener.heard if isinstance(message, Signal) for user in message.users]
