"""Refuse WebSocket handshakes with an HTTP response and a problem document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from messenger.errors import MessengerError, NotFound
from messenger.realtime.frames import SIGNED_OUT
from messenger.web.problems import MEDIA_TYPE, problem_of

SOCKET_PATH = "/ws"
_ANSWERS = "websocket.http.response"

Send = Callable[[Any], Awaitable[None]]


async def refuse_handshake(scope: Any, send: Any, error: MessengerError) -> None:
    """Respond with the problem; close if the server does not support HTTP responses to handshakes."""
    if _ANSWERS not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": SIGNED_OUT, "reason": error.code})
        return
    headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store", **error.response_headers}
    start: Any = {
        "type": "websocket.http.response.start",
        "status": error.status,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    await send(start)
    body: Any = {"type": "websocket.http.response.body", "body": msgspec.json.encode(problem_of(error))}
    await send(body)


def refusing(scope: Any, send: Send) -> Send:
    """A `send` for paths without a socket: the framework would close the handshake without a problem document."""

    async def refuse(message: Any) -> None:
        if message["type"] == "websocket.close":
            await refuse_handshake(scope, send, NotFound())
        else:
            await send(message)

    return refuse
