"""Why a request is refused: each reason is a class with a status, a code and a title, under `MessengerError`:

400 ValidationFailed: MalformedBody, UnknownField, UnknownMethod, CannotTargetSelf    400 MalformedRequest
401 Unauthenticated: InvalidCredentials, InvalidRefreshToken, RefreshTokenSuperseded, RefreshTokenReused
403 Forbidden: NotAContact, OriginNotAllowed, NotTheSender    408 RequestTimeout    410 CursorExpired
404 NotFound: PeerNotFound, MessageNotFound, DeviceNotFound, AvatarNotFound, SecretNotFound    405 MethodNotAllowed
409 Conflict: UsernameTaken, NoPendingRequest, ContactBlocked, ClientIdReused, MessageIsDeleted
413 PayloadTooLarge: MessageTooLarge, FileTooLarge, SecretTooLarge    415 UnsupportedMediaType: UnsupportedImage
422 Unprocessable: PasswordWeak, ImageTooLarge, NotEncrypted, IdempotencyKeyReused    414 UriTooLong
426 UpgradeRequired    429 RateLimited    431 HeadersTooLarge    501 TransferCodingUnsupported    507 StorageFull
503 Unavailable: DatabaseUnavailable, Overloaded, StorageUnavailable    412 VersionConflict
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """An invalid field of a request's body, path or query."""

    field: Annotated[str, msgspec.Meta(description="A dotted path such as `privacy.avatar`; empty: the whole body")]
    code: Annotated[str, msgspec.Meta(description="Stable and machine-readable, such as `too_long`")]
    message: Annotated[str, msgspec.Meta(description="What is wrong with the field, in English")]


class ConcurrentUpdate(Exception):
    """A concurrent transaction prevented this use case; `@retry_on_conflict` runs the whole use case again."""


