"""Tokens: kept, renewed in time, and renewed once however many calls find them old."""

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
    """A device's tokens, to be kept where nobody else reads. `renew_at`: when to change them, in Unix seconds."""

    access_token: str
    refresh_token: str
    renew_at: float = 0.0

    @classmethod
    def of(cls, view: TokensView, now: float) -> Tokens:
        """Tokens as the server gave them at `now`: renewed half a minute, or a fifth of their life, before the end."""
        return cls(view.access_token, view.refresh_token, now + max(view.expires_in - 30, view.expires_in * 0.8))

    def __repr__(self) -> str:
        return "Tokens(…)"


OnTokens = Callable[[Tokens | None], Awaitable[None] | None]
"""Told of each new pair before it is used, and of None when the device is signed out."""


class TokenKeeper:
    """One pair of tokens. A refresh token works once, so a renewal is one task that everyone waits for."""

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
        """An access token that is still good for a while. Raises `SignedOut`, `ClientError`."""
        tokens = self._require()
        if self._now() < tokens.renew_at or tokens.renew_at == 0.0:
            return tokens.access_token
        try:
            return await self.renew(tokens.access_token)
        except Unreachable:
            # It may still do; where it doesn't, the answer says so.
            return tokens.access_token

    async def renew(self, stale: str) -> str:
        """Another access token than `stale`. Raises `SignedOut`, `ClientError`."""
        tokens = self._require()
        if tokens.access_token != stale:
            return tokens.access_token
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew(tokens))
            self._renewal.add_done_callback(_retrieve_exception)
        # Whoever asked may be cancelled: the new pair must be kept all the same, or the device is signed out.
        return (await asyncio.shield(self._renewal)).access_token

    async def store(self, view: TokensView) -> Tokens:
        """Keep what signing in gave."""
        tokens = Tokens.of(view, self._now())
        await self._keep(tokens)
        return tokens

    async def drop(self) -> None:
        """The device is signed out."""
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
    """A failure that nobody waits for any more is no news."""
    if not task.cancelled():
        task.exception()
