"""Issuing tokens: the tokens that a client gets, and the hashes that are stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from messenger.repositories.devices import Tokens
from messenger.schemas.accounts import TokensView
from messenger.security.tokens import TokenMint, TokenPair, token_hash
from messenger.services.idempotency import IdempotencyKey


class TokenIssuer:
    """Pairs of tokens with the operator's lifetimes, in seconds."""

    def __init__(self, mint: TokenMint, *, access_ttl: int, refresh_ttl: int) -> None:
        self._mint = mint
        self._access_ttl = timedelta(seconds=access_ttl)
        self._refresh_ttl = timedelta(seconds=refresh_ttl)

    def keyed_fingerprint(self, once: IdempotencyKey | None) -> IdempotencyKey | None:
        """Key the fingerprint of a request that contains a password.

        The stored fingerprint must not allow faster guesses of the password than its Argon2id hash.
        """
        return once and msgspec.structs.replace(once, fingerprint=self._mint.keyed(once.fingerprint))

    def keyed_login(self, login: str) -> str:
        """A keyed hash of an entered login, which may be a password typed into the wrong field."""
        return self._mint.keyed(login.encode("utf-8", "surrogatepass")).hex()

    def address_digest(self, user_id: int, address: str) -> bytes:
        """The stored digest of an account's address; different accounts have different digests of the same address."""
        return self._mint.keyed(f"address:{user_id}:{address}".encode("utf-8", "surrogatepass"))

    def pair(self, scope: str, once: IdempotencyKey | None, device_id: UUID) -> TokenPair:
        """A random pair, or one derived from the Idempotency-Key, the body (with the password) and the device.

        A repeated request thus gets the same tokens, although they are not stored.
        """
        if once is None:
            return self._mint.fresh()
        seed = [scope.encode(), once.key.encode(), once.fingerprint, device_id.bytes]
        return self._mint.derived(b"\0".join(seed))

    def successor(self, refresh_token: str) -> TokenPair:
        """The pair that follows a refresh token; it is always the same one."""
        return self._mint.successor(refresh_token)

    def stored(self, pair: TokenPair, now: datetime) -> Tokens:
        """The stored hashes and expiry times of a pair."""
        return Tokens(
            access_hash=token_hash(pair.access),
            access_expires_at=now + self._access_ttl,
            refresh_hash=token_hash(pair.refresh),
            refresh_expires_at=now + self._refresh_ttl,
        )

    def view(self, pair: TokenPair) -> TokensView:
        """The tokens as returned to the client."""
        return TokensView(
            access_token=pair.access,
            refresh_token=pair.refresh,
            token_type="Bearer",
            expires_in=int(self._access_ttl.total_seconds()),
        )
