"""Serves one socket: the handshake, its requests, and its end."""

from __future__ import annotations

import contextlib
import logging
from codecs import BOM_UTF8
from time import monotonic
from typing import Any
from urllib.parse import parse_qs

import msgspec
from litestar import WebSocket

from messenger.actor import Bearer
from messenger.errors import MalformedBody, MessengerError, Unauthenticated
from messenger.realtime.connection import EXTENSION, AsgiConnection, SocketConnection
from messenger.realtime.frames import (
    CODECS,
    JSON,
    SIGNED_OUT,
    TOO_MANY_FRAMES,
    WRONG_FRAME_TYPE,
    Codec,
    Request,
    Welcome,
)
from messenger.realtime.interfaces import Handshake
from messenger.realtime.runtime import Realtime
from messenger.realtime.socket import Socket
from messenger.schemas.realtime import Place, require_place, stream_cursor
from messenger.web.field_errors import validation_error
from messenger.web.handshakes import refuse_handshake
from messenger.web.negotiation import MSGPACK
from messenger.web.origins import ensure_origin
from messenger.web.problems import problem_of
from messenger.web.queries import ensure_known_parameters
from messenger.web.request import bearer_of, decode, header
from messenger.web.socket_methods import Session, method, stop_typing

logger = logging.getLogger(__name__)

BURST, A_SECOND = 600.0, 60.0
"""Frames that one socket may send in a burst, and per second after that."""

_PARAMETERS = frozenset({"cursor", "ticket"})
_NO_DATA = (b"", b"null", b"\xc0")


class Admission(msgspec.Struct, frozen=True):
    """An accepted handshake: the device, the place where its stream starts, and its encoding.

    `returns`: the client sent a cursor, so it has received all events up to it.
    """

    handshake: Handshake
    after: Place
    returns: bool
    codec: Codec


