"""JSON and MessagePack encodings, socket frames, and the type of each event's data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec

from messenger.client.errors import UnexpectedResponse
from messenger.schemas.groups import GroupPreview, GroupView
from messenger.schemas.messages import MessageView
from messenger.schemas.realtime import EVENT_DATA, CallSignalView, GroupChangeView, ReceiptCountsView, TypingView
from messenger.schemas.users import PersonView, ProfileView, StatusView

T = TypeVar("T")

JSON_TYPE, MSGPACK_TYPE = "application/json", "application/msgpack"


class Event(msgspec.Struct, frozen=True):
    """An event of the stream. `data` is a view of `messenger.schemas`, or plain values if the name is unknown.

    `at` is a time in the wire format (RFC 3339, UTC).
    """

    cursor: str
    name: str
    at: str
    data: Any


class Signal(msgspec.Struct, frozen=True):
    """An ephemeral signal: `typing`, `presence`, `call.signal`, `receipts`. Delivered at most once."""

    name: str
    data: Any


class CaughtUp(msgspec.Struct, frozen=True):
    """Every event up to this cursor has been delivered. Signals may have been lost: reload the statuses."""

    cursor: str


class Resync(msgspec.Struct, frozen=True):
    """Earlier events have expired: reload the state; the stream continues at this cursor."""

    cursor: str


Item = Event | Signal | CaughtUp | Resync

# --- frames as received ---------------------------------------------------------------------------


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
    """The response of `GET /sync`, with the data of its events not yet typed."""

    events: list[EventFrame]
    cursor: str
    more: bool


class Codec:
    """An encoding of bodies and frames."""

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
        """Decode a response body as the type `want`. Raises `UnexpectedResponse`."""
        try:
            if want in _ADDED:
                return typed(self._decode(content, type=dict[str, Any]), want)
            return self._decode(content, type=want)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise UnexpectedResponse(f"the response cannot be decoded: {error}") from None

    def frame(self, message: str | bytes) -> Frame | None:
        """Decode a frame; None if its type is unknown to this client. Raises `UnexpectedResponse`."""
        content = message.encode() if isinstance(message, str) else message
        try:
            return cast(Frame, self._decode(content, type=Frame))
        except msgspec.ValidationError:
            if isinstance(self.decode(content, dict[str, Any]).get("type"), str):
                return None
            raise UnexpectedResponse("a frame without a type") from None
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise UnexpectedResponse(f"a frame cannot be decoded: {error}") from None


JSON = Codec(JSON_TYPE, "messenger.json", binary=False, encode=msgspec.json.encode, decode=msgspec.json.decode)
MSGPACK = Codec(
    MSGPACK_TYPE, "messenger.msgpack", binary=True, encode=msgspec.msgpack.encode, decode=msgspec.msgpack.decode
)
CODECS = {"json": JSON, "msgpack": MSGPACK}

_DATA: dict[str, Any] = {name: view for name, view in EVENT_DATA.items() if name != "profile.updated"}
_SIGNAL_DATA: dict[str, Any] = {
    "typing": TypingView,
    "presence": StatusView,
    "call.signal": CallSignalView,
    "receipts": ReceiptCountsView,
}


def event_of(frame: EventFrame) -> Event:
    """An event with typed data; the data stays plain if this client does not know its type."""
    want = _DATA.get(frame.event)
    if frame.event == "profile.updated" and isinstance(frame.data, dict):
        # Only your own profile has privacy settings.
        want = ProfileView if "privacy" in frame.data else PersonView
    data = _leniently(frame.data, want)
    if isinstance(data, GroupChangeView):
        group = _leniently(data.group, _group_type(data.group))
        data = msgspec.structs.replace(data, group=group) if group is not data.group else frame.data
    return Event(frame.cursor, frame.event, frame.at, data)


def group_of(data: Any) -> GroupView | GroupPreview:
    """Convert plain data to a group, or to the preview that others see. Raises `UnexpectedResponse`."""
    return typed(data, _group_type(data))


def _group_type(data: Any) -> type[GroupView] | type[GroupPreview]:
    # Only members see their own membership.
    return GroupView if isinstance(data, dict) and "me" in data else GroupPreview


def signal_of(frame: SignalFrame) -> Signal:
    """A signal with typed data; the data stays plain if this client does not know its type."""
    return Signal(frame.event, _leniently(frame.data, _SIGNAL_DATA.get(frame.event)))


# Fields that the release before does not send, with their values. Both releases serve while one replaces the other.
_ADDED: dict[Any, dict[str, Any]] = {MessageView: {"deleted_by": None}}


def _completed(data: Any, want: Any) -> Any:
    added = _ADDED.get(want)
    return {**added, **data} if added and isinstance(data, dict) else data


def typed(data: Any, want: type[T]) -> T:
    """Convert plain data to the type `want`. Raises `UnexpectedResponse`."""
    try:
        return msgspec.convert(_completed(data, want), want)
    except msgspec.ValidationError as error:
        raise UnexpectedResponse(f"the response cannot be decoded: {error}") from None


def _leniently(data: Any, want: Any) -> Any:
    if want is None:
        return data
    try:
        return msgspec.convert(_completed(data, want), want)
    except msgspec.ValidationError:
        return data
