"""The WebSocket protocol for uvicorn: the fast path for pongs, what an open connection releases, what an ended one
leaves.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import weakref
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from messenger.container import Container
from messenger.realtime.frames import Message, ends_with_frame, pong_payload
from messenger.server.websocket_protocol import MAX_ODD_FRAMES, NOT_TEXT, UvicornConnection
from messenger.testing import Factory
from tests.support.sockets import Realtime
from tests.support.uncollected import uncollected

_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

frames = st.builds(
    Frame,
    st.sampled_from([Opcode.TEXT, Opcode.PING, Opcode.PONG]),
    # Each of the three encodings of a length occurs here; control frames only have the shortest.
    st.integers(0, 125).map(lambda size: b"7" * size),
) | st.builds(Frame, st.just(Opcode.TEXT), st.sampled_from([126, 65_535, 65_536]).map(lambda size: b"x" * size))


def _wire(sent: list[Frame]) -> bytes:
    return b"".join(frame.serialize(mask=True) for frame in sent)


class Transport(asyncio.Transport):
    """Records what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.close_requested = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The buffer never fills."""

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Data that arrives nevertheless is handled."""

    def resume_reading(self) -> None:
        """The test continues reading whenever it likes."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """The test closes it."""
        self.close_requested = True


class Pongs(list[bytes]):
    """A listener that records pongs."""

    def on_pong(self, payload: bytes) -> None:
        self.append(payload)

    def on_writable(self) -> None:
        """The buffer was never full."""


async def _accept(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})


def _connecting() -> tuple[UvicornConnection, Transport]:
    config = uvicorn.Config(_accept, ws_per_message_deflate=False, ws_ping_interval=None, log_config=None)
    config.load()
    connection, transport = UvicornConnection(config, ServerState(), {}), Transport()
    connection.connection_made(transport)
    return connection, transport


async def _opened() -> tuple[UvicornConnection, Transport, Pongs]:
    (connection, transport), pongs = _connecting(), Pongs()
    connection.data_received(_HANDSHAKE)
    await asyncio.gather(*connection.tasks)
    connection.attach(pongs)
    transport.written.clear()
    return connection, transport, pongs


class TestFastPongs:
    @given(sent=st.lists(frames, max_size=4), data=st.data())
    def test_frame_ends_are_found(self, sent: list[Frame], data: st.DataObject) -> None:
        ends = {len(_wire(sent[:count])) for count in range(len(sent) + 1)}
        cut = data.draw(st.integers(0, max(ends)) | st.sampled_from(sorted(ends)))
        assert ends_with_frame(_wire(sent)[:cut]) == (cut in ends)

    @given(frame=frames)
    def test_single_pong_frame_is_recognized(self, frame: Frame) -> None:
        assert pong_payload(_wire([frame])) == (frame.data if frame.opcode is Opcode.PONG else None)
        assert pong_payload(_wire([frame, frame])) is None
        assert pong_payload(_wire([frame])[:-1]) is None

    @pytest.mark.parametrize("data", [b"", b"\x8a", b"\x8a\x00", b"\x8a\xfe" + bytes(130), b"\xca\x80\0\0\0\0"])
    def test_other_bytes_are_not_recognized_as_pong(self, data: bytes) -> None:
        assert pong_payload(data) is None

    @given(sent=st.lists(frames, max_size=6), cuts=st.lists(st.integers(0, 300), max_size=6))
    def test_split_bytes_yield_same_frames(self, sent: list[Frame], cuts: list[int]) -> None:
        asyncio.run(self._hear(sent, cuts))

    async def _hear(self, sent: list[Frame], cuts: list[int]) -> None:
        connection, transport, pongs = await _opened()
        # Each frame by itself, as is usual, and some that are split, or arrive with the next one.
        data = _wire(sent)
        ends = [len(_wire(sent[:count])) for count in range(1, len(sent))]
        marks = sorted({mark for mark in (*ends[1::2], *cuts) if mark < len(data)} | {0, len(data)})
        for start, end in itertools.pairwise(marks):
            connection.data_received(data[start:end])
        said = {code: [frame.data for frame in sent if frame.opcode is code] for code in Opcode}
        heard = [await connection.receive() for _ in said[Opcode.TEXT]]
        while connection._unread:
            await asyncio.sleep(0)
        assert pongs == said[Opcode.PONG]
        assert heard == [{"type": "websocket.receive", "text": bytes(text).decode()} for text in said[Opcode.TEXT]]
        assert connection.queue.empty()
        answers = [Frame(Opcode.PONG, payload).serialize(mask=False) for payload in said[Opcode.PING]]
        assert b"".join(transport.written) == b"".join(answers)

    async def test_forged_frame_before_pong_closes_connection(self) -> None:
        connection, transport, pongs = await _opened()
        # Unmasked; counting bytes alone would find a complete frame here, followed by a pong.
        connection.data_received(b"\x81\x00\0\0\0\0")
        assert transport.written[0][2:4] == (1002).to_bytes(2, "big")
        connection.data_received(_wire([Frame(Opcode.PONG, b"7")]))
        connection.write(Message(b"{}", binary=False))
        assert (pongs, b"".join(transport.written[1:])) == ([], b"")


class TestFrameFloods:
    """Frames other than messages are counted, except answers to our own pings."""

    async def test_only_unsolicited_pongs_count_as_flood(self) -> None:
        connection, _, pongs = await _opened()
        two = _wire([Frame(Opcode.PONG, b"7")] * 2)
        for _ in range(MAX_ODD_FRAMES):
            connection.ping(b"7")
            connection.ping(b"7")
            # Two at once take the slow path.
            connection.data_received(two)
        assert (len(pongs), connection.close_sent) == (2 * MAX_ODD_FRAMES, False)
        for _ in range(MAX_ODD_FRAMES // 2):
            connection.data_received(two)
        assert not connection.close_sent
        connection.data_received(two)
        assert connection.close_sent
        connection.connection_lost(None)


class TestInvalidText:
    """Invalid UTF-8 in text (RFC 6455 section 8.1) ends a connection without a log line, whenever it arrives."""

    async def test_invalid_text_frame_closes_with_1007(self, caplog: pytest.LogCaptureFixture) -> None:
        connection, transport, _ = await _opened()
        connection.data_received(_wire([Frame(Opcode.TEXT, b"\xdc")]))
        assert transport.written == [Frame(Opcode.CLOSE, NOT_TEXT.to_bytes(2, "big")).serialize(mask=False)]
        assert (await connection.receive())["code"] == NOT_TEXT  # type: ignore[typeddict-item]
        connection.connection_lost(None)
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    async def test_invalid_text_before_handshake_answer_closes_silently(self, caplog: pytest.LogCaptureFixture) -> None:
        connection, transport = _connecting()
        connection.data_received(_HANDSHAKE)
        connection.data_received(_wire([Frame(Opcode.TEXT, b"\xdc")]))
        assert transport.close_requested
        connection.connection_lost(None)
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class TestFrameWriting:
    async def test_message_and_ping_are_written_together(self) -> None:
        connection, transport, pongs = await _opened()
        message = Message(b"{}", binary=False)
        assert connection.write_with_ping(message, b"12")
        assert transport.written == [message.framed + Frame(Opcode.PING, b"12").serialize(mask=False)]
        connection.data_received(_wire([Frame(Opcode.PONG, b"12")]))
        assert pongs == [b"12"]

    def test_pinged_message_is_encoded_once(self) -> None:
        message = Message(b"{}", binary=True)
        once = message.with_ping(b"1")
        assert message.with_ping(b"1") is once
        assert message.with_ping(b"23") == message.framed + b"\x89\x0223"

    async def test_no_frame_follows_close(self) -> None:
        connection, transport, _ = await _opened()
        connection.close(4401, "signed out")
        said = len(transport.written)
        connection.write(Message(b"{}", binary=False))
        connection.write_with_ping(Message(b"{}", binary=False), b"1")
        connection.ping(b"")
        connection.close(1000)
        assert len(transport.written) == said == 1
        connection.connection_lost(None)

    async def test_no_frame_follows_close_of_peer(self) -> None:
        connection, transport, _ = await _opened()
        connection.data_received(_wire([Frame(Opcode.CLOSE, (1000).to_bytes(2, "big"))]))
        connection.write(Message(b"{}", binary=False))
        assert transport.written == [Frame(Opcode.CLOSE, (1000).to_bytes(2, "big")).serialize(mask=False)]

    async def test_writer_waits_for_room(self) -> None:
        connection, _, _ = await _opened()
        connection.pause_writing()
        waiting = [asyncio.create_task(connection.drain()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting.pop().cancel()
        assert (connection.is_writable, waiting[0].done()) == (False, False)
        connection.resume_writing()
        await waiting[0]
        assert connection.is_writable


class TestConnectionLifetime:
    async def test_open_connection_releases_handshake(self) -> None:
        connection, _, _ = await _opened()
        assert not connection.scope["headers"]
        assert not connection.request.headers
        assert repr(connection.queue)

    async def test_ended_connection_leaves_no_reference_cycles(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        with uncollected():
            async with realtime.wire(ada):
                socket = hosted.hub.sockets[ada.actor.device_id]
                assert isinstance(socket.connection, UvicornConnection)
                left = [weakref.ref(each) for each in (socket, socket.connection, socket.connection.conn)]
                del socket
            async with asyncio.timeout(10):
                while any(each() is not None for each in left):
                    await asyncio.sleep(0.01)

    async def test_refused_connection_leaves_no_reference_cycles(self, realtime: Realtime) -> None:
        with uncollected():
            before = {id(each) for each in gc.get_objects() if isinstance(each, UvicornConnection)}
            with pytest.raises(InvalidStatus):
                async with realtime.wire():
                    """It doesn't come in."""
            async with asyncio.timeout(10):
                while {id(each) for each in gc.get_objects() if isinstance(each, UvicornConnection)} - before:
                    await asyncio.sleep(0.01)
