"""Retries with exponential backoff and full jitter, and all timeouts of the client."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from messenger.client.errors import ApiError, ClientError, Unreachable

T = TypeVar("T")


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Timeouts and intervals of the client, in seconds. The defaults suit a phone."""

    connect: float = 10.0
    """Timeout for connecting."""
    answer: float = 15.0
    """Timeout for an HTTP response, after the request has been sent."""
    reply: float = 10.0
    """Timeout for a reply over the socket."""
    patience: float = 40.0
    """How long to retry an idempotent call while the server is unreachable."""
    first_wait: float = 0.5
    """Upper limit of the first wait between attempts; it doubles with each failure."""
    longest_wait: float = 30.0
    """Upper limit of any wait between attempts."""
    ping: float = 20.0
    """Interval of pings on the socket, and the timeout for a pong."""
    poll: float = 25.0
    """How long the server may hold a long poll."""
    socket_again: float = 60.0
    """How long to poll before trying the socket again."""
    stable: float = 10.0
    """A socket that was open this long resets the backoff."""
    too_many: float = 60.0
    """Minimum wait after the close code 4429 (too many requests)."""


class Backoff:
    """Exponential backoff with full jitter: clients that were disconnected together reconnect at different times."""

    def __init__(self, timing: Timing, draw: Callable[[], float] = random.random) -> None:
        self._timing = timing
        self._draw = draw
        self.failures = 0

    def next(self, *, at_least: float = 0.0) -> float:
        """Seconds to wait before the next attempt, counted on top of `at_least`."""
        limit = min(self._timing.longest_wait, self._timing.first_wait * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return at_least + self._draw() * limit

    def reset(self) -> None:
        """Start over with the shortest wait, after a success."""
        self.failures = 0


class Sleeper:
    """Sleeps that can be interrupted. `sleep` can be replaced in tests."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._news = asyncio.Event()

    def separate(self) -> Sleeper:
        """A sleeper with the same `sleep`, woken independently."""
        return Sleeper(self._sleep)

    def wake(self) -> None:
        """Interrupt all current `sleep_until_woken` calls, since the server is reachable again."""
        self._news.set()
        self._news = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Sleep without interruption."""
        await self._sleep(seconds)

    async def sleep_until_woken(self, seconds: float) -> None:
        """Sleep until the time is over or `wake` is called."""
        tasks = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._news.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def retry(attempt: Callable[[], Awaitable[T]], *, within: float | None, backoff: Backoff, sleeper: Sleeper) -> T:
    """Call `attempt` until it succeeds, fails permanently, or `within` seconds have passed (None: no limit).

    Raises the last `ClientError`. Use it for idempotent calls only. Waits as long as `Retry-After` asks for; if that
    exceeds the remaining time, raises at once.
    """
    until = None if within is None else time.monotonic() + within
    while True:
        try:
            return await attempt()
        except ClientError as error:
            if not is_transient(error):
                raise
            asked = error.retry_after if isinstance(error, ApiError) else None
            wait = backoff.next(at_least=asked or 0.0)
            left = math.inf if until is None else until - time.monotonic()
            if left <= (asked or 0.0):
                raise
            wait = min(wait, left)
        if asked is None:
            await sleeper.sleep_until_woken(wait)
        else:
            await sleeper.sleep(wait)


def is_transient(error: ClientError) -> bool:
    """Whether a later attempt may succeed."""
    if isinstance(error, ApiError):
        return error.status in {408, 425, 429} or error.status >= 500
    return isinstance(error, Unreachable)
