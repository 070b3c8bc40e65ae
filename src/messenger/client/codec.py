"""The two encodings, what comes over a socket, and what each event's data is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec

from messenger.client.errors import UnexpectedResponse
from messenger.schemas.realtime import EVENT_DATA, CallSignalView, TypingView
from messenger.schemas.users import PersonView, ProfileView, StatusView

T = TypeVar("T")

JSON_TYPE, MSGPACK_TYPE = "application/json", "application/msgpack"


class Event(msgspec.Struct, frozen=True):
    """One thing that happened. `data` is a view of `messenger.schemas`, or plain values where the name is unknown."""

    cursor: str
    name: str
    at: str
    data: Any


class Signal(msgspec.Struct, frozen=True):
    """Something fleeting: `typing`, `presence`, `call.signal`. Never repeated, may be lost."""

    name: str
    data: Any


class CaughtUp(msgspec.Struct, frozen=True):
    """All that happened up to here has been handed out. Signals may have been lost: load the statuses."""

    cursor: str


class Resync(msgspec.Struct, frozen=True):
    """What came in between is not kept any more: load the state afresh; the stream goes on from here."""

    cursor: str


Item = Event | Signal | CaughtUp | Resync

# --- frames, as they come -------------------------------------------------------------------------


class WelcomeFrame(msgspec.Struct, tag_field="type", tag="welcome"):
    cursor: str
    device_id: str
    heartbeat: float


class CaughtUpFrame(msgspec.Struct, tag_field="type", tag="caught_up"):
    cursor: str


class ResyncFrame(msgspec.Struct, tag_field="type", tag="resync"):
    cursor: str | None = None


class EventFrame(msgspec.Struct, tag_field="type", tag="event"):
    cursor: str
    event: str
    at: str
    data: Any


class SignalFrame(msgspec.Struct, tag_field="type", tag="signal"):
    event: str
    data: Any


class ReplyFrame(msgspec.Struct, tag_field="type", tag="reply"):
    id: int | None
    data: Any = None
    error: Any = None


Frame = WelcomeFrame | CaughtUpFrame | ResyncFrame | EventFrame | SignalFrame | ReplyFrame


class SyncPage(msgspec.Struct):
    """`GET /sync`, with its events' data still plain."""

    events: list[EventFrame]
    cursor: str
    more: bool


class Codec:
    """One of the two encodings, for bodies and frames."""

    def __init__(
        self,
        media_type: str,
        protocol: str,
        *,
        binary: bool,
        encode: Callable[[Any], bytes],
        decode: Callable[..., Any],
    ) -> None:
        self.media_type = media_type
        self.protocol = protocol
        self.binary = binary
        self.encode = encode
        self._decode = decode

    def decode(self, content: bytes, want: Any) -> Any:
        """An answer as what was wanted. Raises `UnexpectedResponse`."""
        try:
            return self._decode(content, type=want)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise UnexpectedResponse(f"the answer can't be read: {error}") from None

    def frame(self, message: str | bytes) -> Frame | None:
        """A frame; None for a kind that this client is too old for. Raises `UnexpectedResponse`."""
        content = message.encode() if isinstance(message, str) else message
        try:
            return cast(Frame, self._decode(content, type=Frame))
        except msgspec.ValidationError:
            if isinstance(self.decode(content, dict[str, Any]).get("type"), str):
                return None
            raise UnexpectedResponse("a frame without a type") from None
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise UnexpectedResponse(f"a frame can't be read: {error}") from None


JSON = Codec(JSON_TYPE, "messenger.json", binary=False, encode=msgspec.json.encode, decode=msgspec.json.decode)
MSGPACK = Codec(
    MSGPACK_TYPE, "messenger.msgpack", binary=True, encode=msgspec.msgpack.encode, decode=msgspec.msgpack.decode
)
CODECS = {"json": JSON, "msgpack": MSGPACK}

_DATA: dict[str, Any] = {name: view for name, view in EVENT_DATA.items() if name != "profile.updated"}
_SIGNAL_DATA: dict[str, Any] = {"typing": TypingView, "presence": StatusView, "call.signal": CallSignalView}


def event_of(frame: EventFrame) -> Event:
    """An event with typed data; plain where this client is too old to know it."""
    want = _DATA.get(frame.event)
    if frame.event == "profile.updated" and isinstance(frame.data, dict):
        # One's own profile says what others may see; another's says how one stands to them.
        want = ProfileView if "privacy" in frame.data else PersonView
    return Event(frame.cursor, frame.event, frame.at, _leniently(frame.data, want))


def signal_of(frame: SignalFrame) -> Signal:
    """A signal with typed data; plain where this client is too old to know it."""
    return Signal(frame.event, _leniently(frame.data, _SIGNAL_DATA.get(frame.event)))


def typed(data: Any, want: type[T]) -> T:
    """Plain data as what was wanted. Raises `UnexpectedResponse`."""
    try:
        return msgspec.convert(data, want)
    except msgspec.ValidationError as error:
        raise UnexpectedResponse(f"the answer can't be read: {error}") from None


def _leniently(data: Any, want: Any) -> Any:
    if want is None:
        return data
    try:
        return msgspec.convert(data, want)
    except msgspec.ValidationError:
        return data
