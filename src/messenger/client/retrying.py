"""How long to wait: growing waits with full jitter, and every time limit of the client in one place."""

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
    """Seconds, all of them; the defaults suit a phone."""

    connect: float = 10.0
    answer: float = 15.0
    """For an answer over HTTP, from the last byte that was sent."""
    reply: float = 10.0
    """For a reply over the socket."""
    patience: float = 40.0
    """How long a call that may be repeated is repeated, while the server can't be had."""
    first_wait: float = 0.5
    longest_wait: float = 30.0
    ping: float = 20.0
    """The socket is pinged this often, and given up when a ping is not answered for as long."""
    poll: float = 25.0
    """How long a long poll may wait at the server."""
    socket_again: float = 60.0
    """After this much polling the socket is tried again."""
    stable: float = 10.0
    """A socket that lived this long makes the next wait short again."""
    too_many: float = 60.0


class Backoff:
    """Waits that double, each drawn evenly from zero to its limit, so that clients that fell together rise apart."""

    def __init__(self, timing: Timing, draw: Callable[[], float] = random.random) -> None:
        self._timing = timing
        self._draw = draw
        self.failures = 0

    def next(self, *, at_least: float = 0.0) -> float:
        """Seconds until the next attempt; on top of what the server asked for."""
        limit = min(self._timing.longest_wait, self._timing.first_wait * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return at_least + self._draw() * limit

    def reset(self) -> None:
        """It worked."""
        self.failures = 0


class Sleeper:
    """Sleeping, which a test can replace, and which good news can cut short."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._news = asyncio.Event()

    def separate(self) -> Sleeper:
        """With news of its own."""
        return Sleeper(self._sleep)

    def wake(self) -> None:
        """The server can be had again: whoever waits for that tries now."""
        self._news.set()
        self._news = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._sleep(seconds)

    async def sleep_until_woken(self, seconds: float) -> None:
        """Wait, at most until `wake`."""
        tasks = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._news.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def retry(attempt: Callable[[], Awaitable[T]], *, within: float | None, backoff: Backoff, sleeper: Sleeper) -> T:
    """Try until it works, is refused, or `within` seconds are over (None: never). Raises the last `ClientError`.

    Only for what may be repeated. `Retry-After` is honoured: where it ends too late, it is not waited for.
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
    """Whether waiting may help."""
    if isinstance(error, ApiError):
        return error.status in {408, 425, 429} or error.status >= 500
    return isinstance(error, Unreachable)
