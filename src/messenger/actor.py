"""Who asks. A request carries one of these frozen values, never a mapped object."""

from __future__ import annotations

from uuid import UUID

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """An authenticated device of a user. A repository still checks that the device is signed in."""

    user_id: int
    device_id: UUID


class Bearer(msgspec.Struct, frozen=True):
    """An access token not yet looked up: its SHA-256. The first statement of the request turns it into an `Actor`."""

    token_hash: bytes


Caller = Actor | Bearer
"""What every public service method takes first: a token to look up, or a device already known (a socket, a test)."""
