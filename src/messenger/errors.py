"""Why a request is refused: one class a reason, each with the wire's status, code and title.

`code` is the stable, machine-readable name of `API.md`; a controller turns any of these into an
RFC 9457 problem document.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One fault in a request's body, path or query; `field` is a dotted path such as `privacy.avatar`."""

    field: str
    code: str
    message: str


class MessengerError(Exception):
    """The root. `detail` is for people and never holds SQL, a stack trace or another user's data."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on the server"
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
    status, code, title = 400, "validation_failed", "The request is not valid"


class MalformedBody(ValidationFailed):
    code, title = "malformed_body", "The body can't be read"


class UnknownField(ValidationFailed):
    code, title = "unknown_field", "The request has a field that is not known"


class UnknownMethod(ValidationFailed):
    code, title = "unknown_method", "A socket has no such method"


class CannotTargetSelf(ValidationFailed):
    code, title = "cannot_target_self", "This call needs another user as its target"


# --- 401, 403: who asks ---------------------------------------------------------------------------


class Unauthenticated(MessengerError):
    status, code, title = 401, "unauthenticated", "A valid access token is needed"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class InvalidCredentials(Unauthenticated):
    code, title = "invalid_credentials", "Login or password is wrong"


class InvalidRefreshToken(Unauthenticated):
    code, title = "invalid_refresh_token", "The refresh token is not valid any more"


class RefreshTokenReused(Unauthenticated):
    code, title = "refresh_token_reused", "A used refresh token was shown again; the device is signed out"


class Forbidden(MessengerError):
    status, code, title = 403, "forbidden", "This is not allowed"


class NotAContact(Forbidden):
    code, title = "not_a_contact", "This user accepts messages from contacts alone"


class OriginNotAllowed(Forbidden):
    code, title = "origin_not_allowed", "Pages of this origin may not open a socket here"


class NotTheSender(Forbidden):
    code, title = "not_the_sender", "Only its sender may change a message"


# --- 404: what does not exist, or is not yours to know of -----------------------------------------


class NotFound(MessengerError):
    status, code, title = 404, "not_found", "There is nothing here"


class PeerNotFound(NotFound):
    code, title = "peer_not_found", "There is no such peer"


class MessageNotFound(NotFound):
    code, title = "message_not_found", "There is no such message"


class DeviceNotFound(NotFound):
    code, title = "device_not_found", "There is no such device"


class AvatarNotFound(NotFound):
    code, title = "avatar_not_found", "There is no such avatar"


class SecretNotFound(NotFound):
    code, title = "secret_not_found", "No secret is stored"


# --- 409, 410, 412: the state says no ------------------------------------------------------------------


class Conflict(MessengerError):
    status, code, title = 409, "conflict", "The state of things doesn't allow this"


class UsernameTaken(Conflict):
    code, title = "username_taken", "This username is taken"


class NoPendingRequest(Conflict):
    code, title = "no_pending_request", "This user has not asked you"


class ContactBlocked(Conflict):
    code, title = "contact_blocked", "You blocked this user; unblock first"


class ClientIdReused(Conflict):
    code, title = "client_id_reused", "This client_id was used for another message"


class MessageIsDeleted(Conflict):
    code, title = "message_deleted", "This message was deleted"


class CursorExpired(MessengerError):
    status, code, title = 410, "cursor_expired", "What came after this cursor is not kept any more; load afresh"


class VersionConflict(MessengerError):
    status, code, title = 412, "version_conflict", "It was changed in the meantime; load it again"


# --- 413, 415, 422: content that can't be taken ---------------------------------------------------


class PayloadTooLarge(MessengerError):
    status, code, title = 413, "payload_too_large", "The body is too large"


class MessageTooLarge(PayloadTooLarge):
    code, title = "message_too_large", "A message's body has 64 KiB at most"


class FileTooLarge(PayloadTooLarge):
    code, title = "file_too_large", "The file is too large"


class SecretTooLarge(PayloadTooLarge):
    code, title = "secret_too_large", "The envelope has 64 KiB at most"


class UnsupportedMediaType(MessengerError):
    status, code, title = 415, "unsupported_media_type", "This content type is not understood here"


class UnsupportedImage(UnsupportedMediaType):
    code, title = "unsupported_image", "This is not a whole JPEG, PNG, WebP or GIF image"


class Unprocessable(MessengerError):
    status, code, title = 422, "unprocessable", "The content can't be accepted"


class PasswordWeak(Unprocessable):
    code, title = "password_weak", "This password is too easy to guess"


class ImageTooLarge(Unprocessable):
    code, title = "image_too_large", "The image has too many pixels"


class NotEncrypted(Unprocessable):
    code, title = "not_encrypted", "This is not a ciphertext envelope"


class IdempotencyKeyReused(Unprocessable):
    code, title = "idempotency_key_reused", "This Idempotency-Key was used with another body"


class UpgradeRequired(MessengerError):
    status, code, title = 426, "upgrade_required", "This path speaks WebSocket alone"
    headers: ClassVar[dict[str, str]] = {"Upgrade": "websocket", "Connection": "Upgrade"}


# --- 429, 5xx: not now ----------------------------------------------------------------------------


class RateLimited(MessengerError):
    status, code, title = 429, "rate_limited", "Too many requests; wait"


class Unavailable(MessengerError):
    status, code, title = 503, "unavailable", "The server can't do this now; try again"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class DatabaseUnavailable(Unavailable):
    code, title = "database_unavailable", "The database can't be reached; try again"


class Overloaded(Unavailable):
    code, title = "overloaded", "The server is busy; try again"


class StorageUnavailable(Unavailable):
    code, title = "storage_unavailable", "The file store can't be reached; try again"


class StorageFull(MessengerError):
    status, code, title = 507, "storage_full", "There is no room left; try again later"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "60"}
