"""The socket's frames: what is said besides events, how it is encoded, how a request is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from websockets.frames import Frame, Opcode

from messenger.schemas.realtime import EventFrame

JSON_PROTOCOL = "messenger.json"
MSGPACK_PROTOCOL = "messenger.msgpack"

# Close codes: RFC 6455 section 7.4, and our own in its private range.
NORMAL, WRONG_KIND, FAULT, RESTART = 1000, 1003, 1011, 1012
SIGNED_OUT, SILENT, ELSEWHERE, TOO_MANY = 4401, 4408, 4409, 4429


class Welcome(msgspec.Struct, frozen=True, tag_field="type", tag="welcome"):
    cursor: str
    device_id: str
    heartbeat: float


class CaughtUp(msgspec.Struct, frozen=True, tag_field="type", tag="caught_up"):
    cursor: str


class Resync(msgspec.Struct, frozen=True, tag_field="type", tag="resync"):
    """What came after the client's cursor is not kept any more; the socket goes on from this one."""

    cursor: str


class SignalFrame(msgspec.Struct, frozen=True, tag_field="type", tag="signal"):
    event: str
    data: Any


class Reply(msgspec.Struct, frozen=True, tag_field="type", tag="reply"):
    id: int | None
    data: Any


class Refusal(msgspec.Struct, frozen=True, tag_field="type", tag="reply"):
    """A reply that says no, as a problem document (RFC 9457)."""

    id: int | None
    error: dict[str, Any]


class Request(msgspec.Struct, frozen=True, tag_field="type", tag="request", forbid_unknown_fields=True):
    id: Annotated[int, msgspec.Meta(ge=-(2**53) + 1, le=2**53 - 1)]
    method: str
    # Read later, by the method's own rules; absent or null is no data.
    data: msgspec.Raw = msgspec.Raw(b"")


class Message:
    """One WebSocket message, encoded once for all sockets that take it."""

    __slots__ = ("_framed", "binary", "payload")

    def __init__(self, payload: bytes, binary: bool) -> None:
        self.payload = payload
        self.binary = binary
        self._framed: bytes | None = None

    @property
    def framed(self) -> bytes:
        """With the header of RFC 6455 section 5.2; a server's frames carry no mask, so it fits every connection."""
        if self._framed is None:
            opcode = Opcode.BINARY if self.binary else Opcode.TEXT
            self._framed = Frame(opcode, self.payload).serialize(mask=False)
        return self._framed


class Codec:
    """One of the two encodings."""

    def __init__(self, name: str, *, binary: bool, encode: Callable[[Any], bytes], decoder: Any) -> None:
        self.name = name
        self.binary = binary
        self.encode = encode
        self._decoder = decoder

    def message(self, frame: Any) -> Message:
        """A frame as what goes over the wire."""
        return Message(self.encode(frame), self.binary)

    def request(self, payload: bytes) -> Request:
        """A client's frame. Raises `msgspec.DecodeError` and its kin, `RecursionError`."""
        request: Request = self._decoder.decode(payload)
        return request


JSON = Codec(JSON_PROTOCOL, binary=False, encode=msgspec.json.Encoder().encode, decoder=msgspec.json.Decoder(Request))
MSGPACK = Codec(
    MSGPACK_PROTOCOL, binary=True, encode=msgspec.msgpack.Encoder().encode, decoder=msgspec.msgpack.Decoder(Request)
)
CODECS = {JSON_PROTOCOL: JSON, MSGPACK_PROTOCOL: MSGPACK}


class Broadcast:
    """A frame for several sockets; each encoding of it is made at most once."""

    __slots__ = ("_messages", "frame")

    def __init__(self, frame: EventFrame | SignalFrame) -> None:
        self.frame = frame
        self._messages: dict[str, Message] = {}

    def message(self, codec: Codec) -> Message:
        """The frame in this encoding."""
        message = self._messages.get(codec.name)
        if message is None:
            message = self._messages[codec.name] = codec.message(self.frame)
        return message
