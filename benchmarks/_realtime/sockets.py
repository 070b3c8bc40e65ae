"""A minimal WebSocket client, so that its own cost is not measured as the server's."""

from __future__ import annotations

import asyncio
import json
import re
import socket as sockets
from collections.abc import Callable
from time import perf_counter
from typing import cast

from _realtime.people import Device

# The server writes a frame's fields in this order; a parser of JSON would cost more than all the rest.
_HEAD = re.compile(rb'\{"type":"(\w+)"(?:,"cursor":"e(\d+)")?(?:,"event":"([\w.]+)")?(?:,"id":(\d+))?')
_ERROR = b',"error":'
_CODE = re.compile(rb'"code":"(\w+)"')
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_NO_MASK = b"\0\0\0\0"
_KEY = "x3JJHMbDL1EzLkh9GBhXDw=="
PATIENCE = 60.0

OnEvent = Callable[[bytes, bytes, float], None]
OnReply = Callable[[int, str, float], None]
"""Number, the error's code (empty: there is none), when."""


class Refused(ConnectionError):
    """The response to the handshake was not 101."""


class Socket(asyncio.Protocol):
    """One device's socket: answers pings, tracks its cursor, and passes events to a callback."""

    frames = 0
    """The number of text frames that all sockets have received; unchanged while there is no traffic."""
    breaks = 0
    """Events of all sockets that did not directly follow the previous one (lost, repeated or reordered); always 0."""

    def __init__(self, device: Device, position: int | None) -> None:
        loop = asyncio.get_running_loop()
        self.device = device
        self.position = -1 if position is None else position
        self.events = 0
        self.catch_ups = 0
        self.caught_up: asyncio.Future[float] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self.on_event: OnEvent | None = None
        self.on_reply: OnReply | None = None
        self.on_signal: OnEvent | None = None
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._open = False
        self._code = 1006

    # --- what a benchmark does with it ---

    def request(self, number: int, method: str, data: dict[str, object]) -> None:
        """Send a request."""
        text = json.dumps({"type": "request", "id": number, "method": method, "data": data})
        self.transport.write(_frame(_TEXT, text.encode()))

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def cut(self) -> None:
        """Disconnect without a close frame."""
        self.transport.abort()

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        query = "" if self.position < 0 else f"?cursor=e{self.position}"
        self._transport.write(
            (
                f"GET /ws{query} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n"
                f"Authorization: Bearer {self.device.token}\r\n\r\n"
            ).encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.caught_up.done():
            self.caught_up.set_exception(ConnectionError("ended before it had caught up"))
            # Not everybody waits for it.
            self.caught_up.exception()
        if not self.ended.done():
            self.ended.set_result(self._code)

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        if self._rest:
            data = self._rest + data
        if not self._open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            if not self._accepted(head):
                return
        self._rest = data[self._read(data, now) :]

    def _accepted(self, head: bytes) -> bool:
        status = head[9:12].decode("latin-1")
        self._open = status == "101"
        if not self._open:
            self.caught_up.set_exception(Refused(f"answered with {status}"))
            self.caught_up.exception()
            self.transport.abort()
        return self._open

    def _read(self, data: bytes, now: float) -> int:
        """Handle the whole frames (RFC 6455 section 5.2; a server's are unmasked, this one's in one piece)."""
        at, size = 0, len(data)
        while size - at >= 2:
            length, start = data[at + 1], at + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                if start > size:
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
            if start + length > size:
                break
            self._on_frame(data[at] & 15, data[start : start + length], now)
            at = start + length
        return at

    def _on_frame(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == _TEXT:
            self._on_text(payload, now)
        elif opcode == _PING:
            self.transport.write(_frame(_PONG, payload))
        elif opcode == _CLOSE:
            self._code = int.from_bytes(payload[:2], "big")
            self.transport.abort()

    def _on_text(self, payload: bytes, now: float) -> None:
        Socket.frames += 1
        head = _HEAD.match(payload)
        assert head is not None, payload[:100]
        kind = head[1]
        if kind == b"event":
            self._on_event(int(head[2]), head[3], payload, now)
        elif kind == b"reply":
            if self.on_reply is not None:
                self.on_reply(int(head[4]), _code(payload) if payload.startswith(_ERROR, head.end()) else "", now)
        elif kind == b"signal":
            if self.on_signal is not None:
                self.on_signal(head[3], payload, now)
        elif kind == b"caught_up":
            self.catch_ups += 1
            if not self.caught_up.done():
                self.caught_up.set_result(now)
        elif kind == b"welcome":
            self.position = int(head[2])
        else:
            raise RuntimeError(f"a frame that no benchmark expects: {payload[:100]!r}")

    def _on_event(self, position: int, name: bytes, payload: bytes, now: float) -> None:
        if position != self.position + 1:
            Socket.breaks += 1
        self.position = position
        self.events += 1
        if self.on_event is not None:
            self.on_event(name, payload, now)


def _code(problem: bytes) -> str:
    found = _CODE.search(problem)
    return found[1].decode() if found else "unknown"


def _frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame; the mask is zero, which the server removes at the same cost as any other."""
    size = len(payload)
    if size < 126:
        head = bytes((128 | opcode, 128 | size))
    elif size < 65536:
        head = bytes((128 | opcode, 254)) + size.to_bytes(2, "big")
    else:
        head = bytes((128 | opcode, 255)) + size.to_bytes(8, "big")
    return head + _NO_MASK + payload


async def connect(
    port: int, device: Device, position: int | None = None, *, on_event: OnEvent | None = None, narrow: bool = False
) -> Socket:
    """A socket that has caught up; raises `ConnectionError`.

    `narrow`: both kernels buffer some 90 KB for it. Loopback's huge segments make it 4 MB, which no network does.
    """
    loop = asyncio.get_running_loop()
    raw = sockets.socket()
    if narrow:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_MAXSEG, 1400)
    raw.setblocking(False)
    socket = Socket(device, position)
    socket.on_event = on_event
    try:
        await loop.sock_connect(raw, ("127.0.0.1", port))
        await loop.create_connection(lambda: socket, sock=raw)
    except OSError:
        raw.close()
        raise
    try:
        await asyncio.wait_for(asyncio.shield(socket.caught_up), PATIENCE)
    except TimeoutError:
        socket.cut()
        raise ConnectionError("no answer in time") from None
    return socket


async def connect_all(port: int, devices: list[Device], *, at_once: int = 32, narrow: bool = False) -> list[Socket]:
    """A socket for each device, some at a time."""
    found: dict[Device, Socket] = {}
    waiting = iter(devices)

    async def some() -> None:
        for device in waiting:
            found[device] = await connect(port, device, narrow=narrow)

    await asyncio.gather(*(some() for _ in range(at_once)))
    return [found[device] for device in devices]


async def quiet(seconds: float = 0.4) -> None:
    """Wait until no socket has received anything for this long; delivered receipts arrive up to 0.1 s later."""
    seen = -1
    while seen != Socket.frames:
        seen = Socket.frames
        await asyncio.sleep(seconds)


def unbroken() -> str:
    """A note on the order of the events that all sockets have received."""
    return f"Events lost, repeated or out of order: {Socket.breaks}."
