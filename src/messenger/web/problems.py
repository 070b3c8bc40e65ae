"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

import logging
import re
from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from msgspec import Meta

from messenger.errors import (
    FieldError,
    FileTooLarge,
    Forbidden,
    MalformedBody,
    MessageTooLarge,
    MessengerError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    SecretTooLarge,
    Unauthenticated,
    UnknownField,
    UnsupportedMediaType,
    ValidationFailed,
)
from messenger.web.field_errors import validation_error

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_HUNG_UP = "client disconnected prematurely"
AVATAR_PATH = "/avatar/upload"


class Problem(msgspec.Struct, frozen=True):
    """An RFC 9457 problem. `code` is stable and machine-readable; `errors` lists the invalid fields of the request."""

    type: Annotated[str, Meta(description="A URN that ends with the code")]
    title: Annotated[str, Meta(description="What this code means, in English")]
    status: Annotated[int, Meta(ge=400, le=599, description="The status of the response")]
    detail: Annotated[str, Meta(description="What is wrong with this request, in English; not for programs")]
    code: Annotated[str, Meta(description="Stable and machine-readable; later releases may add codes")]
    errors: Annotated[list[FieldError], Meta(description="The invalid fields; empty if the code says it all")]


def problem_of(error: MessengerError, *, with_headers: bool = False) -> dict[str, Any]:
    """An error as a problem document. `with_headers`: include `retry_after`, for transports without headers."""
    document = _document(error.status, error.code, error.title, error.detail, error.errors, error.extra)
    retry_after = error.response_headers.get("Retry-After")
    return {**document, "retry_after": int(retry_after)} if with_headers and retry_after else document


def _document(
    status: int, code: str, title: str, detail: str, errors: tuple[FieldError, ...], extra: dict[str, Any] | None
) -> dict[str, Any]:
    problem = Problem(f"urn:messenger:problem:{code}", title, status, detail, code, list(errors))
    return {**msgspec.structs.asdict(problem), **(extra or {})}


def problem_response(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    errors: tuple[FieldError, ...] = (),
    headers: dict[str, str] | None = None,
    extra: dict[str, Any] | None = None,
) -> Response[Any]:
    """A problem document as a response."""
    document = _document(status, code, title, detail, errors, extra)
    return Response(document, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def on_messenger_error(request: Request[Any, Any, Any], error: MessengerError) -> Response[Any]:
    """Respond to one of our own errors."""
    if error.status >= 500:
        # One line without a trace: an unavailable database causes many of these, all with the same trace.
        cause = type(error.__cause__).__name__ if error.__cause__ else "no cause"
        logger.warning("%s %s: %s (%s)", request.method, _route(request), error.code, cause)
    return problem_response(
        error.status,
        error.code,
        error.title,
        error.detail,
        errors=error.errors,
        headers=error.response_headers,
        extra=error.extra,
    )


_HTTP_CODES = {
    400: (ValidationFailed.code, ValidationFailed.title),
    401: (Unauthenticated.code, Unauthenticated.title),
    403: (Forbidden.code, Forbidden.title),
    404: (NotFound.code, NotFound.title),
    405: (MethodNotAllowed.code, MethodNotAllowed.title),
    413: (PayloadTooLarge.code, PayloadTooLarge.title),
    415: (UnsupportedMediaType.code, UnsupportedMediaType.title),
    429: (RateLimited.code, RateLimited.title),
}


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Respond to an error of the framework: routing, parameters, body sizes."""
    if isinstance(error, InternalServerException) and error.detail == _HUNG_UP:
        # The client is gone: no response reaches it, and it is not an error of the server.
        return problem_response(400, MalformedBody.code, MalformedBody.title, "The client closed the connection")
    if error.status_code >= 500:
        return on_any_exception(request, error)
    if isinstance(error, ValidationException):
        return on_messenger_error(request, _validation_failed(request, error))
    code, title = _HTTP_CODES.get(error.status_code, ("http_error", "The request cannot be served"))
    if error.status_code == 413:
        code, title = _too_large(request.scope["path"])
    # The framework lists the WebSocket of a path among its methods.
    told = {name.lower(): value for name, value in (error.headers or {}).items()}
    allowed = [each for each in told.get("allow", "").split(", ") if each.isupper()]
    if "GET" in allowed:
        allowed.append("HEAD")
    headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
    return problem_response(error.status_code, code, title, title, headers=headers)


def _validation_failed(request: Request[Any, Any, Any], error: ValidationException) -> ValidationFailed:
    errors = _parameter_faults(request, error)
    if not errors:
        return ValidationFailed()
    first = errors[0]
    if not first.field:
        # The framework does not call the decoder for an empty body.
        return MalformedBody("The body is empty")
    kind = UnknownField if first.code == UnknownField.code else ValidationFailed
    return kind(f"{first.field}: {first.message}", errors=errors)


def _too_large(path: str) -> tuple[str, str]:
    """The error for a body that is too large, by its path: the framework refused the body before a handler ran."""
    for prefix, reason in ((AVATAR_PATH, FileTooLarge), ("/messages", MessageTooLarge), ("/e2e/", SecretTooLarge)):
        if path.startswith(prefix):
            return reason.code, reason.title
    return PayloadTooLarge.code, PayloadTooLarge.title


def _parameter_faults(request: Request[Any, Any, Any], error: ValidationException) -> tuple[FieldError, ...]:
    if not isinstance(error.extra, list):
        # A missing parameter is reported as a sentence: "Missing required query parameter 'username' for path …".
        name = re.search(r"parameter '(\w+)'", error.detail)
        return (FieldError(name[1], "required", "this parameter is required"),) if name else ()
    return tuple(
        validation_error(str(fault.get("message", "")), prefix=_wire_name(request, str(fault.get("key", "")))).errors[0]
        for fault in error.extra
        if isinstance(fault, dict)
    )


def _wire_name(request: Request[Any, Any, Any], key: str) -> str:
    """A handler parameter's name in the API: some of these names are not valid in Python."""
    definition = request.route_handler.parsed_fn_signature.parameters.get(key)
    if key == "data":
        return ""
    return getattr(definition and definition.kwarg_definition, "name", None) or key


def on_any_exception(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Respond to an unexpected exception: its trace is logged, and not sent."""
    logger.error("%s %s failed", request.method, _route(request), exc_info=error)
    return problem_response(500, MessengerError.code, MessengerError.title, MessengerError.title)


def _route(request: Request[Any, Any, Any]) -> str:
    """The pattern of the path: logs must not contain user IDs or avatar keys."""
    scope: Any = request.scope
    return str(scope.get("path_template") or "unknown")


EXCEPTION_HANDLERS: Any = {
    MessengerError: on_messenger_error,
    HTTPException: on_http_exception,
    Exception: on_any_exception,
}
