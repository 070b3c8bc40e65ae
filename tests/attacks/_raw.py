"""Raw bytes over plain sockets: what no client library would send."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from websockets.frames import Frame, Opcode

from tests.attacks._cost import Victim

SECONDS = 15.0
# Seconds after the last response in which the server may close the connection.
_LINGER_SECONDS = 0.15
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")
KEY = b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"

Play = Callable[[Victim], Coroutine[Any, Any, str]]


class Attack(msgspec.Struct, frozen=True):
    """A name, what is sent, and the expected answers."""

    name: str
    play: Play
    right: tuple[str, ...]


@asynccontextmanager
async def dial(victim: Victim) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def request(line: str, *headers: bytes, body: bytes = b"") -> bytes:
    """The bytes of a request; `headers` are complete lines."""
    return line.encode() + b" HTTP/1.1\r\nHost: x\r\n" + b"".join(headers) + b"\r\n" + body


def sized(line: str, body: bytes, *headers: bytes) -> bytes:
    """A request with a body and its length."""
    return request(line, *headers, b"Content-Length: %d\r\n" % len(body), body=body)


async def say(victim: Victim, pieces: Iterable[bytes], *, pause: float = 0.0) -> str:
    """Send the pieces, at once or with pauses; return the statuses, and whether the server closed the connection."""
    async with dial(victim) as (reader, writer):
        speaking = asyncio.create_task(_speak(writer, pieces, pause))
        received, closed = bytearray(), False
        try:
            async with asyncio.timeout(SECONDS):
                while not closed and not (_is_whole(received) and speaking.done()):
                    closed = not await _receive(reader, received)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LINGER_SECONDS):
                        while not closed:
                            closed = not await _receive(reader, received)
        except TimeoutError:
            pass
        finally:
            speaking.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await speaking
        statuses = list(dict.fromkeys(status.decode() for status in _STATUS.findall(received)))
        return " ".join([*statuses, "closed" if closed else "open"])


async def _receive(reader: asyncio.StreamReader, received: bytearray) -> bool:
    """Read for a moment; False once the server has closed the connection."""
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            data = await reader.read(65536)
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    received += data
    return bool(data)


async def _speak(writer: asyncio.StreamWriter, pieces: Iterable[bytes], pause: float) -> None:
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if pause:
                await asyncio.sleep(pause)


def _is_whole(received: bytes | bytearray) -> bool:
    """Whether a response is complete."""
    head, found, rest = bytes(received).rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    return bool(found) and (head.startswith(b"101 ") or (length is not None and len(rest) >= int(length[1])))


def saying(*pieces: bytes) -> Play:
    """An attack that sends these pieces."""
    return lambda victim: say(victim, pieces)


def signed(make: Callable[[bytes], bytes]) -> Play:
    """An attack with a valid token: `make` gets the `Authorization` header."""
    return lambda victim: say(victim, [make(victim.bearer)])


# --- WebSocket ------------------------------------------------------------------------------------


@asynccontextmanager
async def socketed(
    victim: Victim, protocol: bytes = b"messenger.json"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A socket after its handshake."""
    async with dial(victim) as (reader, writer):
        chosen = b"Sec-WebSocket-Protocol: %b\r\n" % protocol
        writer.write(request("GET /ws", UPGRADE, KEY, chosen, victim.bearer))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        yield reader, writer


def frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame from a client."""
    return Frame(opcode, data, fin).serialize(mask=True)


def framing(pieces: Iterable[bytes], *, protocol: bytes = b"messenger.json", reads: bool = True) -> Play:
    """An attack over a socket: the close code that ends it, or `reply` with the status of the answer."""

    async def play(victim: Victim) -> str:
        async with socketed(victim, protocol) as (reader, writer):
            speaking = asyncio.create_task(_speak(writer, pieces, 0.0))
            try:
                if not reads:
                    await asyncio.wait([speaking], timeout=1)
                async with asyncio.timeout(SECONDS):
                    return await _ending(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                return "cut"
            except TimeoutError:
                return "open"
            finally:
                speaking.cancel()
                with suppress(asyncio.CancelledError, ConnectionError):
                    await speaking

    return play


async def _ending(reader: asyncio.StreamReader) -> str:
    while True:
        first, length = await reader.readexactly(2)
        if length in (126, 127):
            length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
        payload = await reader.readexactly(length)
        if first & 0xF == Opcode.CLOSE:
            return str(int.from_bytes(payload[:2], "big"))
        if b"reply" in payload[:20]:
            found = re.search(rb'status(?:":|\xcd)(\d{3}|..)', payload, re.DOTALL)
            status = found[1] if found else b"none"
            return "reply " + (status.decode() if status.isdigit() else str(int.from_bytes(status, "big")))
