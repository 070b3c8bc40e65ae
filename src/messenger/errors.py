"""Why a request is refused: one class a reason, each with the wire's status, code and title.

`code` is the stable, machine-readable name that clients go by; a controller turns any of these into an
RFC 9457 problem document.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta


class FieldError(msgspec.Struct, frozen=True):
    """An invalid field of a request's body, path or query."""

    field: Annotated[str, Meta(description="A dotted path such as `privacy.avatar`; empty: the whole body")]
    code: Annotated[str, Meta(description="Stable and machine-readable, such as `too_long`")]
    message: Annotated[str, Meta(description="What is wrong with the field, in English")]


class MessengerError(Exception):
    """The root. `detail` is for people and never holds SQL, a stack trace or another user's data."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal server error"
    headers: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: tuple[FieldError, ...] = (),
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = errors
        self.response_headers = {**self.headers, **(headers or {})}
        self.extra = extra or {}


# --- 400: the request itself is wrong -------------------------------------------------------------


class ValidationFailed(MessengerError):
    status, code, title = 400, "validation_failed", "The request is invalid"


class MalformedRequest(MessengerError):
    status, code, title = 400, "malformed_request", "The request could not be parsed"


class MalformedBody(ValidationFailed):
    code, title = "malformed_body", "The body could not be parsed"


class UnknownField(ValidationFailed):
    code, title = "unknown_field", "The request has an unknown field"


class UnknownMethod(ValidationFailed):
    code, title = "unknown_method", "Unknown socket method"


class CannotTargetSelf(ValidationFailed):
    code, title = "cannot_target_self", "You cannot target your own account"


# --- 401, 403: who asks ---------------------------------------------------------------------------


class Unauthenticated(MessengerError):
    status, code, title = 401, "unauthenticated", "A valid access token is required"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class InvalidCredentials(Unauthenticated):
    code, title = "invalid_credentials", "Wrong login or password"


class InvalidRefreshToken(Unauthenticated):
    code, title = "invalid_refresh_token", "The refresh token is invalid or has expired"


class RefreshTokenSuperseded(Unauthenticated):
    code, title = "refresh_token_superseded", "This device already uses a newer refresh token"


class RefreshTokenReused(Unauthenticated):
    code, title = "refresh_token_reused", "A used refresh token was presented again; the device has been signed out"


class Forbidden(MessengerError):
    status, code, title = 403, "forbidden", "You are not allowed to do this"


class NotAContact(Forbidden):
    code, title = "not_a_contact", "This user only accepts messages from contacts"


class OriginNotAllowed(Forbidden):
    code, title = "origin_not_allowed", "This origin is not allowed to open a WebSocket"


class NotTheSender(Forbidden):
    code, title = "not_the_sender", "Only the sender can change a message"


# --- 404, 405, 408: not found, or not visible to the caller --------------------------------------


class NotFound(MessengerError):
    status, code, title = 404, "not_found", "Not found"


class PeerNotFound(NotFound):
    code, title = "peer_not_found", "User not found"


class MessageNotFound(NotFound):
    code, title = "message_not_found", "Message not found"


class DeviceNotFound(NotFound):
    code, title = "device_not_found", "Device not found"


class AvatarNotFound(NotFound):
    code, title = "avatar_not_found", "Avatar not found"


class SecretNotFound(NotFound):
    code, title = "secret_not_found", "This account has no stored secret"


class MethodNotAllowed(MessengerError):
    status, code, title = 405, "method_not_allowed", "This path does not support this method"


class RequestTimeout(MessengerError):
    status, code, title = 408, "request_timeout", "The request took too long to arrive"


# --- 409, 410, 412: the state says no ------------------------------------------------------------------


class Conflict(MessengerError):
    status, code, title = 409, "conflict", "The request conflicts with the current state"


class UsernameTaken(Conflict):
    code, title = "username_taken", "This username is taken"


class NoPendingRequest(Conflict):
    code, title = "no_pending_request", "This user has not sent you a contact request"


class ContactBlocked(Conflict):
    code, title = "contact_blocked", "You have blocked this user; unblock them first"


class ClientIdReused(Conflict):
    code, title = "client_id_reused", "This client_id was already used for a different message"


class MessageIsDeleted(Conflict):
    code, title = "message_deleted", "This message has been deleted"


class CursorExpired(MessengerError):
    status, code, title = 410, "cursor_expired", "Events after this cursor have expired; reload the state"


class VersionConflict(MessengerError):
    status, code, title = 412, "version_conflict", "The resource has changed since; load it again"


# --- 413 to 431: content or a request that is not accepted ----------------------------------------


class PayloadTooLarge(MessengerError):
    status, code, title = 413, "payload_too_large", "The body is too large"


class MessageTooLarge(PayloadTooLarge):
    code, title = "message_too_large", "A message body is limited to 64 KiB"


class FileTooLarge(PayloadTooLarge):
    code, title = "file_too_large", "The file is too large"


class SecretTooLarge(PayloadTooLarge):
    code, title = "secret_too_large", "The envelope is limited to 64 KiB"


class UriTooLong(MessengerError):
    status, code, title = 414, "uri_too_long", "The URL is too long"


class UnsupportedMediaType(MessengerError):
    status, code, title = 415, "unsupported_media_type", "This content type is not supported"


class UnsupportedImage(UnsupportedMediaType):
    code, title = "unsupported_image", "The file is not a complete JPEG, PNG, WebP or GIF image"


class Unprocessable(MessengerError):
    status, code, title = 422, "unprocessable", "The content cannot be accepted"


class PasswordWeak(Unprocessable):
    code, title = "password_weak", "This password is too easy to guess"


class ImageTooLarge(Unprocessable):
    code, title = "image_too_large", "The image has too many pixels"


class NotEncrypted(Unprocessable):
    code, title = "not_encrypted", "The body is not an encrypted envelope"


class IdempotencyKeyReused(Unprocessable):
    code, title = "idempotency_key_reused", "This Idempotency-Key was already used for a different request"


class UpgradeRequired(MessengerError):
    status, code, title = 426, "upgrade_required", "This endpoint only accepts WebSocket connections"
    headers: ClassVar[dict[str, str]] = {"Upgrade": "websocket", "Connection": "Upgrade"}


class HeadersTooLarge(MessengerError):
    status, code, title = 431, "headers_too_large", "The request headers are too large"


# --- 429, 5xx: not now ----------------------------------------------------------------------------


class RateLimited(MessengerError):
    status, code, title = 429, "rate_limited", "Too many requests; retry later"


class TransferCodingUnsupported(MessengerError):
    status, code, title = 501, "transfer_coding_unsupported", "The only supported transfer coding is chunked"


class Unavailable(MessengerError):
    status, code, title = 503, "unavailable", "The server cannot do this right now; retry later"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class DatabaseUnavailable(Unavailable):
    code, title = "database_unavailable", "The database is unavailable; retry later"


class Overloaded(Unavailable):
    code, title = "overloaded", "The server is overloaded; retry later"


class StorageUnavailable(Unavailable):
    code, title = "storage_unavailable", "The file store is unavailable; retry later"


class StorageFull(MessengerError):
    status, code, title = 507, "storage_full", "The server has run out of storage; retry later"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "60"}