class Meter:
    """A token bucket of frames; a client that empties it is flooding."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = BURST
        self._at = monotonic()

    def take(self) -> bool:
        """Count a frame; returns whether it is allowed."""
        now = monotonic()
        self._left = min(BURST, self._left + (now - self._at) * A_SECOND) - 1
        self._at = now
        return self._left >= 0


async def serve(socket: WebSocket[Any, Any, Any]) -> None:
    """Serve a socket from its handshake to its end. Errors of the handshake are HTTP responses."""
    try:
        await _serve(socket)
    finally:
        # Litestar's socket and its wrappers of these two refer to each other, and to all objects of the connection:
        # without this, only the garbage collector would free the cycle.
        socket.receive = socket.send = _ended


async def _ended(*_: Any) -> Any:
    raise RuntimeError("this socket has ended")


async def _serve(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.receive()
    try:
        admission = await _admit(socket)
    except MessengerError as error:
        await refuse_handshake(socket.scope, socket.send, error)
        return
    except Exception:
        logger.exception("a handshake failed")
        await refuse_handshake(socket.scope, socket.send, MessengerError())
        return
    offered = socket.scope.get("subprotocols", [])
    chosen = admission.codec.name if admission.codec.name in offered else None
    await socket.send({"type": "websocket.accept", "subprotocol": chosen, "headers": []})
    state = socket.app.state
    connection = _connection(socket)
    realtime: Realtime = state.realtime
    actor = admission.handshake.actor
    handshake, (after, epoch) = admission.handshake, admission.after
    mine = realtime.socket(actor, handshake.generation, connection, admission.codec, after=after, epoch=epoch)
    welcome = Welcome(stream_cursor(after, epoch), str(actor.device_id), realtime.upkeep.heartbeat)
    connection.write(admission.codec.message(welcome))
    if admission.returns and epoch == handshake.epoch and handshake.acked_position < after <= handshake.position:
        # A cursor that a client returns proves that it has received all events before it.
        realtime.acks.ack(actor.user_id, after)
    typing = realtime.typing_signals(actor.user_id)
    session = Session(mine, actor, state.services, realtime.hub, typing, realtime.receipts)
    state.metrics.socket_opened()
    code = 1006
    try:
        with realtime.connected(mine, latest=handshake.position):
            code = await _converse(socket, mine, session, Meter() if realtime.limited else None)
        # If the database is unavailable, the user's visibility is unknown: let the typing signal time out.
        with contextlib.suppress(MessengerError):
            await stop_typing(session)
    finally:
        state.metrics.socket_closed(code)


def _connection(socket: WebSocket[Any, Any, Any]) -> SocketConnection:
    """The connection that our own server program provides, or one over the ASGI interface."""
    scope: Any = socket.scope
    offered: SocketConnection | None = (scope.get("extensions") or {}).get(EXTENSION)
    send: Any = socket.send
    return AsgiConnection(send) if offered is None else offered


async def _converse(socket: WebSocket[Any, Any, Any], mine: Socket, session: Session, meter: Meter | None) -> int:
    """Answer requests one after another until the socket ends; returns the close code."""
    connection = mine.connection
    while True:
        message: Any = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return int(message.get("code") or 1005)
        connection.last_received = monotonic()
        if meter is not None and not meter.take():
            mine.close(TOO_MANY_FRAMES, "too many frames")
            return TOO_MANY_FRAMES
        payload = message.get("bytes") if mine.codec.binary else message.get("text")
        if payload is None:
            mine.close(WRONG_FRAME_TYPE, "binary frames" if mine.codec.binary else "text frames")
            return WRONG_FRAME_TYPE
        await _answer(mine, session, payload if isinstance(payload, bytes) else payload.encode())
        await mine.wait_for_space()


async def _answer(mine: Socket, session: Session, payload: bytes) -> None:
    request_id: int | None = None
    if not mine.codec.binary:
        payload = payload.removeprefix(BOM_UTF8)
    try:
        request = _read(mine.codec, payload)
        request_id = request.id
        wanted = method(request.method)
        devices = session.services.devices
        if not devices.has_lease(session.actor):
            await devices.count_request(session.actor)
        media_type = MSGPACK if mine.codec.binary else ""
        data = bytes(request.data)
        if data in _NO_DATA:
            data = mine.codec.encode({})
        draft = decode(data, media_type, wanted.json, wanted.msgpack)
        mine.reply(request_id, data=await wanted.run(session, draft))
    except MessengerError as error:
        if request_id is None:
            request_id = mine.codec.request_id(payload)
        mine.reply(request_id, error=problem_of(error, with_headers=True))
        if isinstance(error, Unauthenticated):
            mine.close(SIGNED_OUT, "signed out")
    except Exception:
        # As over HTTP, an internal error is logged with its traceback, reported without it, and ends only this request.
        logger.exception("a request over a socket failed")
        mine.reply(request_id, error=problem_of(MessengerError()))


def _read(codec: Codec, payload: bytes) -> Request:
    try:
        return codec.request(payload)
    except msgspec.ValidationError as error:
        raise validation_error(str(error)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError, ValueError):
        raise MalformedBody("The frame could not be parsed") from None


# --- the handshake --------------------------------------------------------------------------------


async def _admit(socket: WebSocket[Any, Any, Any]) -> Admission:
    """Check a handshake.

    Raises `OriginNotAllowed`, `ValidationFailed`, `Unauthenticated`, `RateLimited`, `Unavailable`.
    """
    scope: Any = socket.scope
    ensure_origin(scope, socket.app.state.socket_origins)
    ensure_known_parameters(scope, _PARAMETERS)
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    cursor = query.get("cursor", [None])[-1]
    after = None if cursor is None else require_place(cursor)
    authorization, ticket = header(scope, b"authorization"), query.get("ticket", [None])[-1]
    # A client that sends neither gets the same error as for an invalid token, without a round trip.
    caller: Bearer | None = bearer_of(authorization) if authorization is not None or not ticket else None
    devices = socket.app.state.services.devices
    if caller is not None:
        await devices.count_handshake(caller)
    handshake = await socket.app.state.realtime.streams.open_socket(caller, ticket)
    if caller is None:
        # The device is only known once its ticket is redeemed.
        await devices.count_handshake(handshake.actor)
    codec = next((CODECS[name] for name in scope.get("subprotocols", ()) if name in CODECS), JSON)
    return Admission(handshake, after or Place(handshake.position, handshake.epoch), after is not None, codec)
