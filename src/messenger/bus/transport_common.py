"""Shared by the transports: a bounded inbox, liveness probes, channel names, and errors without secrets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import unquote

MAX_PAYLOAD = 128 * 1024
"""Maximum bytes of a payload: a call signal has up to 64 KiB and must fit into one."""
PROBE_SECONDS = 5.0
"""Seconds between two liveness probes, and the timeout of each: a loss is detected within twice this time."""
CLOSE_SECONDS = 1.0
_INBOX_CHARACTERS = 16 * 1024 * 1024


class BusConnectionLost(ConnectionError):
    """The connection was lost. The message contains no secrets."""


class TransportInbox:
    """Received payloads that have not been read. Ends once, with a reason; also when it overflows."""

    def __init__(self, probe_seconds: float) -> None:
        self._probe_seconds = probe_seconds
        self._payloads: deque[str] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._reason: BusConnectionLost | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def put(self, payload: str) -> None:
        """Add a payload."""
        self._size += len(payload)
        # Hints must not be dropped silently: ending the connection makes receivers read the tables.
        if self._size > _INBOX_CHARACTERS:
            self.end(BusConnectionLost("the receive buffer overflowed"))
            return
        self._payloads.append(payload)
        self._wake.set()

    def end(self, reason: BusConnectionLost) -> None:
        """End it; only the first reason is kept."""
        if self._reason is None:
            self._reason = reason
            self._wake.set()
            if not self._ended.done():
                self._ended.set_result(None)

    def raise_if_ended(self) -> None:
        """Raise the reason if it has ended."""
        if self._reason is not None:
            raise self._reason

    async def wait_for(self, awaited: asyncio.Future[None]) -> None:
        """Wait for a response. Raises `TimeoutError`, or the reason if the inbox ends first."""
        async with asyncio.timeout(self._probe_seconds):
            await asyncio.wait((awaited, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            self.raise_if_ended()

    async def payloads(self) -> AsyncIterator[str]:
        """Yield payloads; raises the reason at the end."""
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
        """Probe the connection periodically inside the block; a failed probe ends the inbox."""
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
                # Without probes, a dead connection would not be detected.
                self.end(BusConnectionLost(f"the probe failed: {type(error).__name__}"))


@contextlib.contextmanager
def translated(url: str, *kinds: type[Exception]) -> Iterator[None]:
    """Translate `OSError` and these exceptions to `BusConnectionLost`."""
    expected: tuple[type[Exception], ...] = (OSError, *kinds)
    try:
        yield
    except expected as error:
        raise connection_lost(error, url) from None


def connection_lost(error: Exception, url: str) -> BusConnectionLost:
    """The error without the secrets of the URL."""
    if isinstance(error, BusConnectionLost):
        return error
    if isinstance(error, TimeoutError):
        return BusConnectionLost("no response in time")
    text = str(error)
    for secret in secrets_of(url):
        text = text.replace(secret, "***")
    return BusConnectionLost(f"{type(error).__name__}: {text}")


def abort_connection(writer: object) -> None:
    """Abort the connection of a `StreamWriter`; other objects are ignored.

    The libraries close connections gracefully, which waits until the peer has read all buffered data: 15 minutes for an
    unresponsive one. They offer no way to abort, so callers pass the library's private writer.
    """
    if isinstance(writer, asyncio.StreamWriter):
        writer.transport.abort()


def secrets_of(url: str) -> list[str]:
    """Passwords and tokens in a URL or a comma-separated list, encoded and decoded; longest first."""
    found = set(re.findall(r"[?&]password=([^&#\s]+)", url))
    for account in re.findall(r"://([^/?#\s]*)@", url):
        user, colon, password = account.partition(":")
        # In NATS URLs, a user without a password is a token.
        found.add(password if colon else user)
    found |= {unquote(secret) for secret in found}
    return sorted(found - {""}, key=len, reverse=True)


def channel_of(namespace: str) -> str:
    """A channel name that is valid for every transport: lower-case letters, digits, `_`; at most 63 characters."""
    if re.fullmatch(r"[a-z0-9_]{1,40}", namespace):
        return f"messenger_{namespace}"
    return f"messenger_{hashlib.sha256(namespace.encode()).hexdigest()[:48]}"
