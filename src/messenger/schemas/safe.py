"""The safe on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from messenger.schemas.types import Timestamp

ANY: Literal["*"] = "*"
NONE: Literal["none"] = "none"


class Precondition(msgspec.Struct, frozen=True):
    """`If-Match: *` (any version), `If-None-Match: *` (none yet), or the versions that `If-Match` names."""

    expected: Literal["*", "none", "versions"]
    versions: tuple[int, ...] = ()


class SecretView(msgspec.Struct, frozen=True, kw_only=True):
    version: Annotated[int, Meta(ge=1, description="1, 2, 3 …; also the `ETag`")]
    created_at: Timestamp
    algorithm: str
    kdf: Annotated[Any, Meta(description="As it was stored")]
    nonce: str
    ciphertext: str
    mac: str | None
    key_id: str | None

    def __repr__(self) -> str:
        return f"SecretView(version={self.version})"
