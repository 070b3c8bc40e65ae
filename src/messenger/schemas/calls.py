"""Calls on the wire (`API.md` section 3)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from messenger.schemas._types import Timestamp


class IceServerView(msgspec.Struct, frozen=True):
    """Fits `RTCPeerConnection` as it is."""

    urls: list[str]
    username: Annotated[str | None, Meta(description="null for STUN")]
    credential: str | None

    def __repr__(self) -> str:
        return f"IceServerView({self.urls!r})"


class IceServersView(msgspec.Struct, frozen=True):
    ice_servers: list[IceServerView]
    ttl: Annotated[int, Meta(description="Seconds that the credentials live")]
    refresh_after: Annotated[int, Meta(description="Seconds after which to ask again")]
    expires_at: Timestamp
