"""Access and refresh tokens: opaque to clients, random or derived, stored as hashes alone."""

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
    """An access token and the refresh token that goes with it: 256 bits each."""

    access: str
    refresh: str

    def __repr__(self) -> str:
        return "TokenPair(***)"


class TokenMint:
    """Makes tokens. A derived pair can be made again from what it was derived from, and is stored nowhere."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def fresh(self) -> TokenPair:
        """A random pair."""
        return self.derived(secrets.token_bytes(32))

    def successor(self, refresh_token: str) -> TokenPair:
        """The pair that follows a refresh token: the same one each time, for one whose answer was lost."""
        return self.derived(b"successor:" + refresh_token.encode())

    def derived(self, seed: bytes) -> TokenPair:
        """The pair of a seed; nobody without the secret can tell it from a random one."""
        return TokenPair(
            ACCESS_PREFIX + self._text(b"access:" + seed),
            REFRESH_PREFIX + self._text(b"refresh:" + seed),
        )

    def sealed(self, digest: bytes) -> bytes:
        """A hash that nobody without the secret can try passwords against."""
        return hmac.digest(self._secret, b"sealed:" + digest, "sha256")

    def _text(self, message: bytes) -> str:
        digest = hmac.digest(self._secret, message, "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def new_ticket() -> str:
    """256 random bits that open one socket."""
    return TICKET_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """SHA-256 of a token: enough for 256 random bits, and what is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
