"""The caller of a request: a frozen value, never a mapped object."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """An authenticated device of a user. Statements still check that the device is signed in."""

    user_id: int
    device_id: UUID


class Bearer(msgspec.Struct, frozen=True):
    """An access token not yet looked up: its SHA-256. The first statement of the request turns it into an `Actor`."""

    token_hash: bytes


class KnownTokens:
    """Maps the access tokens that this process has authenticated recently to their devices.

    It does not authenticate: rate limits use it to count by device before the token is looked up.
    """

    MOST = 50_000
    """Above this, the oldest entry is replaced."""

    def __init__(self) -> None:
        self.devices: dict[bytes, UUID] = {}
        self._listeners: list[Callable[[bytes, UUID], None]] = []

    def on_learned(self, listener: Callable[[bytes, UUID], None]) -> None:
        """Register a callback for each new token and its device."""
        self._listeners.append(listener)

    def learn(self, token_hash: bytes, device_id: UUID) -> None:
        """Add a token that was found in the database."""
        if len(self.devices) >= self.MOST:
            del self.devices[next(iter(self.devices))]
        self.devices[token_hash] = device_id
        for listener in self._listeners:
            listener(token_hash, device_id)


Caller = Actor | Bearer
"""What every public service method takes first: a token to look up, or a device already known (a socket, a test)."""
