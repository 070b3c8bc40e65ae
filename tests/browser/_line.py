"""The connection between a page and the server, controlled by a test."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from playwright.async_api import WebSocketRoute

from tests.browser._tab import Tab

Frame = dict[str, Any]


class Line:
    """Forwards frames, holds them, or sends frames of its own. `to_page` and `to_server` decide which frames pass."""

    def __init__(self) -> None:
        self.sockets: list[WebSocketRoute] = []
        self.sent: list[Frame] = []
        self.received: list[Frame] = []
        self.frame_sent = asyncio.Event()
        self.to_page: Callable[[Frame], bool] = lambda _: True
        self.to_server: Callable[[Frame], bool] = lambda _: True

    @classmethod
    async def under(cls, tab: Tab) -> Line:
        """Controls this tab's sockets from the next one on."""
        line = cls()
        await tab.page.route_web_socket(re.compile(r"/ws\?"), line._on_socket)
        return line

    def _on_socket(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        server = socket.connect_to_server()

        def from_page(text: str | bytes) -> None:
            self.sent.append(json.loads(text))
            self.frame_sent.set()
            if self.to_server(self.sent[-1]):
                server.send(text)

        def from_server(text: str | bytes) -> None:
            self.received.append(json.loads(text))
            if self.to_page(self.received[-1]):
                socket.send(text)

        socket.on_message(from_page)
        server.on_message(from_server)

    def say(self, frame: Frame) -> None:
        """Send a frame to the page, as if from the server."""
        self.sockets[-1].send(json.dumps(frame))

    def refuse(self, method: str, retry_after: int) -> None:
        """From now on, answer requests of this method with 429 instead of passing them to the server."""
        error = {"type": "urn:messenger:problem:rate_limited", "title": "Too many requests; wait", "status": 429}
        error |= {"detail": "Too many requests; wait", "code": "rate_limited", "errors": [], "retry_after": retry_after}

        def passes(frame: Frame) -> bool:
            if frame.get("method") != method:
                return True
            self.say({"type": "reply", "id": frame["id"], "error": error})
            return False

        self.to_server = passes

    def accept(self) -> None:
        """Pass all requests to the server again."""
        self.to_server = lambda _: True

    async def close(self, code: int, reason: str = "") -> None:
        """Close the socket, as if by the server."""
        await self.sockets[-1].close(code=code, reason=reason)

    def events(self, name: str) -> list[Frame]:
        """The events that the server has sent so far."""
        return [frame for frame in self.received if frame.get("event") == name]

    def requests(self, method: str) -> list[Frame]:
        """The requests that the page has sent so far."""
        return [frame for frame in self.sent if frame.get("method") == method]
