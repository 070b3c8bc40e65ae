"""Access and refresh tokens: opaque to clients, random or derived, stored only as hashes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

import msgspec

ACCESS_PREFIX = "mat_"
REFRESH_PREFIX = "mrt_"
TICKET_PREFIX = "mwt_"


class TokenPair(msgspec.Struct, frozen=True):
    """An access token and its refresh token, 256 bits each."""

    access: str
    refresh: str

    def __repr__(self) -> str:
        return "TokenPair(***)"


class TokenMint:
    """Makes tokens. A derived pair can be derived again from the same input, so that it need not be stored."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def fresh(self) -> TokenPair:
        """A random pair."""
        return self.derived(secrets.token_bytes(32))

    def successor(self, refresh_token: str) -> TokenPair:
        """The pair that replaces a refresh token: always the same one, for clients that lost the response."""
        return self.derived(b"successor:" + refresh_token.encode())

    def derived(self, source: bytes) -> TokenPair:
        """The pair derived from `source`; without the secret it cannot be distinguished from a random one."""
        return TokenPair(
            ACCESS_PREFIX + self._text(b"access:" + source),
            REFRESH_PREFIX + self._text(b"refresh:" + source),
        )

    def keyed(self, digest: bytes) -> bytes:
        """A keyed hash, against which passwords cannot be tried without the secret."""
        return hmac.digest(self._secret, b"sealed:" + digest, "sha256")

    def _text(self, message: bytes) -> str:
        digest = hmac.digest(self._secret, message, "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def new_ticket() -> str:
    """A ticket that opens one socket: 256 random bits."""
    return TICKET_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """The SHA-256 of a token, which is stored instead of it; tokens have 256 random bits and need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
