"""Holds a device's tokens and refreshes them before they expire, once for all concurrent calls."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

import msgspec

from messenger.client.errors import SignedOut, Unreachable
from messenger.schemas.accounts import TokensView

SETTLE_SECONDS = 2.0


class Tokens(msgspec.Struct, frozen=True):
    """The tokens of a device; store them privately. `renew_at`: when to refresh them, in Unix seconds (0: unknown)."""

    access_token: str
    refresh_token: str
    renew_at: float = 0.0

    @classmethod
    def of(cls, view: TokensView, now: float) -> Tokens:
        """Tokens received at `now`, refreshed 30 s or a fifth of their lifetime before expiry, whichever is shorter."""
        return cls(view.access_token, view.refresh_token, now + max(view.expires_in - 30, view.expires_in * 0.8))

    def __repr__(self) -> str:
        return "Tokens(…)"


OnTokens = Callable[[Tokens | None], Awaitable[None] | None]
"""Called with each new pair before its first use, and with None when the device is signed out."""


class TokenKeeper:
    """Holds one pair of tokens. A refresh token is valid once: concurrent callers share one refresh."""

    def __init__(
        self,
        tokens: Tokens | None,
        *,
        on_tokens: OnTokens | None,
        refresh: Callable[[str], Awaitable[TokensView]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.tokens = tokens
        self._on_tokens = on_tokens
        self._refresh = refresh
        self._now = now
        self._renewal: asyncio.Task[Tokens] | None = None

    async def access(self) -> str:
        """A valid access token, refreshed if it is about to expire. Raises `SignedOut`, `ClientError`."""
        tokens = self._require()
        if self._now() < tokens.renew_at or tokens.renew_at == 0.0:
            return tokens.access_token
        try:
            return await self.renew(tokens.access_token)
        except Unreachable:
            # The token may still be valid; if not, the response is 401.
            return tokens.access_token

    async def renew(self, stale: str) -> str:
        """An access token other than `stale`, refreshed if necessary. Raises `SignedOut`, `ClientError`."""
        tokens = self._require()
        if tokens.access_token != stale:
            return tokens.access_token
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew(tokens))
            self._renewal.add_done_callback(_retrieve_exception)
        # Even if the caller is cancelled the new pair must be stored, or the device would be signed out.
        return (await asyncio.shield(self._renewal)).access_token

    async def store(self, view: TokensView) -> Tokens:
        """Store the tokens of a sign-in or refresh."""
        tokens = Tokens.of(view, self._now())
        await self._keep(tokens)
        return tokens

    async def drop(self) -> None:
        """Discard the tokens, since the device is signed out."""
        if self.tokens is not None:
            await self._keep(None)

    async def settle(self) -> None:
        """Wait briefly for a refresh in progress; if its response is lost, the older pair can request it again."""
        renewal = self._renewal
        if renewal is not None:
            await asyncio.wait([renewal], timeout=SETTLE_SECONDS)
            renewal.cancel()

    async def _renew(self, tokens: Tokens) -> Tokens:
        try:
            view = await self._refresh(tokens.refresh_token)
            return await self.store(view)
        except SignedOut:
            if self.tokens is tokens:
                await self.drop()
            raise
        finally:
            self._renewal = None

    async def _keep(self, tokens: Tokens | None) -> None:
        # Store the new pair before using it: after a crash in between the older pair is kept, which the server accepts
        # until the newer one is used.
        if self._on_tokens is not None:
            result = self._on_tokens(tokens)
            if inspect.isawaitable(result):
                await result
        self.tokens = tokens

    def _require(self) -> Tokens:
        if self.tokens is None:
            raise SignedOut(401, "unauthenticated", "this client is not signed in")
        return self.tokens


def _retrieve_exception(task: asyncio.Task[Tokens]) -> None:
    """Retrieve the exception so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
