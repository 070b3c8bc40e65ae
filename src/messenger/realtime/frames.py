"""The frames of a socket besides events, their encodings, and the decoding of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Annotated, Any

import msgspec
from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]

from messenger.schemas.realtime import EventFrame

WATCH_SECONDS = 60.0

JSON_PROTOCOL = "messenger.json"
MSGPACK_PROTOCOL = "messenger.msgpack"

# Close codes: RFC 6455 section 7.4, and our own in its private range.
NORMAL, WRONG_FRAME_TYPE, INTERNAL_ERROR, RESTART = 1000, 1003, 1011, 1012
SIGNED_OUT, TIMED_OUT, REPLACED, TOO_MANY_FRAMES = 4401, 4408, 4409, 4429


class Welcome(msgspec.Struct, frozen=True, tag_field="type", tag="welcome"):
    cursor: str
    device_id: str
    heartbeat: float


class CaughtUp(msgspec.Struct, frozen=True, tag_field="type", tag="caught_up"):
    cursor: str


class Resync(msgspec.Struct, frozen=True, tag_field="type", tag="resync"):
    """The events after the client's cursor have been removed; the socket continues at this cursor."""

    cursor: str


class SignalFrame(msgspec.Struct, frozen=True, tag_field="type", tag="signal"):
    event: str
    data: Any


class Reply(msgspec.Struct, frozen=True, tag_field="type", tag="reply"):
    id: int | None
    data: Any


class ErrorReply(msgspec.Struct, frozen=True, tag_field="type", tag="reply"):
    """A reply with an error, as a problem document (RFC 9457)."""

    id: int | None
    error: dict[str, Any]


RequestId = Annotated[int, msgspec.Meta(ge=-(2**53) + 1, le=2**53 - 1)]


class Request(msgspec.Struct, frozen=True, tag_field="type", tag="request", forbid_unknown_fields=True):
    id: RequestId
    method: str
    # Decoded later, by the method's decoder; absent or null means no data.
    data: msgspec.Raw = msgspec.Raw(b"")


class FrameId(msgspec.Struct, frozen=True):
    """A frame of which only the `id` is decoded."""

    id: RequestId


class Message:
    """One WebSocket message, encoded once for all sockets that receive it."""

    __slots__ = ("_framed", "_ping", "_with_ping", "binary", "payload")

    def __init__(self, payload: bytes, binary: bool) -> None:
        self.payload = payload
        self.binary = binary
        self._framed: bytes | None = None
        self._ping = self._with_ping = b""

    @property
    def framed(self) -> bytes:
        """The message as a frame (RFC 6455 section 5.2). A server does not mask, so all connections can share it."""
        if self._framed is None:
            opcode = Opcode.BINARY if self.binary else Opcode.TEXT
            self._framed = Frame(opcode, self.payload).serialize(mask=False)
        return self._framed

    def with_ping(self, ping: bytes) -> bytes:
        """`framed`, followed by a ping with this payload; cached, since consecutive sockets use equal payloads."""
        if ping != self._ping:
            self._ping, self._with_ping = ping, self.framed + Frame(Opcode.PING, ping).serialize(mask=False)
        return self._with_ping


# --- bytes from a client (RFC 6455 section 5.2) ---------------------------------------------------

_PONG, _MASKED, _HEADER = 0x80 | Opcode.PONG, 0x80, 6
"""The first byte of an unfragmented pong, the mask bit of the second byte, and the bytes before a short payload."""


def pong_payload(data: bytes) -> bytes | None:
    """The payload, if these bytes are exactly one pong frame; otherwise None."""
    length = len(data) - _HEADER
    if not 0 <= length <= 125 or data[0] != _PONG or data[1] != _MASKED | length:
        return None
    return apply_mask(data[_HEADER:], data[2:_HEADER])


def ends_with_frame(data: bytes) -> bool:
    """Whether these bytes, which begin with a frame, end at the end of a frame."""
    at, size = 0, len(data)
    while at + 2 <= size:
        length = data[at + 1] & 0x7F
        wide = 2 if length == 126 else 8 if length == 127 else 0
        if wide:
            length = int.from_bytes(data[at + 2 : at + 2 + wide], "big")
        at += _HEADER + wide + length
    return at == size


class Codec:
    """One of the two encodings."""

    def __init__(self, name: str, *, binary: bool, encode: Callable[[Any], bytes], decoder: Any) -> None:
        self.name = name
        self.binary = binary
        self.encode = encode
        self._decoder = decoder(Request)
        self._id_decoder = decoder(FrameId)

    def message(self, frame: Any) -> Message:
        """The encoded form of a frame."""
        return Message(self.encode(frame), self.binary)

    def request(self, payload: bytes) -> Request:
        """Decode a client's frame. Raises errors of msgspec, such as `DecodeError`, and `RecursionError`."""
        request: Request = self._decoder.decode(payload)
        return request

    def request_id(self, payload: bytes) -> int | None:
        """The `id` of an invalid frame; None if it cannot be read."""
        try:
            frame: FrameId = self._id_decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, ValueError):
            return None
        return frame.id


JSON = Codec(JSON_PROTOCOL, binary=False, encode=msgspec.json.Encoder().encode, decoder=msgspec.json.Decoder)
MSGPACK = Codec(MSGPACK_PROTOCOL, binary=True, encode=msgspec.msgpack.Encoder().encode, decoder=msgspec.msgpack.Decoder)
CODECS = {JSON_PROTOCOL: JSON, MSGPACK_PROTOCOL: MSGPACK}


class EventBody:
    """The data of an event, encoded at most once per codec for all users who receive equal data."""

    __slots__ = ("_encoded", "data")

    def __init__(self, data: object) -> None:
        self.data = data
        self._encoded: dict[str, msgspec.Raw] = {}

    def encoded(self, codec: Codec) -> msgspec.Raw:
        """The data in this encoding."""
        encoded = self._encoded.get(codec.name)
        if encoded is None:
            encoded = self._encoded[codec.name] = msgspec.Raw(codec.encode(self.data))
        return encoded


class Watched:
    """The conversations that a device shows, for the next 60 seconds."""

    __slots__ = ("_until", "targets")

    def __init__(self, targets: Iterable[int]) -> None:
        self.targets = frozenset(targets)
        self._until = monotonic() + WATCH_SECONDS

    def includes(self, target_id: int) -> bool:
        """Whether the conversation is watched now."""
        return target_id in self.targets and monotonic() < self._until

    def end(self, target_id: int) -> None:
        """Watch a conversation no longer."""
        self.targets -= {target_id}


class Broadcast:
    """A frame for several sockets; each encoding of it is made at most once.

    `body` is the data of an event that other users receive too, each with a cursor of their own stream. `watched`: the
    conversation that a socket must watch to get the frame.
    """

    __slots__ = ("_body", "_messages", "frame", "watched")

    def __init__(
        self, frame: EventFrame | SignalFrame, body: EventBody | None = None, *, watched: int | None = None
    ) -> None:
        self.frame = frame
        self.watched = watched
        self._body = body
        self._messages: dict[str, Message] = {}

    def is_for(self, watched: Watched | None) -> bool:
        """Whether a socket that watches these conversations gets the frame."""
        return self.watched is None or (watched is not None and watched.includes(self.watched))

    def message(self, codec: Codec) -> Message:
        """The frame in this encoding."""
        message = self._messages.get(codec.name)
        if message is None:
            frame = self.frame
            if self._body is not None and isinstance(frame, EventFrame):
                frame = EventFrame(frame.cursor, frame.event, frame.at, self._body.encoded(codec))
            message = self._messages[codec.name] = codec.message(frame)
        return message
