"""HEAD: the answer to GET, without its body (RFC 9110 section 9.3.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[Any], Awaitable[None]]

ASKED_METHOD = "messenger.asked_method"
"""In the scope of a request that is answered as another one: the method that the client used."""


def as_get(scope: Any) -> Any:
    """The scope of the same request by GET, which remembers the method it was asked by."""
    return {**scope, "method": "GET", ASKED_METHOD: "HEAD"}


def without_body(send: Send) -> Send:
    """A `send` that passes on the head of an answer alone, with the headers that the body would have."""

    async def send_head(message: Any) -> None:
        if message["type"] == "http.response.body":
            if message.get("more_body"):
                return
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    return send_head
