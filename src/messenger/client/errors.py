"""Exceptions of the client. Each has `may_have_happened`: whether the server may still have carried out the call."""

from __future__ import annotations

from typing import Any

import msgspec

from messenger.errors import FieldError


class ClientError(Exception):
    """Base class of all errors of the client."""

    @property
    def may_have_happened(self) -> bool:
        """Whether the server may have carried out the call despite the error."""
        return False


class ApiError(ClientError):
    """An error response, a problem document (RFC 9457). `retry_after` is in seconds; None if absent."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        *,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.extra = extra or {}

    @property
    def may_have_happened(self) -> bool:
        # A server error can follow a commit; a 4xx response means that nothing was committed.
        return self.status >= 500


class SignedOut(ApiError):
    """This device has no valid tokens: sign in again."""


class ConnectedElsewhere(ClientError):
    """This device opened another socket. A device has one socket: two programs must not share its tokens."""


class Unreachable(ClientError):
    """No response: no connection, a connection lost, or a timeout."""

    def __init__(self, detail: str, *, may_have_happened: bool = False) -> None:
        super().__init__(detail)
        self._may_have_happened = may_have_happened

    @property
    def may_have_happened(self) -> bool:
        return self._may_have_happened


class OutcomeUnknown(ClientError):
    """A message may or may not have been sent. Sending it again with the same `client_id` is safe and finds out."""

    def __init__(self, client_id: str, cause: ClientError) -> None:
        super().__init__(f"message {client_id} may or may not have been sent ({cause})")
        self.client_id = client_id

    @property
    def may_have_happened(self) -> bool:
        return True


class UnexpectedResponse(ClientError):
    """A response that is not of this API: from another server, from a proxy, or from a newer server."""

    @property
    def may_have_happened(self) -> bool:
        return True


class _Problem(msgspec.Struct):
    status: int = 0
    code: str = ""
    title: str = ""
    detail: str = ""
    errors: list[FieldError] = []
    retry_after: float | None = None


_KNOWN = {"type", *_Problem.__struct_fields__}


def api_error(problem: Any, *, status: int = 0, retry_after: float | None = None) -> ApiError:
    """Convert a problem document to an exception. Accepts other documents, since a proxy may have responded."""
    document = problem if isinstance(problem, dict) else {}
    try:
        fields = msgspec.convert(document, _Problem, strict=False)
    except msgspec.ValidationError:
        fields = _Problem()
    code = fields.code or f"http_{status or fields.status}"
    kind = SignedOut if (status or fields.status) == 401 and code in _SIGNED_OUT else ApiError
    return kind(
        status or fields.status,
        code,
        fields.detail or fields.title or code,
        tuple(fields.errors),
        retry_after if retry_after is not None else fields.retry_after,
        extra={name: value for name, value in document.items() if name not in _KNOWN},
    )


_SIGNED_OUT = frozenset({"unauthenticated", "invalid_refresh_token", "refresh_token_reused"})
