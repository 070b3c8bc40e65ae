"""Attacks on the frames of a socket (RFC 6455 section 5) and on its handshake."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from websockets.frames import Opcode

from tests.attacks._cost import MIB, Victim
from tests.attacks._raw import KEY, UPGRADE, Attack, Play, frame, framing, request, saying, signed, socketed

_MASK = bytes(4)
_TEXT, _CONT, _PING, _PONG, _CLOSE = Opcode.TEXT, Opcode.CONT, Opcode.PING, Opcode.PONG, Opcode.CLOSE
# A flooding client may be cut off before the last frame.
_FLOODED = ("4429", "cut")
_REQUEST = b'{"type":"request","id":1,"method":"message.send","data":{}}'


def _flood(piece: bytes, size: int, *, start: bytes = b"") -> Iterator[bytes]:
    pieces = piece * max(1, 65536 // len(piece))
    yield start
    for _ in range(size // len(pieces)):
        yield pieces


def _then_serves(first: bytes) -> Play:
    """Send these bytes on one socket, and check that other clients are served."""

    async def play(victim: Victim) -> str:
        async with socketed(victim) as (_, writer):
            writer.write(first)
            await writer.drain()
            return await saying(request("GET /health/live"))(victim)

    return play


async def _many_sockets(victim: Victim) -> str:
    """Fifty sockets begin the largest message and never finish it."""
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_then_serves(b"\x81\xff" + (500_000).to_bytes(8, "big") + _MASK)(victim))
            for _ in range(50)
        ]
    return " ".join({task.result() for task in tasks})


FLOODS = (
    Attack("40,000 empty pings in one write", framing([frame(_PING) * 40_000]), _FLOODED),
    Attack("32 MiB of pings, nothing read", framing(_flood(frame(_PING, bytes(125)), 32 * MIB), reads=False), _FLOODED),
    Attack("40,000 pongs in one write", framing([frame(_PONG, b"7") * 40_000]), _FLOODED),
    Attack("40,000 empty fragments", framing([frame(_TEXT, fin=False) + frame(_CONT, fin=False) * 40_000]), _FLOODED),
    Attack(
        "8 MiB of fragments of one byte",
        framing(_flood(frame(_CONT, b"a", fin=False), 8 * MIB, start=frame(_TEXT, fin=False))),
        _FLOODED,
    ),
    Attack("20,000 messages of one byte", framing([frame(_TEXT, b"1") * 20_000], reads=False), ("reply 400",)),
    Attack("20,000 requests in one write", framing([frame(_TEXT, _REQUEST) * 20_000], reads=False), ("reply 400",)),
    Attack("fifty sockets with half a message", _many_sockets, ("200 open",)),
)

BROKEN = (
    Attack("a frame without a mask", framing([b"\x81\x02{}"]), ("1002",)),
    Attack("a compressed frame", framing([b"\xc1\x82" + _MASK + b"{}"]), ("1002",)),
    Attack("the second reserved bit", framing([b"\xa1\x82" + _MASK + b"{}"]), ("1002",)),
    Attack("an unknown opcode", framing([b"\x83\x80" + _MASK]), ("1002",)),
    Attack("a length of 2 to the power of 63", framing([b"\x81\xff\x80" + bytes(7) + _MASK]), ("1009",)),
    Attack("a length of 4 GiB", framing([b"\x82\xff" + (2**32).to_bytes(8, "big") + _MASK]), ("1009",)),
    Attack("a message of 600 KB", framing([frame(_TEXT, b"a" * 600_000)]), ("1009",)),
    Attack(
        "fragments of 600 KB",
        framing([frame(_TEXT, b"a" * 300_000, fin=False), frame(_CONT, b"a" * 300_000)]),
        ("1009",),
    ),
    Attack("half a frame", _then_serves(b"\x81\xff" + (500_000).to_bytes(8, "big") + _MASK + b"{"), ("200 open",)),
    Attack("a ping of 126 bytes", framing([b"\x89\xfe\x00\x7e" + _MASK + bytes(126)]), ("1002",)),
    Attack("a fragmented ping", framing([b"\x09\x80" + _MASK]), ("1002",)),
    Attack("a fragment of nothing", framing([frame(_CONT, b"{}")]), ("1002",)),
    Attack("a message within a message", framing([frame(_TEXT, b"{", fin=False), frame(_TEXT, b"{}")]), ("1002",)),
    Attack("a close of one byte", framing([frame(_CLOSE, b"\x03")]), ("1002",)),
    Attack("a close with an invalid code", framing([frame(_CLOSE, b"\x03\xec")]), ("1002",)),
    Attack("a close whose reason is no UTF-8", framing([frame(_CLOSE, b"\x03\xe8\xff\xff")]), ("1007",)),
    Attack("text that is no UTF-8", framing([frame(_TEXT, b"\xff\xfe")]), ("1007",)),
    Attack("text where bytes are spoken", framing([frame(_TEXT, b"{}")], protocol=b"messenger.msgpack"), ("1003",)),
    Attack("bytes where text is spoken", framing([frame(Opcode.BINARY, b"{}")]), ("1003",)),
    Attack("HTTP after the handshake", framing([request("GET /profile")]), ("1002",)),
)

HANDSHAKES = (
    Attack("a handshake without a key", signed(lambda who: request("GET /ws", UPGRADE, who)), ("400 closed",)),
    Attack(
        "a handshake of version 8",
        signed(lambda who: request("GET /ws", UPGRADE, KEY.replace(b": 13", b": 8"), who)),
        ("426 closed",),
    ),
    Attack("a handshake by POST", signed(lambda who: request("POST /ws", UPGRADE, KEY, who)), ("405 open",)),
    Attack(
        "a handshake over HTTP/1.0",
        signed(lambda who: request("GET /ws", UPGRADE, KEY, who).replace(b"HTTP/1.1", b"HTTP/1.0")),
        ("426 closed",),
    ),
    Attack(
        "a handshake with a header of 10 KB",
        signed(lambda who: request("GET /ws", UPGRADE, KEY, who, b"X: %b\r\n" % (b"a" * 10_000))),
        ("431 closed",),
    ),
    Attack(
        "a handshake with 8 KB of parameters",
        signed(lambda who: request("GET /ws?" + "ticket=1&" * 880, UPGRADE, KEY, who)),
        ("101 open",),
    ),
    Attack(
        "a handshake with 1,000 protocols",
        signed(
            lambda who: request(
                "GET /ws", UPGRADE, KEY, who, b"Sec-WebSocket-Protocol: %b\r\n" % b",".join([b"a"] * 1000)
            )
        ),
        ("101 open",),
    ),
    Attack(
        "a handshake with a body",
        signed(lambda who: request("GET /ws", UPGRADE, KEY, who, b"Content-Length: 1000000\r\n", body=b"a" * 1000)),
        ("426 open",),
    ),
    Attack(
        "a handshake for an unknown path",
        signed(lambda who: request("GET /nothing", UPGRADE, KEY, who)),
        ("404 closed",),
    ),
)

FRAMES = (*FLOODS, *BROKEN, *HANDSHAKES)
