"""A server in this process: HTTP by a function, sockets on loopback, with each step controlled by the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from messenger.client import Client, EventStream, Timing, Tokens
from tests.client.wire import AT, DEVICE, message_data, problem

Answer = httpx.Response | Exception
Handler = Callable[[httpx.Request], Answer | Awaitable[Answer]]

QUICK = Timing(connect=2.0, answer=2.0, reply=2.0, patience=30.0, first_wait=0.5, longest_wait=30.0, stable=60.0)


def refused(status: int, code: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """A refused HTTP request."""
    return httpx.Response(
        status, json=problem(status, code), headers={"content-type": "application/problem+json", **(headers or {})}
    )


class Peer:
    """The server's end of one socket."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        request = connection.request
        assert request is not None
        self.query = {name: values[-1] for name, values in parse_qs(urlsplit(request.path).query).items()}
        self.authorization = request.headers.get("Authorization")
        self.over = asyncio.Event()

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame in the socket's encoding."""
        binary = self.connection.subprotocol == "messenger.msgpack"
        await self.connection.send(msgspec.msgpack.encode(frame) if binary else json.dumps(frame))

    async def welcome(self, cursor: str = "e0", *, caught_up: bool = True) -> None:
        await self.send({"type": "welcome", "cursor": cursor, "device_id": DEVICE, "heartbeat": 30})
        if caught_up:
            await self.send({"type": "caught_up", "cursor": cursor})

    async def event(self, number: int, name: str = "message.created", data: Any = None) -> None:
        """Send the event at `e<number>`, by default a message of this number."""
        data = message_data(number) if data is None else data
        await self.send({"type": "event", "cursor": f"e{number}", "event": name, "at": AT, "data": data})

    async def asked(self) -> dict[str, Any]:
        """The next request."""
        payload = await self.connection.recv()
        if isinstance(payload, bytes):
            return msgspec.msgpack.decode(payload, type=dict[str, Any])
        return msgspec.json.decode(payload, type=dict[str, Any])

    async def reply(self, request: dict[str, Any], data: Any = None, *, error: Any = None) -> None:
        answer = {"error": error} if error is not None else {"data": data}
        await self.send({"type": "reply", "id": request["id"], **answer})

    async def close(self, code: int, reason: str = "") -> None:
        await self.connection.close(code, reason)
        self.over.set()

    def cut(self) -> None:
        """Drop the connection without a close frame."""
        self.connection.transport.abort()
        self.over.set()


def _always(answer: Answer) -> Handler:
    return lambda _: answer


