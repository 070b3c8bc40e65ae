"""Requests and their bodies: JSON or MessagePack, strictly typed, with the caller and the services."""

from __future__ import annotations

import hashlib
import re
from codecs import BOM_UTF8
from collections.abc import Generator
from typing import Any, ClassVar

import msgspec
from litestar import Request
from litestar.dto import AbstractDTO
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from messenger.actor import Bearer
from messenger.addresses import subscriber
from messenger.errors import (
    FieldError,
    MalformedBody,
    Unauthenticated,
    UnsupportedMediaType,
    ValidationFailed,
)
from messenger.schemas.moments import decode_hook
from messenger.schemas.safe import ANY, NONE, Precondition
from messenger.security.tokens import token_hash
from messenger.services import Services
from messenger.services.idempotency import IdempotencyKey
from messenger.web.field_errors import body_error
from messenger.web.negotiation import MSGPACK

_JSON_TYPES = ("application/json", "")
JSON_TYPES = frozenset(
    b"application/json" + parameter
    for parameter in (b"", b"; charset=utf-8", b";charset=utf-8", b"; charset=UTF-8", b";charset=UTF-8")
)
"""The `Content-Type` headers that JSON clients send."""
_IDEMPOTENCY_KEY = re.compile(r"\A[\x21-\x7e]{1,128}\Z")


class RequestReader:
    """What handlers read from a request: the caller, headers, and the services of the process."""

    __slots__ = ()

    scope: Any

    @property
    def services(self) -> Services:
        """The services of this process."""
        services: Services = self.scope["litestar_app"].services
        return services

    async def body(self) -> bytes:
        """The whole body."""
        raise NotImplementedError

    @property
    def caller(self) -> Bearer:
        """The bearer token's hash; the first statement of the request looks it up. Raises `Unauthenticated`."""
        return bearer_of(self.header(b"authorization"))

    @property
    def address(self) -> str:
        """The client's address as limits count it (IPv6 by /64), as reported by trusted proxies."""
        client = self.scope.get("client")
        return subscriber(str(client[0])) if client else "unknown"

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name; no mapping of all headers is built."""
        return header(self.scope, name)

    async def once(self, fingerprint: bytes | None = None) -> IdempotencyKey | None:
        """The `Idempotency-Key` with what identifies this request: its path, and its body or a hash of it."""
        key = self.header(b"idempotency-key")
        if key is None:
            return None
        if not _IDEMPOTENCY_KEY.match(key):
            raise ValidationFailed(
                "Idempotency-Key must be 1 to 128 visible ASCII characters",
                errors=(FieldError("Idempotency-Key", "invalid", "1 to 128 visible ASCII characters"),),
            )
        digest = hashlib.sha256(self.scope["path"].encode() + b"\0")
        digest.update(await self.body() if fingerprint is None else fingerprint)
        return IdempotencyKey(key, digest.digest())

    def precondition(self) -> Precondition | None:
        """`If-Match` or `If-None-Match: *` (RFC 9110 section 13.1); entity tags are quoted version numbers."""
        match = self.header(b"if-match")
        if match is not None:
            if match.strip() == ANY:
                return Precondition(ANY)
            return Precondition("versions", tuple(int(version) for version in re.findall(r'(?<!W/)"(\d{1,9})"', match)))
        if (self.header(b"if-none-match") or "").strip() == ANY:
            return Precondition(NONE)
        return None

    def expected_versions(self) -> list[int] | None:
        """The versions that `If-Match` names; None if any version is accepted."""
        precondition = self.precondition()
        if precondition is None or precondition.expected == ANY:
            return None
        # `If-None-Match: *` matches no version, because a profile always exists.
        return list(precondition.versions)


class WireRequest(RequestReader, Request[Any, Any, Any]):
    """The request class of the framework's handlers."""

    scope: Any
    decoded: Any = None

    async def body(self) -> bytes:
        return await Request.body(self)

    def keep_body(self, body: bytes) -> None:
        """Store a body that was read from the stream; further reads return it."""
        self._body = self._connection_state.body = body


def header(scope: Any, name: bytes) -> str | None:
    """A header of a request or a handshake by its lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def bearer_of(authorization: str | None) -> Bearer:
    """The token's hash from an `Authorization` header (RFC 6750 section 2.1). Raises `Unauthenticated`."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > 512:
        raise Unauthenticated
    return Bearer(token_hash(token))


async def require_bearer(connection: Any, _: Any) -> None:
    """A guard: requests without a bearer token are refused before they are read. Raises `Unauthenticated`,
    `RateLimited`.
    """
    await connection.services.devices.count_request(connection.caller)


def entity_tag(version: int) -> str:
    """A strong entity tag (RFC 9110 section 8.8.3)."""
    return f'"{version}"'


class WireBody(AbstractDTO[Any]):
    """Decodes a body directly into its struct, by its content type; invalid fields are reported one by one."""

    decoders: ClassVar[dict[str, tuple[msgspec.json.Decoder[Any], msgspec.msgpack.Decoder[Any]]]] = {}

    def decode_bytes(self, value: bytes) -> Any:
        """The body that `web.bodies.read_body` has decoded."""
        return self.asgi_connection.decoded  # type: ignore[attr-defined]

    def decode(self, body: bytes) -> Any:
        """Decode the body into its struct. Raises `ValidationFailed`, `UnknownField`, `MalformedBody`,
        `UnsupportedMediaType`.
        """
        json_decoder, msgpack_decoder = self.decoders[self.asgi_connection.route_handler.handler_id]
        return decode(body, content_type(self.asgi_connection.scope), json_decoder, msgpack_decoder)

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        annotation = field_definition.annotation
        cls.decoders[handler_id] = decoders_of(annotation)

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        return False


def announced_length(scope: Any) -> int | None:
    """`Content-Length`, already validated by the server; None for a chunked body."""
    for key, value in scope["headers"]:
        if key == b"content-length":
            return int(value)
    return None


def content_type(scope: Any) -> str:
    """The request's media type without parameters, in lower case; empty if there is none."""
    for key, value in scope["headers"]:
        if key == b"content-type":
            media_type: str = value.decode("latin-1").partition(";")[0].strip().lower()
            return media_type
    return ""


def decoders_of(annotation: Any) -> tuple[msgspec.json.Decoder[Any], msgspec.msgpack.Decoder[Any]]:
    """The JSON and MessagePack decoders for this type."""
    return (
        msgspec.json.Decoder(annotation, dec_hook=decode_hook),
        msgspec.msgpack.Decoder(annotation, dec_hook=decode_hook),
    )


def decode(body: bytes, media_type: str, json_decoder: Any, msgpack_decoder: Any) -> Any:
    """Decode a body. Raises `ValidationFailed`, `UnknownField`, `MalformedBody`, `UnsupportedMediaType`."""
    if media_type == MSGPACK:
        decoder = msgpack_decoder
    elif media_type in _JSON_TYPES or media_type.endswith("+json"):
        decoder = json_decoder
    else:
        raise UnsupportedMediaType("Send application/json or application/msgpack")
    try:
        if decoder is json_decoder:
            # Some clients prepend a byte order mark (RFC 8259 section 8.1).
            body = body.removeprefix(BOM_UTF8)
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise body_error(error, body, decoder) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError, ValueError):
        raise MalformedBody("The body is empty" if not body else None) from None
