"""The socket's requests in both encodings: each frame is answered, or closes the socket as documented."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import msgspec
import pytest
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect
from websockets.uri import parse_uri

from messenger.errors import MessengerError
from messenger.realtime.frames import JSON_PROTOCOL, MSGPACK_PROTOCOL
from messenger.web.socket_methods import METHODS
from tests.fuzz._budget import fuzz
from tests.fuzz._population import Population
from tests.fuzz._texts import TAGS, damaged, json_texts, packed

SECONDS = 5.0
EVERY = 50
"""Frames between two looks at those who listen."""
CLOSES = {1002, 1003, 1007, 1009}
"""Ill-formed, of the wrong kind, no UTF-8, too large (RFC 6455, section 7.4.1)."""


def _codes(kind: type[MessengerError] = MessengerError) -> set[str]:
    return {kind.code}.union(*(_codes(each) for each in kind.__subclasses__()))


CODES = _codes() - {MessengerError.code}
"""Every refusal that there is, but for a fault of the server's own."""


OWNER, FRIEND = 0, 1
"""Places among the crowd; a fuzzed call may have changed their usernames."""


def _token(population: Population, who: int) -> str:
    answer = httpx.post(
        f"{population.url}/login", json={"login": str(population.user_ids[who]), "password": population.password}
    )
    token: str = answer.json()["tokens"]["access_token"]
    return token


class Line:
    """A socket that is reopened when it was closed legitimately."""

    def __init__(self, population: Population, who: int, protocol: str) -> None:
        self._url = population.url.replace("http", "ws") + "/ws"
        self._headers = {"Authorization": f"Bearer {_token(population, who)}"}
        self._protocol = protocol
        self._number = 10**6
        self._sent = 0
        self.listeners: Sequence[Line] = ()
        self._opened = ExitStack()
        self.connection = self._open()

    def _open(self) -> ClientConnection:
        self._opened.close()
        return self._opened.enter_context(
            connect(
                self._url,
                additional_headers=self._headers,
                subprotocols=[self._protocol],  # type: ignore[list-item]
                compression=None,
                max_size=None,
                # Pings come from another thread, and would consume random numbers that hypothesis tracks.
                ping_interval=None,
            )
        )

    def close(self) -> None:
        self._opened.close()

    def receive(self) -> dict[str, Any]:
        payload = self.connection.recv(timeout=SECONDS)
        frame: dict[str, Any] = json.loads(payload) if isinstance(payload, str) else msgspec.msgpack.decode(payload)
        return frame

    def reply(self, number: int | None = None) -> dict[str, Any]:
        """The next reply, or the reply to a request of this number; events in between are skipped."""
        while True:
            frame = self.receive()
            if frame["type"] == "reply" and (number is None or frame["id"] == number):
                return frame

    def send(self, payload: str | bytes) -> None:
        """Send a frame that must be answered or close the socket as documented; afterwards the socket works."""
        try:
            self.connection.send(payload)
            reply = self.reply()
            assert "error" not in reply or reply["error"]["code"] in CODES, reply
            self.ping()
        except ConnectionClosed as ended:
            self._reopen(ended)
        self._sent += 1
        if self._sent % EVERY == 0:
            # A client that reads nothing for long does not answer pings either, and is disconnected.
            for line in self.listeners:
                line.ping()

    def _reopen(self, ended: ConnectionClosed) -> None:
        assert ended.rcvd is not None, "cut without a close frame"
        assert ended.rcvd.code in CLOSES, ended.rcvd
        self.connection = self._open()

    def ping(self) -> None:
        """The socket still answers."""
        self._number += 1
        frame = {"type": "request", "id": self._number, "method": "ping"}
        text = self._protocol == JSON_PROTOCOL
        self.connection.send(json.dumps(frame) if text else msgspec.msgpack.encode(frame))
        assert "error" not in self.reply(self._number)


@contextmanager
def lines(population: Population, protocol: str) -> Iterator[Line]:
    """The owner's socket in this encoding, while the contact listens in both."""
    with ExitStack() as stack:
        mine, *others = (
            Line(population, who, each)
            for who, each in ((OWNER, protocol), (FRIEND, JSON_PROTOCOL), (FRIEND, MSGPACK_PROTOCOL))
        )
        for line in (mine, *others):
            stack.callback(line.close)
        mine.listeners = others
        yield mine
        for line in others:
            line.ping()


def _requests(population: Population) -> list[dict[str, Any]]:
    """A valid request of each method."""
    friend = population.user_ids[FRIEND]
    data: dict[str, dict[str, Any]] = {
        "message.send": {"target_id": friend, "client_id": str(uuid4()), "body": "Hello", "mentions": [friend]},
        "receipt.set": {"target_id": friend, "read_seq": 1, "delivered_seq": None},
        "typing": {"target_id": friend, "typing": True},
        "watch": {"target_ids": [friend]},
        "presence.set": {"status": "away", "status_text": "Reading"},
        "call.signal": {"target_id": friend, "call_id": str(uuid4()), "payload": {"sdp": "v=0", "n": [1.5, None]}},
        "ping": {},
    }
    assert data.keys() == METHODS.keys()
    return [{"type": "request", "id": 1, "method": method, "data": each} for method, each in data.items()]