class Feed:
    """`GET /sync` over a list of frames; a call waits for new ones."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.expired = False
        self._news = asyncio.Event()

    def add(self, number: int) -> None:
        """Add the next event, at `e<number>`."""
        data = message_data(number)
        self.frames.append(
            {"type": "event", "cursor": f"e{number}", "event": "message.created", "at": AT, "data": data}
        )
        self._news.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        cursor = request.url.params.get("cursor")
        if cursor is None:
            return httpx.Response(200, json={"events": [], "cursor": f"e{len(self.frames)}", "more": False})
        if self.expired:
            self.expired = False
            return refused(410, "cursor_expired")
        after = int(cursor[1:])
        if float(request.url.params["wait"]) > 0:
            while len(self.frames) <= after:
                self._news.clear()
                await self._news.wait()
        found = self.frames[after : after + 2]
        end = after + len(found)
        answer = {"events": found, "cursor": f"e{end}", "more": end < len(self.frames)}
        return httpx.Response(200, json=answer)


class Fake:
    """Sockets appear in `sockets` in the order of their handshakes; `refusals` answer the first handshakes."""

    def __init__(self) -> None:
        self.sockets: asyncio.Queue[Peer] = asyncio.Queue()
        self.refusals: list[tuple[int, dict[str, Any] | str, dict[str, str]]] = []
        self.handlers: dict[tuple[str, str], list[Handler]] = {}
        self.calls: list[httpx.Request] = []
        self.sleeps: list[float] = []
        self.handshakes = 0
        self.access = "a1"
        self.refresh = "r1"
        self.refreshes = 0
        self.kept: list[Tokens | None] = []
        self.url = ""
        self._server: Server | None = None

    # --- HTTP ---

    def on(self, method: str, path: str, *answers: Handler | httpx.Response | Exception) -> None:
        """Answer calls in this order; the last answer repeats."""
        self.handlers[method, path] = [
            _always(answer) if isinstance(answer, httpx.Response | Exception) else answer for answer in answers
        ]

    async def handle(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.calls.append(request)
        # Let other tasks run while a request is under way.
        await asyncio.sleep(0)
        path = request.url.path
        if path == "/token/refresh":
            return self._refreshed(request)
        if path not in {"/register", "/login"} and request.headers.get("authorization") != f"Bearer {self.access}":
            return refused(401, "unauthenticated")
        answers = self.handlers[request.method, path]
        given = (answers.pop(0) if len(answers) > 1 else answers[0])(request)
        answer = given if isinstance(given, httpx.Response | Exception) else await given
        if isinstance(answer, Exception):
            raise answer
        # A response can be read once, and an answer may be used many times.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def _refreshed(self, request: httpx.Request) -> httpx.Response:
        if json.loads(request.content)["refresh_token"] != self.refresh:
            return refused(401, "refresh_token_reused")
        self.refreshes += 1
        self.access, self.refresh = f"a{self.refreshes + 1}", f"r{self.refreshes + 1}"
        return httpx.Response(200, json={"tokens": self.tokens()})

    def tokens(self, expires_in: int = 900) -> dict[str, Any]:
        return {
            "access_token": self.access,
            "refresh_token": self.refresh,
            "token_type": "Bearer",
            "expires_in": expires_in,
        }

    def said(self, path: str) -> list[dict[str, Any]]:
        """The bodies of the calls to a path."""
        return [json.loads(call.content) for call in self.calls if call.url.path == path]

    # --- sockets ---

    async def socket(self) -> Peer:
        """The next socket that the client opens."""
        return await self.sockets.get()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes += 1
        if not self.refusals:
            return None
        status, body, headers = self.refusals.pop(0)
        kind = "text/html" if isinstance(body, str) else "application/problem+json"
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        return Response(status, "", Headers({"Content-Type": kind, "Connection": "close", **headers}), content)

    async def _serve(self, connection: ServerConnection) -> None:
        peer = Peer(connection)
        self.sockets.put_nowait(peer)
        await connection.wait_closed()

    async def start(self) -> None:
        await self._listen(0)
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def restart(self) -> None:
        """Restart on the same port."""
        assert self._server is not None
        await self._listen(int(self.url.rpartition(":")[2]))

    async def _listen(self, port: int) -> None:
        protocols = [Subprotocol("messenger.json"), Subprotocol("messenger.msgpack")]
        self._server = await serve(
            self._serve, "127.0.0.1", port, process_request=self._admit, subprotocols=protocols, compression=None
        )

    # --- the client ---

    async def sleep(self, seconds: float) -> None:
        """Record the time, and return at once."""
        self.sleeps.append(seconds)
        await asyncio.sleep(0)

    def client(self, **options: Any) -> Client:
        """A client that is signed in and never has to wait."""
        given: dict[str, Any] = {
            "tokens": Tokens(self.access, self.refresh),
            "on_tokens": self.kept.append,
            "timing": QUICK,
            "transport": httpx.MockTransport(self.handle),
            "sleep": self.sleep,
            **options,
        }
        return Client(self.url, **given)


async def take(stream: EventStream, count: int) -> list[str]:
    """The cursors of the next items."""
    return [getattr(await anext(stream), "cursor", "signal") for _ in range(count)]


@asynccontextmanager
async def running() -> AsyncIterator[Fake]:
    """A running fake server."""
    fake = Fake()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
