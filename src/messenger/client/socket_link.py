"""A WebSocket connection: receives frames, sends requests, ends with a close code."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from messenger.client.codec import Codec, Frame, ReplyFrame
from messenger.client.errors import ClientError, Unreachable, api_error
from messenger.client.http import problem_error
from messenger.client.retrying import Timing

MAX_FRAME_BYTES = 16 * 1024 * 1024
ABNORMAL = 1006
# The stream handles lost connections; the library would log them as errors with a traceback.
_QUIET = logging.getLogger(f"{__name__}.websockets")
_QUIET.setLevel(logging.CRITICAL)


class UpgradeRefused(ClientError):
    """The WebSocket handshake failed, most likely because a proxy does not support WebSocket."""


class Closed(msgspec.Struct, frozen=True):
    """The close code and reason of a socket (RFC 6455 section 7.4)."""

    code: int
    reason: str


class _RequestFrame(msgspec.Struct, frozen=True, tag_field="type", tag="request"):
    id: int
    method: str
    data: Any


class SocketLink:
    """An open socket. One task calls `read`; any task may call `request`."""

    def __init__(self, connection: ClientConnection, codec: Codec, timing: Timing) -> None:
        self._connection = connection
        self._codec = codec
        self._timing = timing
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._over = False

    async def read(self) -> Frame | Closed:
        """The next frame other than a reply, or `Closed`. Raises `UnexpectedResponse`."""
        while True:
            try:
                message = await self._connection.recv()
            except ConnectionClosed:
                return self._end()
            frame = self._codec.frame(message)
            if isinstance(frame, ReplyFrame):
                self._on_reply(frame)
            elif frame is not None:
                return frame

    async def request(self, method: str, data: Any) -> Any:
        """Send a request and return the data of its reply, as plain values. Raises `ApiError`, `Unreachable`."""
        if self._over:
            raise Unreachable(f"{method}: the socket is closed")
        number = next(self._numbers)
        content = self._codec.encode(_RequestFrame(number, method, data))
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timing.reply):
                await self._connection.send(content if self._codec.binary else content.decode())
                return await future
        except TimeoutError:
            raise Unreachable(f"{method}: no reply in {self._timing.reply:g} s", may_have_happened=True) from None
        except ConnectionClosed:
            # The request may have been sent before the socket closed.
            raise Unreachable(f"{method}: the socket was closed", may_have_happened=True) from None
        finally:
            self._pending.pop(number, None)
            if future.done() and not future.cancelled():
                future.exception()

    async def close(self) -> None:
        """Close the socket; pending requests raise `Unreachable`."""
        with contextlib.suppress(WebSocketException, OSError):
            await self._connection.close()
        self._end()

    def _end(self) -> Closed:
        self._over = True
        for future in self._pending.values():
            if not future.done():
                future.set_exception(Unreachable("the socket was closed before the reply", may_have_happened=True))
        code = self._connection.close_code
        return Closed(code if code is not None else ABNORMAL, self._connection.close_reason or "")

    def _on_reply(self, frame: ReplyFrame) -> None:
        future = self._pending.get(frame.id) if frame.id is not None else None
        if future is None or future.done():
            return
        if frame.error is None:
            future.set_result(frame.data)
        else:
            future.set_exception(api_error(frame.error))


def socket_url(base_url: str, query: dict[str, str]) -> str:
    """The URL of the WebSocket endpoint, with the scheme `ws` or `wss`."""
    parts = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/ws", urlencode(query), ""))


async def open_link(url: str, *, token: str | None, codec: Codec, timing: Timing) -> SocketLink:
    """Connect. Raises `ApiError`, `Unreachable`, or `UpgradeRefused` if WebSocket is not supported."""
    try:
        connection = await connect(
            url,
            additional_headers={"Authorization": f"Bearer {token}"} if token is not None else None,
            subprotocols=[Subprotocol(codec.protocol)],
            compression=None,
            open_timeout=timing.connect,
            ping_interval=timing.ping,
            ping_timeout=timing.ping,
            close_timeout=2.0,
            max_size=MAX_FRAME_BYTES,
            logger=_QUIET,
        )
    except InvalidStatus as error:
        raise _handshake_error(error) from None
    except InvalidMessage as error:
        # The connection was lost, or the response was not HTTP.
        raise Unreachable(f"no WebSocket: {error}") from error
    except (InvalidHandshake, WebSocketException) as error:
        raise UpgradeRefused(f"no WebSocket: {error}") from error
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"no WebSocket: {type(error).__name__} {error}".rstrip()) from error
    if codec.binary and connection.subprotocol != codec.protocol:
        await connection.close()
        raise UpgradeRefused(f"the server does not support the subprotocol {codec.protocol}")
    return SocketLink(connection, codec, timing)


def _handshake_error(error: InvalidStatus) -> ClientError:
    response = error.response
    headers = response.headers
    refusal = problem_error(
        response.status_code, headers.get("Content-Type", ""), bytes(response.body or b""), headers.get("Retry-After")
    )
    if refusal.code.startswith("http_") and refusal.status not in {401, 429, 503}:
        # Not an error of the API: a proxy rejects the upgrade.
        return UpgradeRefused(f"the upgrade was rejected with status {refusal.status}")
    return refusal
