"""Detects private keys by their shape: plain, in base64, in hex, or nested."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import NamedTuple

_BARE_KEY_BYTES = frozenset({32, 64})
# A key may be wrapped more than once: by the base64 of its field, and by its sender.
_WRAPPINGS = 3
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_SHORTEST_SCALAR = 16

_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)={0,2}")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+")
# Headers of PEM (RFC 7468), PGP (RFC 9580) and SSH2, the magic of OpenSSH, PuTTY and age, a JWK (RFC 7517) with its
# private or symmetric member.
_KEY_MARKS = re.compile(
    rb"-{4,5} ?BEGIN[^-]{0,40}PRIVATE[^-]{0,40}-{4,5}|openssh-key-v1|PuTTY-User-Key-File|AGE-SECRET-KEY-1",
    re.IGNORECASE,
)
_JWK = re.compile(rb'"kty\\*"\s*:')
_JWK_SECRET = re.compile(rb'"(?:d|k|p|q)\\*"\s*:\s*\\*"')
# SEQUENCE, its length, INTEGER 0 or 1, and the next tag: the start of PKCS#8, PKCS#1 and SEC1. It looks ahead, so
# that a false match cannot hide a true one after it.
_DER_START = re.compile(rb"\x30(?=(?:[\x05-\x7f]|\x81.|\x82..)\x02\x01[\x00\x01][\x02\x04\x30])", re.DOTALL)


def from_base64(data: bytes) -> bytes | None:
    """Decode standard or URL-safe base64 (RFC 4648 sections 4 and 5), padded completely or not; None if invalid."""
    digits = data.rstrip(b"=")
    padded = len(digits) != len(data)
    if not _BASE64.fullmatch(data) or len(digits) % 4 == 1 or (padded and len(data) % 4):
        return None
    return base64.urlsafe_b64decode(digits.translate(_URL_SAFE) + b"=" * (-len(digits) % 4))


def is_bare_key(data: bytes) -> bool:
    """Whether this is 32 or 64 bytes, plain or in hex or base64."""
    return len(data) in _BARE_KEY_BYTES or spells_bare_key(data)


def spells_bare_key(text: bytes) -> bool:
    """Whether this text is hex or base64 of 32 or 64 bytes."""
    return any(len(reading) in _BARE_KEY_BYTES for reading in _readings(text))


def _readings(data: bytes) -> Iterator[bytes]:
    """The data decoded from hex and from base64, which may have line breaks."""
    text = data.translate(None, b" \t\r\n")
    if text and _HEX.fullmatch(text):
        yield bytes.fromhex(text.decode("ascii"))
    decoded = from_base64(text)
    if decoded:
        yield decoded


def holds_private_key(data: bytes, wrappings: int = _WRAPPINGS) -> bool:
    """Whether it contains a PEM, PKCS#8, PKCS#1, SEC1, OpenSSH, JWK, PGP or age private key, up to `wrappings` deep."""
    # Without the zeros, UTF-16 text matches like UTF-8.
    text = data.replace(b"\0", b"")
    if _KEY_MARKS.search(text) or (_JWK.search(text) and _JWK_SECRET.search(text)):
        return True
    if any(_is_der_key(data, match.start()) for match in _DER_START.finditer(data)):
        return True
    return wrappings > 0 and any(holds_private_key(reading, wrappings - 1) for reading in _readings(data))


class _Element(NamedTuple):
    tag: int
    start: int
    end: int


def _element(data: bytes, at: int, end: int) -> _Element | None:
    """The DER element (X.690 section 8.1) that begins here and ends before `end`."""
    if at + 2 > end:
        return None
    length, start = data[at + 1], at + 2
    if length > 0x7F:
        octets = length & 0x7F
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
    return _Element(data[at], start, start + length) if start + length <= end else None


def _is_der_key(data: bytes, at: int) -> bool:
    """Whether a key in PKCS#8 (RFC 5958), PKCS#1 (RFC 8017 A.1.2), SEC1 (RFC 5915) or DSA form begins here."""
    whole = _element(data, at, len(data))
    version = whole and _element(data, whole.start, whole.end)
    if not whole or not version:
        return False
    parts: list[_Element] = []
    position = version.end
    while len(parts) < 4 and (part := _element(data, position, whole.end)):
        parts.append(part)
        position = part.end
    tags = [part.tag for part in parts]
    if tags[:2] == [_SEQUENCE, _OCTETS]:
        return data[parts[0].start] == _OID
    if tags[:1] == [_OCTETS]:
        return parts[0].end - parts[0].start >= _SHORTEST_SCALAR
    return tags == [_INTEGER] * 4
