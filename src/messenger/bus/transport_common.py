"""What the transports share: a bounded inbox, a look whether the other end lives, names, and errors without secrets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import unquote

MAX_PAYLOAD = 128 * 1024
"""Bytes of one payload: a call's signal has up to 64 KiB, and must go in one piece."""
PROBE_SECONDS = 5.0
"""Seconds between two questions for a sign of life, and what an answer may take: a loss shows after twice as long."""
CLOSE_SECONDS = 1.0
_INBOX_CHARACTERS = 16 * 1024 * 1024


class BusConnectionLost(ConnectionError):
    """The end of a connection, in words that hold no secret."""


class TransportInbox:
    """What came and was not taken yet. Ends once, with the reason; also when more came than it may hold."""

    def __init__(self, probe_seconds: float) -> None:
        self._probe_seconds = probe_seconds
        self._payloads: deque[str] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._reason: BusConnectionLost | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def put(self, payload: str) -> None:
        """Keep it until it is taken."""
        self._size += len(payload)
        # Hints must not be dropped silently: ending the connection makes receivers read the tables.
        if self._size > _INBOX_CHARACTERS:
            self.end(BusConnectionLost("more came than was taken"))
            return
        self._payloads.append(payload)
        self._wake.set()

    def end(self, reason: BusConnectionLost) -> None:
        """Nothing comes any more; the first reason counts."""
        if self._reason is None:
            self._reason = reason
            self._wake.set()
            if not self._ended.done():
                self._ended.set_result(None)

    def raise_if_ended(self) -> None:
        """Raise the reason, if there is one."""
        if self._reason is not None:
            raise self._reason

    async def wait_for(self, awaited: asyncio.Future[None]) -> None:
        """Wait for it, but not for ever, and not past the end."""
        async with asyncio.timeout(self._probe_seconds):
            await asyncio.wait((awaited, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            self.raise_if_ended()

    async def payloads(self) -> AsyncIterator[str]:
        """What comes, until the end; raises its reason."""
        while True:
            while self._payloads:
                payload = self._payloads.popleft()
                self._size -= len(payload)
                yield payload
            self.raise_if_ended()
            self._wake.clear()
            await self._wake.wait()

    @contextlib.asynccontextmanager
    async def probed(self, ping: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Asks again and again meanwhile; ends where no answer comes."""
        task = asyncio.create_task(self._probe(ping))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _probe(self, ping: Callable[[], Awaitable[None]]) -> None:
        while self._reason is None:
            await asyncio.sleep(self._probe_seconds)
            try:
                await ping()
            except BusConnectionLost as error:
                self.end(error)
            except Exception as error:
                # Whatever it is, nobody looks after this connection any more.
                self.end(BusConnectionLost(f"the probe failed: {type(error).__name__}"))


@contextlib.contextmanager
def translated(url: str, *kinds: type[Exception]) -> Iterator[None]:
    """These kinds of error, and the system's own, as `BusConnectionLost`."""
    expected: tuple[type[Exception], ...] = (OSError, *kinds)
    try:
        yield
    except expected as error:
        raise connection_lost(error, url) from None


def connection_lost(error: Exception, url: str) -> BusConnectionLost:
    """The same without the secrets of the URL."""
    if isinstance(error, BusConnectionLost):
        return error
    if isinstance(error, TimeoutError):
        return BusConnectionLost("no answer in time")
    text = str(error)
    for secret in secrets_of(url):
        text = text.replace(secret, "***")
    return BusConnectionLost(f"{type(error).__name__}: {text}")


def abort_connection(writer: object) -> None:
    """End a connection at once, if it is one.

    Libraries close theirs, which waits until the peer has taken what is left: a quarter of an hour for a dead one. They
    have no other way, so this is given what they keep to themselves.
    """
    if isinstance(writer, asyncio.StreamWriter):
        writer.transport.abort()


def secrets_of(url: str) -> list[str]:
    """Passwords and tokens in a URL or in a list of them, as written and as meant; the longest first."""
    found = set(re.findall(r"[?&]password=([^&#\s]+)", url))
    for account in re.findall(r"://([^/?#\s]*)@", url):
        user, colon, password = account.partition(":")
        # A name alone is a token, as NATS has it.
        found.add(password if colon else user)
    found |= {unquote(secret) for secret in found}
    return sorted(found - {""}, key=len, reverse=True)


def channel_of(namespace: str) -> str:
    """A name for the namespace that every transport takes as it is: small letters, digits, `_`; 63 characters."""
    if re.fullmatch(r"[a-z0-9_]{1,40}", namespace):
        return f"messenger_{namespace}"
    return f"messenger_{hashlib.sha256(namespace.encode()).hexdigest()[:48]}"