class MessengerError(Exception):
    """The base. `detail` never contains SQL, a stack trace or another user's data; subclasses inherit `advice`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal server error"
    advice: ClassVar[str] = "Retry with growing delays. If it persists, report it to the operator with its time."
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


class ValidationFailed(MessengerError):
    status, code, title = 400, "validation_failed", "The request is invalid"
    advice = "Fix the request; `errors` names the invalid fields. The same request fails again."


class MalformedRequest(MessengerError):
    status, code, title = 400, "malformed_request", "The request could not be parsed"
    advice = "Fix the request line, headers or query. The same request fails again."


class MalformedBody(ValidationFailed):
    code, title = "malformed_body", "The body could not be parsed"


class UnknownField(ValidationFailed):
    code, title = "unknown_field", "The request has an unknown field"


class UnknownMethod(ValidationFailed):
    code, title = "unknown_method", "Unknown socket method"


class CannotTargetSelf(ValidationFailed):
    code, title = "cannot_target_self", "You cannot target your own account"


class Unauthenticated(MessengerError):
    status, code, title = 401, "unauthenticated", "A valid access token is required"
    advice = "Refresh the access token (`POST /token/refresh`) and retry once; if that fails too, sign in."
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class InvalidCredentials(Unauthenticated):
    code, title = "invalid_credentials", "Wrong login or password"
    advice = "Ask the user for the login or password again."


class InvalidRefreshToken(Unauthenticated):
    code, title = "invalid_refresh_token", "The refresh token is invalid or has expired"
    advice = "Sign in again."


class RefreshTokenSuperseded(Unauthenticated):
    code, title = "refresh_token_superseded", "This device already uses a newer refresh token"
    advice = "Use the newer tokens that another part of the app has stored; without them, sign in."


class RefreshTokenReused(Unauthenticated):
    code, title = "refresh_token_reused", "A used refresh token was presented again; the device has been signed out"
    advice = "Sign in again. If the app did not reuse the token, the token may have been stolen."


class Forbidden(MessengerError):
    status, code, title = 403, "forbidden", "You are not allowed to do this"
    advice = "Do not retry; the account is not allowed to do this."


class NotAContact(Forbidden):
    code, title = "not_a_contact", "This user only accepts messages from contacts"
    advice = "Send a contact request (`POST /subscribe`) and wait until it is accepted."


class OriginNotAllowed(Forbidden):
    code, title = "origin_not_allowed", "This origin is not allowed to open a WebSocket"
    advice = "Serve the page from an allowed origin, or add its origin to `MESSENGER_CORS_ORIGINS`."


class NotTheSender(Forbidden):
    code, title = "not_the_sender", "Only the sender can change a message"


class NotFound(MessengerError):
    status, code, title = 404, "not_found", "Not found"
    advice = "Check the path and the IDs in it. What you may not see is answered as if it did not exist."


class PeerNotFound(NotFound):
    code, title = "peer_not_found", "User or group not found"


class MessageNotFound(NotFound):
    code, title = "message_not_found", "Message not found"


class DeviceNotFound(NotFound):
    code, title = "device_not_found", "Device not found"


class AvatarNotFound(NotFound):
    code, title = "avatar_not_found", "Avatar not found"


class SecretNotFound(NotFound):
    code, title = "secret_not_found", "This account has no stored secret"
    advice = "Store a secret first (`POST /e2e/secret_key`)."


class MethodNotAllowed(MessengerError):
    status, code, title = 405, "method_not_allowed", "This path does not support this method"
    advice = "Use a method that `Allow` lists."


class RequestTimeout(MessengerError):
    status, code, title = 408, "request_timeout", "The request took too long to arrive"
    advice = "Retry on a new connection."


class Conflict(MessengerError):
    status, code, title = 409, "conflict", "The request conflicts with the current state"
    advice = "Load the current state, then decide whether the request still makes sense."


class UsernameTaken(Conflict):
    code, title = "username_taken", "This username is taken"
    advice = "Choose another username."


class NoPendingRequest(Conflict):
    code, title = "no_pending_request", "This user has not sent you a contact request"


class ContactBlocked(Conflict):
    code, title = "contact_blocked", "You have blocked this user; unblock them first"
    advice = "Unblock the user first (`POST /unblock`)."


class ClientIdReused(Conflict):
    code, title = "client_id_reused", "This client_id was already used for a different message"
    advice = "Use a new `client_id` for a different message."


class MessageIsDeleted(Conflict):
    code, title = "message_deleted", "This message has been deleted"


class CursorExpired(MessengerError):
    status, code, title = 410, "cursor_expired", "Events after this cursor have expired; reload the state"
    advice = "Load conversations and contacts, and continue at the `cursor` of the conversations."


class VersionConflict(MessengerError):
    status, code, title = 412, "version_conflict", "The resource has changed since; load it again"
    advice = "Load the current version, apply the change to it, and retry with its `ETag`."


class PayloadTooLarge(MessengerError):
    status, code, title = 413, "payload_too_large", "The body is too large"
    advice = "Send less. The same request fails again."


class MessageTooLarge(PayloadTooLarge):
    code, title = "message_too_large", "A message body is limited to 64 KiB"


class FileTooLarge(PayloadTooLarge):
    code, title = "file_too_large", "The file is too large"


class SecretTooLarge(PayloadTooLarge):
    code, title = "secret_too_large", "The envelope is limited to 64 KiB"


class UriTooLong(MessengerError):
    status, code, title = 414, "uri_too_long", "The URL is too long"
    advice = "Shorten the URL."


class UnsupportedMediaType(MessengerError):
    status, code, title = 415, "unsupported_media_type", "This content type is not supported"
    advice = "Send a content type that the endpoint accepts, without compression."


class UnsupportedImage(UnsupportedMediaType):
    code, title = "unsupported_image", "The file is not a complete JPEG, PNG, WebP or GIF image"
    advice = "Convert the image, or ask the user for another one."


class Unprocessable(MessengerError):
    status, code, title = 422, "unprocessable", "The content cannot be accepted"
    advice = "Change the content. The same request fails again."


class PasswordWeak(Unprocessable):
    code, title = "password_weak", "This password is too easy to guess"
    advice = "Ask the user for another password; `errors` says why this one was refused."


class ImageTooLarge(Unprocessable):
    code, title = "image_too_large", "The image has too many pixels"


class NotEncrypted(Unprocessable):
    code, title = "not_encrypted", "The body is not an encrypted envelope"


class IdempotencyKeyReused(Unprocessable):
    code, title = "idempotency_key_reused", "This Idempotency-Key was already used for a different request"
    advice = "Use a new key for each new request; repeat a key only with the same body."


class UpgradeRequired(MessengerError):
    status, code, title = 426, "upgrade_required", "This endpoint only accepts WebSocket connections"
    advice = "Open a WebSocket (version 13)."
    headers: ClassVar[dict[str, str]] = {"Upgrade": "websocket", "Connection": "Upgrade"}


class HeadersTooLarge(MessengerError):
    status, code, title = 431, "headers_too_large", "The request headers are too large"
    advice = "Send fewer or shorter headers."


class RateLimited(MessengerError):
    status, code, title = 429, "rate_limited", "Too many requests; retry later"
    advice = "Wait for `Retry-After` seconds (`retry_after` over the socket), then retry."


class TransferCodingUnsupported(MessengerError):
    status, code, title = 501, "transfer_coding_unsupported", "The only supported transfer coding is chunked"
    advice = "Send a `Content-Length`, or use chunked transfer coding."


class Unavailable(MessengerError):
    status, code, title = 503, "unavailable", "The server cannot do this right now; retry later"
    advice = "Wait for `Retry-After` seconds, then retry with the same `client_id` or `Idempotency-Key`."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class DatabaseUnavailable(Unavailable):
    code, title = "database_unavailable", "The database is unavailable; retry later"


class Overloaded(Unavailable):
    code, title = "overloaded", "The server is overloaded; retry later"


class StorageUnavailable(Unavailable):
    code, title = "storage_unavailable", "The file store is unavailable; retry later"


class StorageFull(MessengerError):
    status, code, title = 507, "storage_full", "The server has run out of storage; retry later"
    advice = "Wait for `Retry-After` seconds, then retry; the operator has to free storage."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "60"}
