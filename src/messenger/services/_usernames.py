"""Usernames: how they are compared, and what is stored of one that was given up."""

from __future__ import annotations

import hashlib


def username_key(username: str) -> str:
    """How usernames are compared: they are ASCII, and their case means nothing."""
    return username.lower()


class UsernameDigests:
    """Digests that nobody without the secret can try names against."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, key: str) -> bytes:
        """The digest of a username's key."""
        return hashlib.blake2b(key.encode(), key=self._key, digest_size=32).digest()
