"""One event for several users: its data is encoded once where it is equal, and each frame has its own cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from messenger.actor import Actor
from messenger.bus.bus import Bus
from messenger.events import WakeUp
from messenger.realtime.delivery_acks import DeliveryAcks
from messenger.realtime.frames import JSON, MSGPACK, Codec
from messenger.realtime.hub import Hub
from messenger.realtime.interfaces import StreamPage
from messenger.realtime.socket import Socket
from messenger.schemas.messages import MessageView
from messenger.testing.connections import HeldConnection

SENDER, GROUP = 1, 100


class CountingCodec(Codec):
    """Keeps what it is asked to encode."""

    def __init__(self, of: Codec) -> None:
        self.encoded: list[Any] = []
        super().__init__(of.name, binary=of.binary, encode=self._keep(of.encode), decoder=_decoder(of))

    def _keep(self, encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        def keep(value: Any) -> bytes:
            self.encoded.append(value)
            return encode(value)

        return keep

    @property
    def bodies(self) -> int:
        """How many times the data of a message was encoded, by itself or inside a frame."""
        return sum(isinstance(getattr(each, "data", each), MessageView) for each in self.encoded)


def _decoder(of: Codec) -> Any:
    return msgspec.msgpack.Decoder if of.binary else msgspec.json.Decoder


class EmptyStreams:
    """Streams without events before position 0."""

    async def read_page(self, actor: Actor, *, after: int, limit: int) -> StreamPage:
        return StreamPage([], after, after, 0)


class Worker:
    """A hub with live sockets, which all use one codec."""

    def __init__(self, codec: Codec) -> None:
        self.codec = CountingCodec(codec)
        self.hub = Hub(Bus(uuid4()))

    async def connect(self, user_id: int, *, after: int = 0) -> HeldConnection:
        """A socket of a new device that has caught up."""
        streams: Any = EmptyStreams()
        connection = HeldConnection()
        actor = Actor(user_id, uuid4())
        socket = Socket(actor, 1, connection, self.codec, streams, DeliveryAcks(streams), after=after)
        self.hub.connect(socket, latest=after)
        async with asyncio.timeout(5):
            while not socket.live:
                await asyncio.sleep(0)
        connection.written.clear()
        self.codec.encoded.clear()
        return connection


def message(target_id: int, *, id: UUID | None = None) -> MessageView:
    return MessageView(
        id or uuid4(),
        "a",
        target_id,
        SENDER,
        uuid4(),
        7,
        "text",
        "Hello",
        None,
        [],
        None,
        None,
        [],
        [],
        "",
        None,
        None,
        None,
        None,
    )


def wake_up(user_id: int, position: int, data: MessageView) -> WakeUp:
    return WakeUp(user_id, position, "message.created", data, "2026-01-01T00:00:00.000Z")


@pytest.fixture(params=[JSON, MSGPACK], ids=["json", "msgpack"])
def worker(request: pytest.FixtureRequest) -> Worker:
    return Worker(request.param)


class TestSharedBody:
    async def test_message_of_group_is_encoded_once_for_three_members(self, worker: Worker) -> None:
        members = {user: await worker.connect(user, after=10 * user) for user in (1, 2, 3)}
        view = message(GROUP)
        await worker.hub.announce([wake_up(user, 10 * user + 1, msgspec.structs.replace(view)) for user in members])
        assert worker.codec.bodies == 1
        frames = {user: _decoder(worker.codec)().decode(each.written[0].payload) for user, each in members.items()}
        assert [frame["cursor"] for frame in frames.values()] == ["e11", "e21", "e31"]
        assert [frame["data"] for frame in frames.values()] == [msgspec.to_builtins(view)] * 3

    async def test_frame_equals_frame_encoded_whole(self, worker: Worker) -> None:
        connection = await worker.connect(2)
        await worker.hub.announce([wake_up(2, 1, view := message(GROUP))])
        whole = {"type": "event", "cursor": "e1", "event": "message.created", "at": "2026-01-01T00:00:00.000Z"}
        encode = msgspec.msgpack.encode if worker.codec.binary else msgspec.json.encode
        assert connection.written[0].payload == encode({**whole, "data": view})

    async def test_message_between_two_users_has_target_id_of_each_side(self, worker: Worker) -> None:
        hers, his = await worker.connect(SENDER), await worker.connect(2)
        sent = message(2)
        received = msgspec.structs.replace(sent, target_id=SENDER)
        await worker.hub.announce([wake_up(SENDER, 1, sent), wake_up(2, 1, received)])
        decode = _decoder(worker.codec)().decode
        assert [decode(each.written[0].payload)["data"]["target_id"] for each in (hers, his)] == [2, SENDER]
        assert worker.codec.bodies == 2

    async def test_devices_of_user_share_whole_frame(self, worker: Worker) -> None:
        phone, laptop = await worker.connect(2), await worker.connect(2)
        await worker.hub.announce([wake_up(2, 1, message(SENDER))])
        assert phone.written[0] is laptop.written[0]
        assert worker.codec.bodies == 1
