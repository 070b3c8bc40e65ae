"""uvicorn's HTTP protocol, with an answer's head and body in one system call."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class JoinedWrites:
    """A transport that holds the first write back: it goes with the second one, or when the loop's turn is over.

    uvicorn writes an answer's head and its body apart, and uvloop hands each to the kernel at once: that costs more
    than all else that uvicorn does for an answer. Nothing that ends an answer is ever held.
    """

    __slots__ = ("_held", "_is_first", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""
        self._is_first = True

    def write(self, data: bytes) -> None:
        if self._is_first:
            self._is_first = False
            self._held = data
            asyncio.get_running_loop().call_soon(self._let_go)
            return
        if self._held:
            data, self._held = self._held + data, b""
        self._transport.write(data)

    def close(self) -> None:
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HttpConnection(HttpToolsProtocol):
    """Its parser and it hold each other, and one that became a WebSocket lets go."""

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        # The head of an answer to HEAD is all of it.
        if cycle.scope["method"] != "HEAD":
            cycle.transport = JoinedWrites(cycle.transport)
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]
