"""Usernames: their comparison, and the digests of released ones."""

from __future__ import annotations

import hashlib


def username_key(username: str) -> str:
    """The form in which usernames are compared: ASCII, without case."""
    return username.lower()


class UsernameDigests:
    """Digests of usernames, keyed with the secret so that names cannot be guessed without it."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, key: str) -> bytes:
        """The digest of a username's key."""
        return hashlib.blake2b(key.encode(), key=self._key, digest_size=32).digest()