def _json_requests(population: Population) -> st.SearchStrategy[str]:
    """Requests with a valid outer shape and arbitrary data, and arbitrary frames."""
    friend = str(population.user_ids[FRIEND])
    good = [json.dumps(each["data"]) for each in _requests(population)]
    names = sorted({name for each in _requests(population) for name in each["data"]})
    anything = json_texts(names=names, valid=[friend, f'"{uuid4()}"', '"away"', *good])
    of_a_method = st.tuples(st.sampled_from([*METHODS, "message.read"]), anything, anything).map(
        lambda parts: f'{{"type":"request","id":7,"method":"{parts[0]}","data":{parts[1]}}}'
    )
    call = st.builds(
        lambda payload: (
            f'{{"type":"request","id":7,"method":"call.signal","data":{{"target_id":{friend},'
            f'"call_id":"{uuid4()}","payload":{{"a":{payload}}}}}}}'
        ),
        anything,
    )
    return of_a_method | call | anything | st.text(max_size=200)


class TestJson:
    def test_fuzzed_json_requests_are_answered(self, population: Population) -> None:
        with lines(population, JSON_PROTOCOL) as line:
            fuzz(line.send, _json_requests(population), examples=250)

    def test_wrong_frame_type_closes_socket(self, population: Population) -> None:
        with lines(population, JSON_PROTOCOL) as line:
            fuzz(line.send, st.binary(max_size=200), examples=5)

    @pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "9" * 400, "1e400"])
    def test_number_beyond_messagepack_range_is_refused(self, population: Population, number: str) -> None:
        (call,) = (each for each in _requests(population) if each["method"] == "call.signal")
        call["data"]["payload"] = {"a": "PLACE"}
        with lines(population, JSON_PROTOCOL) as line:
            line.send(json.dumps(call).replace('"PLACE"', number))


class TestMessagePack:
    def test_fuzzed_msgpack_requests_are_answered(self, population: Population) -> None:
        strategy = st.one_of(*(packed(request) for request in _requests(population)), st.binary(max_size=200))
        with lines(population, MSGPACK_PROTOCOL) as line:
            fuzz(line.send, strategy, examples=250)

    def test_fuzzed_msgpack_values_are_answered(self, population: Population) -> None:
        """Valid requests with one invalid value."""
        with_a_place = [
            {**request, "data": {**request["data"], name: "PLACE"}}
            for request in _requests(population)
            for name in (*request["data"], "payload")
        ]
        strategy = st.tuples(st.sampled_from(with_a_place), st.sampled_from(TAGS) | st.binary(min_size=1, max_size=9))

        def send(pair: tuple[dict[str, Any], bytes]) -> None:
            line.send(msgspec.msgpack.encode(pair[0]).replace(b"\xa5PLACE", pair[1]))

        with lines(population, MSGPACK_PROTOCOL) as line:
            fuzz(send, strategy, examples=200)

    @pytest.mark.parametrize(
        "tag", [b"\xd4\x01a", b"\xc4\x01a", b"\x81\x01\x02", b"\xd6\xff\x00\x00\x00\x01", b"\xa1\xff"]
    )
    def test_payload_without_json_equivalent_is_refused(self, population: Population, tag: bytes) -> None:
        (call,) = (each for each in _requests(population) if each["method"] == "call.signal")
        call["data"]["payload"] = {"a": "PLACE"}
        with lines(population, MSGPACK_PROTOCOL) as line:
            line.send(msgspec.msgpack.encode(call).replace(b"\xa5PLACE", tag))


def _frame(opcode: int, payload: bytes) -> bytes:
    """A frame of a client (RFC 6455, section 5.2), masked with zeros."""
    length = len(payload)
    size = bytes([0x80 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + bytes(4) + payload


class TestRawFrames:
    def test_fuzzed_frames_are_answered_or_closed(self, population: Population) -> None:
        """Malformed, truncated or meaningless frames: the server closes as the protocol says, or continues."""
        address = urlsplit(population.url)
        handshake = (
            f"GET /ws HTTP/1.1\r\nHost: messenger.test\r\nAuthorization: Bearer {_token(population, OWNER)}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
        good = b"".join(
            [
                _frame(1, b'{"type":"request","id":1,"method":"ping"}'),
                _frame(9, b"ping"),
                _frame(10, b"5"),
                _frame(1, b'{"type":"request","id":2,"method":"typing","data":' + b" " * 200 + b"{}}"),
                _frame(8, b"\x03\xe8bye"),
            ]
        )

        def send(frames: bytes) -> None:
            with socket.create_connection((address.hostname or "", address.port or 0), SECONDS) as connection:
                connection.sendall(handshake)
                with contextlib.suppress(ConnectionError):
                    connection.sendall(frames)
                    connection.shutdown(socket.SHUT_WR)
                answer = b""
                with contextlib.suppress(ConnectionError):
                    while received := connection.recv(65536):
                        answer += received
            code = _close_code(answer.partition(b"\r\n\r\n")[2])
            assert code is None or code in CLOSES | {1000, 1001} | set(range(3000, 5000)), (code, answer)

        fuzz(send, damaged(good) | st.binary(max_size=60), examples=80)


def _close_code(stream: bytes) -> int | None:
    """The code of the close frame among a server's frames, or None (RFC 6455, section 5.5.1)."""
    protocol = ClientProtocol(parse_uri("ws://messenger.test/ws"), state=State.OPEN, max_size=None)
    protocol.receive_data(stream)
    for event in protocol.events_received():
        if isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
            return Close.parse(event.data).code if event.data else 1005
    return None
