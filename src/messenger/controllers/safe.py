"""The safe: storage for a secret that the devices encrypt themselves."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import Annotated, Any

from litestar import Controller, get, post
from litestar.openapi.spec import Example
from litestar.params import Body

from messenger.errors import (
    IdempotencyKeyReused,
    NotEncrypted,
    RateLimited,
    SecretNotFound,
    SecretTooLarge,
    VersionConflict,
)
from messenger.schemas.safe import SecretView
from messenger.security.envelope import SecretEnvelope, parse_envelope
from messenger.web.negotiation import MSGPACK
from messenger.web.request import WireBody, WireRequest, content_type, entity_tag
from messenger.web.responses import WireResponse
from messenger.web.route_options import authenticated

_EXAMPLE = {
    "algorithm": "aes-256-gcm",
    "kdf": {"name": "argon2id", "salt": "c2FsdCBvZiAxNiBieXRlcw==", "memory_kib": 65536, "iterations": 3},
    "nonce": "bm9uY2Ugb2YgMTIu",
    "ciphertext": "dGhlIGFjY291bnQncyBzZWNyZXQsIGFzIGl0cyBvd25lcidzIGRldmljZXMgc2VhbGVkIGl0",
}
EnvelopeJSON = Annotated[SecretEnvelope, Body(examples=[Example(value=_EXAMPLE)])]


class EnvelopeBody(WireBody):
    """Decodes an envelope. Anything else is reported as `not_encrypted`, whatever its other errors."""

    def decode(self, body: bytes) -> Any:
        msgpack = content_type(self.asgi_connection.scope) == MSGPACK
        return parse_envelope(body if msgpack else body.removeprefix(BOM_UTF8), msgpack=msgpack)


class SafeController(Controller):
    """The secret of an account, encrypted by its devices."""

    tags = ("End-to-end encryption",)

    @post(
        "/e2e/secret_key",
        operation_id="storeSecret",
        summary="Store a new version of your encrypted secret",
        dto=EnvelopeBody,
        **authenticated(NotEncrypted, SecretTooLarge, VersionConflict, IdempotencyKeyReused, RateLimited, body=True),
    )
    async def store(self, request: WireRequest, data: EnvelopeJSON) -> WireResponse[SecretView]:
        stored = await request.services.safe.store(
            request.caller, data, precondition=request.precondition(), once=await request.once()
        )
        return WireResponse(stored, headers={"ETag": entity_tag(stored.version)})

    @get(
        "/e2e/secret_key",
        operation_id="getSecret",
        summary="Get the latest version of your encrypted secret (10 reads a day)",
        **authenticated(SecretNotFound, RateLimited),
    )
    async def get_secret(self, request: WireRequest) -> WireResponse[SecretView]:
        found = await request.services.safe.get(request.caller)
        return WireResponse(found, headers={"ETag": entity_tag(found.version)})
