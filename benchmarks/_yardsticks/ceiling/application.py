"""The bare ASGI application."""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable
from typing import Any

from _yardsticks.ceiling.pool import Pool
from _yardsticks.ceiling.reads import contacts, conversations, history, profile, statuses, sync
from _yardsticks.ceiling.request import HEADERS, Answer, Refused, Request
from _yardsticks.ceiling.sending import send
from _yardsticks.ceiling.wire import encode

ROUTES: dict[tuple[str, str], Callable[[Request], Awaitable[Answer]]] = {
    ("GET", "/profile"): profile,
    ("GET", "/contacts"): contacts,
    ("GET", "/statuses"): statuses,
    ("GET", "/conversations"): conversations,
    ("GET", "/sync"): sync,
    ("POST", "/messages"): send,
}


class Ceiling:
    """The application; its pool comes with the start of the server program."""

    def __init__(self, database_url: str, pool_size: int) -> None:
        self._pool = Pool(database_url)
        self._size = pool_size

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        handler = ROUTES.get((scope["method"], path))
        if handler is None and path[:9] == "/history/" and scope["method"] == "GET":
            handler = history
        try:
            if handler is None:
                raise Refused(404, "not_found")
            body = await _body(receive) if scope["method"] == "POST" else b""
            status, content, headers = await handler(Request(self._pool, scope, body))
        except Refused as refused:
            status, headers = refused.status, HEADERS
            content = encode({"code": refused.code, "status": status})
        length = (b"content-length", b"%d" % len(content))
        await send({"type": "http.response.start", "status": status, "headers": (length, *headers)})
        await send({"type": "http.response.body", "body": content})

    async def open(self) -> None:
        """Connect."""
        await self._pool.open(self._size)

    async def close(self) -> None:
        await self._pool.close()

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        await self.open()
        # Imported objects stay, and requests create no reference cycles, so there is little to collect.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 5, 40)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _body(receive: Any) -> bytes:
    event = await receive()
    body: bytes = event["body"]
    while event.get("more_body"):
        event = await receive()
        body += event["body"]
    return body


def app() -> Ceiling:
    """Over the database and with the pool of the environment."""
    return Ceiling(os.environ["YARDSTICK_DATABASE_URL"], int(os.environ["YARDSTICK_POOL_SIZE"]))
