"""Attacks on decoders, through HTTP bodies and through frames of a socket."""

from __future__ import annotations

import json

import msgspec
from websockets.frames import Opcode

from tests.attacks._raw import Attack, frame, framing, signed, sized

_DEEP = 100_000
_DIGITS = b"9" * 10_000


def _message(**given: bytes) -> bytes:
    """The JSON of a message with some of its fields replaced."""
    fields = {"target_id": b"26040983", "client_id": b'"c1"', "body": b'"x"', **given}
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), value) for name, value in fields.items())


def _quoted(text: str) -> bytes:
    return json.dumps(text).encode()


# A field named like msgspec's own error texts: parsing those texts must not become quadratic.
_WORDS = {
    "a field that looks like msgspec's words": "unknown field `" * 30_000 + "x - at `$",
    "a field that looks like msgspec's places": "unknown field `" * 15_000 + "` - at `$" + " - at `$" * 25_000,
    "a field of 450 KB": "a" * 450_000,
}

JSON_BODIES = {
    "arrays 100,000 deep": b"[" * _DEEP,
    "arrays 100,000 deep, whole": b"[" * _DEEP + b"]" * _DEEP,
    "objects 60,000 deep": b'{"a":' * 60_000,
    "objects 60,000 deep in a field": _message(mentions=b'{"a":' * 60_000 + b"1" + b"}" * 60_000),
    "a number of 10,000 digits": _message(target_id=_DIGITS),
    "a number of 400,000 digits": _message(target_id=b"9" * 400_000),
    "a fraction of 10,000 digits": _message(target_id=b"1." + _DIGITS),
    "1e400": _message(target_id=b"1e400"),
    "1e99999999": _message(target_id=b"1e99999999"),
    "NaN": _message(target_id=b"NaN"),
    "Infinity": _message(target_id=b"Infinity"),
    "-Infinity": _message(target_id=b"-Infinity"),
    "450 KB of escapes": _message(body=b'"%b"' % (rb"\u0000" * 75_000)),
    "a lone surrogate": _message(body=rb'"\ud800"'),
    "bytes that are no UTF-8": _message(body=b'"\xff\xfe\xc0\xaf"'),
    "200,000 mentions": _message(mentions=b"[" + b"1," * 200_000 + b"1]"),
    "the same field 40,000 times": b"{" + b'"body":"x",' * 40_000 + b'"body":"x"}',
    **{name: b"{%b:1}" % _quoted(words) for name, words in _WORDS.items()},
}

MSGPACK_BODIES = {
    "an array that says 4,294,967,295": b"\xdd\xff\xff\xff\xff",
    "declared arrays, 10,000 deep": b"\xdd\xff\xff\xff\xff" * 10_000,
    "a map that says 4,294,967,295": b"\xdf\xff\xff\xff\xff",
    "a text that says 4 GiB": b"\x81\xa4body\xdb\xff\xff\xff\xff",
    "bytes that say 4 GiB": b"\x81\xa4body\xc6\xff\xff\xff\xff",
    "an extension that says 4 GiB": b"\x81\xa4body\xc9\xff\xff\xff\xff\x01",
    "mentions that say 4,294,967,295": b"\x81\xa8mentions\xdd\xff\xff\xff\xff",
    "arrays 100,000 deep": b"\x91" * _DEEP,
    "maps 100,000 deep": b"\x81\xa1a" * _DEEP,
    "a key that is an array": b"\x81\x91\x01\x01",
    "a float that is infinite": b"\x81\xa9target_id\xcb\x7f\xf0" + bytes(6),
    "a float that is not a number": b"\x81\xa9target_id\xcb\x7f\xf8" + bytes(6),
    "a time far away": b"\x81\xa9target_id\xc7\x0c\xff" + b"\xff" * 12,
    "the byte that means nothing": b"\xc1",
    "a field that looks like msgspec's words": msgspec.msgpack.encode({"unknown field `" * 30_000 + "x - at `$": 1}),
}


def _over_http(name: str, body: bytes, media_type: str) -> Attack:
    header = f"Content-Type: {media_type}\r\n".encode()
    return Attack(
        f"{name} ({media_type.rpartition('/')[2]})",
        signed(lambda who: sized("POST /messages", body, header, who)),
        ("400 open",),
    )


def _over_a_socket(name: str, data: bytes, *, binary: bool) -> Attack:
    if binary:
        payload = b"\x84\xa4type\xa7request\xa2id\x01\xa6method\xacmessage.send\xa4data" + data
        play = framing([frame(Opcode.BINARY, payload)], protocol=b"messenger.msgpack")
    else:
        payload = b'{"type":"request","id":1,"method":"message.send","data":%b}' % data
        play = framing([frame(Opcode.TEXT, payload)])
    # Invalid UTF-8 closes a socket (RFC 6455 section 8.1).
    return Attack(f"{name} (socket, {'msgpack' if binary else 'json'})", play, ("reply 400", "1007"))


BODIES = (
    *(_over_http(name, body, "application/json") for name, body in JSON_BODIES.items()),
    *(_over_http(name, body, "application/msgpack") for name, body in MSGPACK_BODIES.items()),
    *(_over_a_socket(name, body, binary=False) for name, body in JSON_BODIES.items()),
    *(_over_a_socket(name, body, binary=True) for name, body in MSGPACK_BODIES.items()),
)
