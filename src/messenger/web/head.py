"""HEAD: the response to GET without its body (RFC 9110 section 9.3.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[Any], Awaitable[None]]

ORIGINAL_METHOD = "messenger.original_method"
"""Scope key for the method that the client used, for a request that is handled as GET."""


def as_get(scope: Any) -> Any:
    """The scope of the same request as GET, with the original method kept."""
    return {**scope, "method": "GET", ORIGINAL_METHOD: "HEAD"}


def without_body(send: Send) -> Send:
    """A `send` that forwards only the head of a response, with the headers that the body would have."""

    async def send_head(message: Any) -> None:
        if message["type"] == "http.response.body":
            if message.get("more_body"):
                return
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    return send_head
