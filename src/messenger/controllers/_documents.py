"""What each operation may answer, for the OpenAPI document."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from litestar.openapi.datastructures import ResponseSpec

from messenger.controllers._problems import MEDIA_TYPE, Problem
from messenger.controllers._wire import require_bearer
from messenger.errors import (
    DatabaseUnavailable,
    MalformedBody,
    MessengerError,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    StorageFull,
    Unauthenticated,
    UnknownField,
    UnsupportedMediaType,
    ValidationFailed,
)

_ALWAYS = (DatabaseUnavailable, Overloaded, StorageFull)
_OF_BODIES = (ValidationFailed, UnknownField, MalformedBody, PayloadTooLarge, UnsupportedMediaType)


def answers(
    *errors: type[MessengerError],
    body: bool = False,
    query: bool = False,
    also: dict[int, Any] | None = None,
    fast: bool = False,
) -> dict[str, Any]:
    """Options of a route for signed-in devices: the problems that it may answer with, and `also` other successes.

    `query` is for parameters of the path, too; `fast` for what is asked so often that it goes the short way.
    """
    responses = _responses((Unauthenticated, RateLimited, *errors), body=body, query=query, also=also)
    return {"responses": responses, "guards": [require_bearer], "opt": {"fast": fast}}


def public(*errors: type[MessengerError], body: bool = False, query: bool = False) -> dict[str, Any]:
    """Options of a route that needs no token."""
    return {
        "responses": _responses(errors, body=body, query=query, also=None),
        "security": [{}],
        "opt": {"public": True},
    }


def _responses(
    errors: tuple[type[MessengerError], ...], *, body: bool, query: bool, also: dict[int, Any] | None
) -> dict[int, ResponseSpec]:
    by_status: dict[int, dict[str, str]] = defaultdict(dict)
    for error in (*errors, *_ALWAYS, *(_OF_BODIES if body else ()), *((ValidationFailed,) if query else ())):
        by_status[error.status][error.code] = error.title
    specs = {
        status: ResponseSpec(
            Problem,
            generate_examples=False,
            description="; ".join(f"`{code}`: {title}" for code, title in sorted(codes.items())),
            media_type=MEDIA_TYPE,
        )
        for status, codes in sorted(by_status.items())
    }
    for status, container in (also or {}).items():
        specs[status] = ResponseSpec(container, generate_examples=False, description="Request fulfilled before")
    return specs
