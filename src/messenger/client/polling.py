"""The long poll: the same stream where a WebSocket can't be had."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from messenger.client.codec import CaughtUp, Event
from messenger.client.course import Course, after_refusal
from messenger.client.errors import ApiError, ClientError
from messenger.client.intake import Intake
from messenger.client.pace import Backoff, Pauses

CURSOR_EXPIRED = 410
PAGE = 200
EARLY_SECONDS = 1.5
"""An empty response before this is not a timeout: the server is stopping, or another program uses these tokens."""
EARLY_PAUSE_SECONDS = 1.0


class Syncing(Protocol):
    """`GET /sync`."""

    async def sync(
        self, cursor: str | None = None, *, limit: int = 50, wait: float = 0.0, patient: bool = True
    ) -> tuple[list[Event], str, bool]: ...


class Poller:
    """Polls repeatedly, with a pause after an early empty response.

    `on_start`: called with the start cursor if polling starts without one; `on_good`: called after each response, with
    whether the end was reached.
    """

    def __init__(
        self,
        server: Syncing,
        intake: Intake,
        *,
        wait: float,
        pauses: Pauses,
        backoff: Backoff,
        on_start: Callable[[str], None],
        on_good: Callable[[bool], None],
    ) -> None:
        self._server = server
        self._intake = intake
        self._wait = wait
        self._pauses = pauses
        self._backoff = backoff
        self._on_start = on_start
        self._on_good = on_good
        self._behind = True

    async def run(self, *, until: float) -> Course:
        """Go on until a time (`time.monotonic()`), or until the server can't be had; what comes next."""
        self._behind = True
        while time.monotonic() < until:
            try:
                await self._once()
            except ApiError as error:
                if error.status != CURSOR_EXPIRED:
                    return after_refusal(error, failures=0)
                course = await self._begin_anew()
                if course is not None:
                    return course
            except ClientError as error:
                return after_refusal(error, failures=0)
        return Course("again", exactly=True)

    async def _once(self) -> None:
        """One page. Raises `ClientError`."""
        intake = self._intake
        if intake.heard is None:
            intake.heard = (await self._server.sync(patient=False))[1]
            self._on_start(intake.heard)
        wait = 0.0 if self._behind else self._wait
        asked = time.monotonic()
        events, cursor, more = await self._server.sync(intake.heard, limit=PAGE, wait=wait, patient=False)
        for event in events:
            while not intake.take_event(event):
                await intake.inbox.has_drained()
        intake.heard = cursor
        reached, self._behind = self._behind and not more, more
        self._on_good(not more)
        while reached and not intake.put(CaughtUp(cursor)):
            await intake.inbox.has_drained()
        if events or time.monotonic() - asked >= min(wait, EARLY_SECONDS):
            self._backoff.reset()
        else:
            await self._pauses.sleep(self._backoff.next(at_least=EARLY_PAUSE_SECONDS))

    async def _begin_anew(self) -> Course | None:
        """The cursor is too old: on from now, once the application has heard of it. What comes next, where it fails."""
        try:
            cursor = (await self._server.sync(patient=False))[1]
        except ClientError as error:
            return after_refusal(error, failures=0)
        while not self._intake.begin_anew(cursor):
            await self._intake.inbox.has_drained()
        self._behind = True
        return None
