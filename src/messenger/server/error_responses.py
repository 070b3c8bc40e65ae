"""Responses of the connection: problem documents (RFC 9457) for requests that never reach the application."""

from __future__ import annotations

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from messenger.errors import (
    Forbidden,
    HeadersTooLarge,
    MalformedRequest,
    MessengerError,
    Overloaded,
    RequestTimeout,
    TransferCodingUnsupported,
    UpgradeRequired,
    UriTooLong,
)
from messenger.server.writes import lines

_REASONS = {
    error.status: (error.code, error.title)
    for error in (
        Forbidden,
        HeadersTooLarge,
        MalformedRequest,
        MessengerError,
        Overloaded,
        RequestTimeout,
        TransferCodingUnsupported,
        UpgradeRequired,
        UriTooLong,
    )
}
_FIELDS = (
    (b"content-type", b"application/problem+json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"connection", b"close"),
)
_OF_STATUS = {
    # RFC 6455 section 4.2.2, RFC 9110 section 15.5.22.
    426: ((b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")),
    503: ((b"retry-after", b"5"),),
}


def problem(status: int) -> bytes:
    """The problem document for a status."""
    code, title = _REASONS[status]
    document = {"type": f"urn:messenger:problem:{code}", "title": title, "status": status}
    return msgspec.json.encode({**document, "detail": title, "code": code, "errors": []})


def fields(status: int) -> tuple[tuple[bytes, bytes], ...]:
    """The header fields of such a response, without `Content-Length`."""
    return (*_FIELDS, *_OF_STATUS.get(status, ()))


def error_response(status: int) -> bytes:
    """A complete response with a problem document; the connection closes after it."""
    document = problem(status)
    head = STATUS_LINE[status] + lines(fields(status))
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(document), document)
