"""Slow clients. The timeouts of the attacked server, in seconds, are those of `_victim.py`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress

from tests.attacks._cost import Victim
from tests.attacks._raw import Attack, Play, request, say, sized
from tests.attacks._victim import PATIENCE

_HEALTH = request("GET /health/live")
_JSON = b"Content-Type: application/json\r\n"
_HEAD = request("POST /login", _JSON, b"Content-Length: 60000\r\n")
_CONNECTIONS = PATIENCE.connections + 100


def _slowly(start: bytes, piece: bytes, *, pause: float, count: int = 1000) -> Play:
    def pieces() -> Iterator[bytes]:
        yield start
        for _ in range(count):
            yield piece

    return lambda victim: say(victim, pieces(), pause=pause)


async def _unread(victim: Victim) -> str:
    """Request large responses and read none; whether the server closes the connection."""
    with socket.socket() as client:
        # Small kernel buffers, so that the server notices soon.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", victim.port))
        sending = asyncio.create_task(_ask_on(client))
        try:
            async with asyncio.timeout(12):
                # A reset by the server appears as an error of a socket that nobody reads.
                while not client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    if sending.done() and sending.exception():
                        break
                    await asyncio.sleep(0.05)
                return "cut"
        except TimeoutError:
            return "open"
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _ask_on(client: socket.socket) -> None:
    """Send one request after the other until the kernel buffers are full of responses."""
    while True:
        await asyncio.get_running_loop().sock_sendall(client, request("GET /openapi.json"))
        await asyncio.sleep(0.005)


async def _many_connections(victim: Victim) -> str:
    """Open as many connections as are allowed, each with a slowly arriving head, and more; then send a normal request.
    The surplus connections send nothing: data for a closed socket would make TCP discard the response.
    """
    connections = []
    try:
        for number in range(_CONNECTIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
            connections.append((reader, writer))
            if number < PATIENCE.connections:
                writer.write(_HEALTH[:-3])
        state = await asyncio.to_thread(victim.state)
        bound = "bounded" if state["connections"] <= PATIENCE.connections + 1 else "unbounded"
        received = await asyncio.gather(*(_last_word(reader) for reader, _ in connections))
        refused = sum(b" 503 " in word for word in received)
        late = sum(b" 408 " in word for word in received)
        # On a busy machine the first may be closed before the last are opened.
        enough = late == PATIENCE.connections and 2 * refused >= _CONNECTIONS - PATIENCE.connections
        refusals = "refused" if enough else f"{refused} refused and {late} timed out"
        return f"{bound}, {refusals}, then {await say(victim, [_HEALTH])}"
    finally:
        for _, writer in connections:
            writer.transport.abort()


async def _last_word(reader: asyncio.StreamReader) -> bytes:
    received = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(15):
            received = await reader.read()
    return received


SLOW = (
    Attack("nothing at all", _slowly(b"", b"", pause=0.2), ("closed",)),
    Attack("a head that trickles", _slowly(b"GET /", b"a", pause=0.2), ("408 closed", "closed")),
    Attack("headers that trickle", _slowly(_HEALTH[:-2], b"a: b\r\n", pause=0.2), ("408 closed",)),
    Attack("empty lines that trickle", _slowly(b"", b"\r\n", pause=0.2), ("closed",)),
    Attack("nothing behind an answer", _slowly(_HEALTH, b"", pause=0.2), ("200 closed",)),
    Attack("empty lines behind an answer", _slowly(_HEALTH, b"\r\n", pause=0.2), ("200 closed",)),
    Attack("a body that trickles", _slowly(_HEAD, b" " * 10, pause=0.1), ("408 closed",)),
    Attack("a body that stops", _slowly(_HEAD + b" " * 50_000, b"", pause=0.2), ("408 closed",)),
    Attack("a body of 4 KB/s that lasts too long", _slowly(_HEAD, b" " * 400, pause=0.1), ("408 closed",)),
    Attack("a body of 4 KB/s that comes in time", _slowly(_HEAD, b" " * 5000, pause=0.1, count=12), ("400 open",)),
    Attack(
        "chunks that trickle",
        _slowly(request("POST /login", _JSON, b"Transfer-Encoding: chunked\r\n"), b"1\r\n \r\n", pause=0.1),
        ("408 closed",),
    ),
    Attack(
        "a body that trickles behind its answer",
        _slowly(request("POST /avatar/upload", b"Content-Length: 100000\r\n"), b" " * 200, pause=0.1),
        ("401 closed",),
    ),
    Attack(
        "a request in two halves",
        _slowly(sized("POST /login", b"{}", _JSON)[:-1], b"}", pause=1, count=1),
        ("400 open",),
    ),
    Attack("answers that nobody reads", _unread, ("cut",)),
)

# Apart from the others: a client that connects at the same time is refused.
MANY_CONNECTIONS = Attack(
    f"{_CONNECTIONS} connections that send their heads slowly", _many_connections, ("bounded, refused, then 200 open",)
)
