"""Calls on the wire."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from messenger.schemas.types import Timestamp


class IceServerView(msgspec.Struct, frozen=True):
    """An `RTCIceServer` for `RTCPeerConnection`."""

    urls: list[str]
    username: Annotated[str | None, Meta(description="null for STUN servers")]
    credential: str | None

    def __repr__(self) -> str:
        return f"IceServerView({self.urls!r})"


class IceServersView(msgspec.Struct, frozen=True):
    ice_servers: list[IceServerView]
    ttl: Annotated[int, Meta(description="Lifetime of the credentials in seconds")]
    refresh_after: Annotated[int, Meta(description="Request new credentials after this many seconds")]
    expires_at: Timestamp
