"""Content negotiation: JSON or MessagePack in responses (RFC 9110 section 12.5.1), no content coding in requests."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from messenger.errors import UnsupportedMediaType

MSGPACK = "application/msgpack"

_MSGPACK, _JSON = MSGPACK.encode(), b"application/json"
_LONGEST_CACHED = 512
_WEIGHT = re.compile(rb"0(?:\.[0-9]*)?|1(?:\.0*)?|\.[0-9]+")
# An unterminated string ends with the header, so that parsing is always linear.
_QUOTED_STRING = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)


def prefers_msgpack(accept: bytes) -> bool:
    """Whether an `Accept` header prefers MessagePack to JSON; at equal weights, MessagePack wins if it is named."""
    # Clients repeat a few short values; longer ones are not cached.
    return _cached(accept) if len(accept) <= _LONGEST_CACHED else _prefers_msgpack(accept)


def wants_msgpack(scope: Any) -> bool:
    """Whether the request prefers a MessagePack response."""
    accept: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"accept":
            accept = value if accept is None else b"%b,%b" % (accept, value)
    return accept is not None and prefers_msgpack(accept)


def ensure_no_content_coding(scope: Any) -> None:
    """Bodies are not compressed (RFC 9110 section 8.4). Raises `UnsupportedMediaType`."""
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            raise UnsupportedMediaType(
                "Send the body without a content coding", headers={"Accept-Encoding": "identity"}
            )


def _prefers_msgpack(accept: bytes) -> bool:
    weights = _weights(accept)
    msgpack, json = _weight_of(_MSGPACK, weights), _weight_of(_JSON, weights)
    return msgpack > json or (msgpack == json > 0 and _MSGPACK in weights)


_cached = lru_cache(maxsize=256)(_prefers_msgpack)


def _weights(accept: bytes) -> dict[bytes, float]:
    """The media ranges of the header with their weights; those with an invalid weight are skipped."""
    weights: dict[bytes, float] = {}
    for element in _QUOTED_STRING.sub(b"", accept).lower().split(b","):
        media_range, *parameters = (part.strip() for part in element.split(b";"))
        weight = next((value.strip() for name, _, value in _pairs(parameters) if name.strip() == b"q"), b"1")
        if _WEIGHT.fullmatch(weight):
            weights[media_range] = max(float(weight), weights.get(media_range, 0.0))
    return weights


def _pairs(parameters: list[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    return [parameter.partition(b"=") for parameter in parameters]


def _weight_of(media_type: bytes, weights: dict[bytes, float]) -> float:
    """The weight of the most specific range that matches."""
    return next((weights[key] for key in (media_type, b"application/*", b"*/*") if key in weights), 0.0)
