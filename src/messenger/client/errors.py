"""Why a call of the client failed. Each says whether what it asked for may have happened all the same."""

from __future__ import annotations

from typing import Any

import msgspec

from messenger.errors import FieldError


class ClientError(Exception):
    """The root."""

    @property
    def may_have_happened(self) -> bool:
        """Whether the server may have done what was asked all the same."""
        return False


class ApiError(ClientError):
    """The server said no, as a problem document (RFC 9457). `retry_after` is in seconds, None where nobody said."""

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
        # A fault can come after the commit; a refusal comes instead of it.
        return self.status >= 500


class SignedOut(ApiError):
    """This device has no valid tokens any more; only signing in helps."""


class ConnectedElsewhere(ClientError):
    """This device opened another socket: of two programs with the same tokens, one has to go."""


class Unreachable(ClientError):
    """No answer: no connection, a cut or a timeout."""

    def __init__(self, detail: str, *, may_have_happened: bool = False) -> None:
        super().__init__(detail)
        self._may_have_happened = may_have_happened

    @property
    def may_have_happened(self) -> bool:
        return self._may_have_happened


class OutcomeUnknown(ClientError):
    """A message may or may not have been sent; sending it again under the same `client_id` is safe, and settles it."""

    def __init__(self, client_id: str, cause: ClientError) -> None:
        super().__init__(f"whether message {client_id} was sent is not known ({cause})")
        self.client_id = client_id

    @property
    def may_have_happened(self) -> bool:
        return True


class UnexpectedResponse(ClientError):
    """An answer that is none of this API's: another server, a proxy's page, or a server that is too new."""

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
    """A problem document as an exception; lenient, since proxies answer too."""
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
