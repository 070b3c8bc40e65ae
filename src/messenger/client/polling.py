"""Long polling: the event stream for networks without WebSocket."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from messenger.client.codec import CaughtUp, Event
from messenger.client.deduplication import EventDeduplicator
from messenger.client.errors import ApiError, ClientError
from messenger.client.reconnect import NextStep, after_failure
from messenger.client.retrying import Backoff, Sleeper

CURSOR_EXPIRED = 410
PAGE = 200
EARLY_SECONDS = 1.5
"""An empty response before this is not a timeout: the server is stopping, or another program uses these tokens."""
EARLY_WAIT_SECONDS = 1.0


class SyncCall(Protocol):
    """The call `GET /sync`."""

    async def sync(
        self, cursor: str | None = None, *, limit: int = 50, wait: float = 0.0, patient: bool = True
    ) -> tuple[list[Event], str, bool]: ...


class Poller:
    """Polls repeatedly, with a pause after an early empty response.

    `on_start`: called with the start cursor if polling starts without one; `on_page`: called after each response, with
    whether the end was reached.
    """

    def __init__(
        self,
        server: SyncCall,
        deduplicator: EventDeduplicator,
        *,
        wait: float,
        sleeper: Sleeper,
        backoff: Backoff,
        on_start: Callable[[str], None],
        on_page: Callable[[bool], None],
    ) -> None:
        self._server = server
        self._deduplicator = deduplicator
        self._wait = wait
        self._sleeper = sleeper
        self._backoff = backoff
        self._on_start = on_start
        self._on_page = on_page
        self._behind = True

    async def run(self, *, until: float) -> NextStep:
        """Poll until a time (`time.monotonic()`) or an error; returns the next step."""
        self._behind = True
        while time.monotonic() < until:
            try:
                await self._once()
            except ApiError as error:
                if error.status != CURSOR_EXPIRED:
                    return after_failure(error, failures=0)
                step = await self._restart()
                if step is not None:
                    return step
            except ClientError as error:
                return after_failure(error, failures=0)
        return NextStep("again", exactly=True)

    async def _once(self) -> None:
        """Request one page. Raises `ClientError`."""
        deduplicator = self._deduplicator
        if deduplicator.cursor is None:
            deduplicator.cursor = (await self._server.sync(patient=False))[1]
            self._on_start(deduplicator.cursor)
        wait = 0.0 if self._behind else self._wait
        asked = time.monotonic()
        events, cursor, more = await self._server.sync(deduplicator.cursor, limit=PAGE, wait=wait, patient=False)
        for event in events:
            while not deduplicator.accept_event(event):
                await deduplicator.inbox.wait_until_half_empty()
        deduplicator.cursor = cursor
        reached, self._behind = self._behind and not more, more
        self._on_page(not more)
        while reached and not deduplicator.put(CaughtUp(cursor)):
            await deduplicator.inbox.wait_until_half_empty()
        if events or time.monotonic() - asked >= min(wait, EARLY_SECONDS):
            self._backoff.reset()
        else:
            await self._sleeper.sleep(self._backoff.next(at_least=EARLY_WAIT_SECONDS))

    async def _restart(self) -> NextStep | None:
        """Restart at the current end, since the cursor has expired; returns the next step if that fails."""
        try:
            cursor = (await self._server.sync(patient=False))[1]
        except ClientError as error:
            return after_failure(error, failures=0)
        while not self._deduplicator.restart_at(cursor):
            await self._deduplicator.inbox.wait_until_half_empty()
        self._behind = True
        return None
