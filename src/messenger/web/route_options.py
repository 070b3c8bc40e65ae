"""Route options: authentication, and the possible responses for the OpenAPI document."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from litestar.openapi.datastructures import ResponseSpec

from messenger.errors import (
    DatabaseUnavailable,
    HeadersTooLarge,
    MalformedBody,
    MalformedRequest,
    MessengerError,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RequestTimeout,
    StorageFull,
    TransferCodingUnsupported,
    Unauthenticated,
    UnknownField,
    UnsupportedMediaType,
    UriTooLong,
    ValidationFailed,
)
from messenger.web.problems import MEDIA_TYPE, Problem
from messenger.web.queries import ANY_QUERY
from messenger.web.request import require_bearer

MAX_PUBLIC_BYTES = 64 * 1024

_OF_CONNECTIONS = (
    MalformedRequest,
    RequestTimeout,
    UriTooLong,
    HeadersTooLarge,
    Overloaded,
    TransferCodingUnsupported,
    MessengerError,
)
# Every operation refuses unknown query parameters.
_OF_OPERATIONS = (UnknownField, DatabaseUnavailable, StorageFull)
_OF_BODIES = (ValidationFailed, UnknownField, MalformedBody, PayloadTooLarge, UnsupportedMediaType)


@dataclass
class ProblemSpec(ResponseSpec):
    """The problems that an operation can return with one status."""

    errors: tuple[type[MessengerError], ...] = ()


def authenticated(
    *errors: type[MessengerError],
    body: bool = False,
    query: bool = False,
    also: dict[int, Any] | None = None,
    fast: bool = False,
) -> dict[str, Any]:
    """Options of a route for signed-in devices: the errors that it can return, and its other successes (`also`).
    `query`: the route has query or path parameters. `fast`: the route is hot and uses the fast path.
    """
    responses = _responses((Unauthenticated, RateLimited, *_OF_OPERATIONS, *errors), body=body, query=query, also=also)
    return {"responses": responses, "guards": [require_bearer], "opt": {"fast": fast}}


def public(*errors: type[MessengerError], body: bool = False, query: bool = False) -> dict[str, Any]:
    """Options of a route that needs no token."""
    # Bodies without a token are short, so that unauthenticated clients cannot use more memory.
    bound = {"request_max_body_size": MAX_PUBLIC_BYTES} if body else {}
    return {
        **bound,
        "responses": _responses((*_OF_OPERATIONS, *errors), body=body, query=query, also=None),
        "security": [{}],
        "opt": {"public": True},
    }


def probe(also: dict[int, Any] | None = None) -> dict[str, Any]:
    """Options of a health check, which needs no token and has its own responses."""
    responses = _responses((), body=False, query=False, also=also)
    return {"responses": responses, "security": [{}], "opt": ANY_QUERY}


def _responses(
    errors: tuple[type[MessengerError], ...], *, body: bool, query: bool, also: dict[int, Any] | None
) -> dict[int, ResponseSpec]:
    by_status: dict[int, dict[str, type[MessengerError]]] = defaultdict(dict)
    for error in (*errors, *_OF_CONNECTIONS, *(_OF_BODIES if body else ()), *((ValidationFailed,) if query else ())):
        by_status[error.status][error.code] = error
    specs: dict[int, ResponseSpec] = {
        status: ProblemSpec(
            Problem,
            generate_examples=False,
            media_type=MEDIA_TYPE,
            errors=tuple(error for _, error in sorted(codes.items())),
        )
        for status, codes in sorted(by_status.items())
    }
    for status, container in (also or {}).items():
        specs[status] = ResponseSpec(container, generate_examples=False)
    return specs
