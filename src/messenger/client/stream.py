"""The event stream: connects, catches up, reconnects indefinitely, and yields each event once, in order."""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from messenger.client.codec import CaughtUpFrame, Codec, Item, WelcomeFrame
from messenger.client.deduplication import EventDeduplicator
from messenger.client.errors import ClientError, SignedOut, UnexpectedResponse, Unreachable
from messenger.client.polling import Poller, SyncCall
from messenger.client.reconnect import NextStep, after_close, after_failure
from messenger.client.retrying import Backoff, Sleeper, Timing
from messenger.client.socket_link import Closed, SocketLink, open_link, socket_url
from messenger.client.tokens import TokenKeeper
from messenger.schemas.realtime import TicketView

Status = Literal["connecting", "catching_up", "live", "polling", "waiting", "closed"]
OnCursor = Callable[[str], Awaitable[None] | None]
OnStatus = Callable[[Status], None]


class StreamCalls(SyncCall, Protocol):
    """The API calls that a stream uses besides the socket."""

    @property
    def keeper(self) -> TokenKeeper: ...

    async def ticket(self) -> TicketView: ...


class EventStream:
    """`async for item in stream` yields `Event`, `Signal`, `CaughtUp` or `Resync`.

    An item counts as handled when the next one is requested; then `on_cursor` is called with its cursor. A program that
    stores this cursor and resumes from it after a crash receives every event at least once; the last ones may repeat.
    Raises `SignedOut`, `ConnectedElsewhere` or another permanent `ClientError`; ends after `aclose`.
    """

    def __init__(
        self,
        server: StreamCalls,
        base_url: str,
        *,
        codec: Codec,
        timing: Timing,
        sleeper: Sleeper,
        cursor: str | None = None,
        on_cursor: OnCursor | None = None,
        on_status: OnStatus | None = None,
        with_ticket: bool = False,
        polling_only: bool = False,
    ) -> None:
        self.cursor = cursor
        """The cursor of the last handled item: store it to resume from it."""
        self.status: Status = "connecting"
        self.device_id: str | None = None
        self._server = server
        self._base_url = base_url
        self._codec = codec
        self._timing = timing
        self._sleeper = sleeper
        self._on_cursor = on_cursor
        self._on_status = on_status
        self._with_ticket = with_ticket
        self._polling_only = polling_only
        self._deduplicator = EventDeduplicator(cursor)
        self._inbox = self._deduplicator.inbox
        self._poller = self._new_poller()
        self._backoff = Backoff(timing)
        self._renewals = 0
        self._link: SocketLink | None = None
        self._task: asyncio.Task[None] | None = None
        self._handling: str | None = None
        self._token = ""
        self._retry_sleeper = sleeper.separate()

    def _new_poller(self) -> Poller:
        return Poller(
            self._server,
            self._deduplicator,
            wait=self._timing.poll,
            sleeper=self._sleeper,
            backoff=Backoff(self._timing),
            on_start=self._start_at,
            on_page=self._on_polled,
        )

    # --- for the application ---

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        self.start()
        if self._handling is not None:
            cursor, self._handling = self._handling, None
            await self._advance(cursor)
        item = await self._inbox.get()
        self._handling = getattr(item, "cursor", None)
        return item

    def start(self) -> None:
        """Start connecting; iterating starts it as well."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Disconnect. Items that were not consumed are delivered again to a stream that resumes from `cursor`."""
        self.start()
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._task.cancelled():
            # A task that is cancelled before its first step runs nothing, and leaves no end.
            self._inbox.finish(StopAsyncIteration())
            self._set_status("closed")

    @property
    def repeats(self) -> int:
        """The number of repeated events that were dropped."""
        return self._deduplicator.repeats

    @property
    def has_socket(self) -> bool:
        """Whether the socket is open, so that `request` can be used."""
        return self._link is not None

    async def request(self, method: str, data: Any) -> Any:
        """Send a request over the socket and return the reply's data, plain. Raises `ApiError`, `Unreachable`."""
        link = self._link
        if link is None:
            raise Unreachable(f"{method}: not connected")
        return await link.request(method, data)

    def retry_now(self) -> None:
        """Retry at once, for example when the network is back. Waits that the server asked for are not shortened."""
        self._retry_sleeper.wake()

    # --- the task ---

    async def _run(self) -> None:
        try:
            while True:
                step = await self._once()
                while step.action in {"renew", "poll"}:
                    step = await (self._renew(step) if step.action == "renew" else self._poll())
                if step.action == "stop":
                    raise step.error or Unreachable("the stream ended")
                await self._wait(step)
        except asyncio.CancelledError:
            self._inbox.finish(StopAsyncIteration())
            raise
        except Exception as error:
            self._inbox.finish(error)
        finally:
            self._set_status("closed")

    async def _once(self) -> NextStep:
        """Open a socket and read it until it is closed; returns the next step."""
        if self._polling_only:
            return NextStep("poll")
        self._set_status("connecting")
        try:
            link = await self._open()
        except ClientError as error:
            return after_failure(error, failures=self._backoff.failures)
        began = time.monotonic()
        try:
            closed = await self._read(link)
        except UnexpectedResponse as error:
            return NextStep("poll", error=error)
        finally:
            self._link = None
            await link.close()
        if time.monotonic() - began >= self._timing.stable:
            self._backoff.reset()
            self._renewals = 0
        if closed is None:
            await self._inbox.wait_until_half_empty()
            return NextStep("again", exactly=True)
        return after_close(closed, self._timing, failures=self._backoff.failures)

    async def _open(self) -> SocketLink:
        cursor = self._deduplicator.cursor
        query = {"cursor": cursor} if cursor is not None else {}
        self._token = await self._server.keeper.access()
        token: str | None = self._token
        if self._with_ticket:
            query["ticket"] = (await self._server.ticket()).ticket
            token = None
        return await open_link(socket_url(self._base_url, query), token=token, codec=self._codec, timing=self._timing)

    async def _read(self, link: SocketLink) -> Closed | None:
        """Read frames until the socket is closed; None if the inbox is full."""
        while True:
            frame = await link.read()
            if isinstance(frame, Closed):
                return frame
            if isinstance(frame, WelcomeFrame):
                self.device_id = frame.device_id
                self._link = link
                self._start_at(frame.cursor)
                self._set_status("catching_up")
            elif not self._deduplicator.accept(frame):
                return None
            elif isinstance(frame, CaughtUpFrame):
                self._set_status("live")
                self._sleeper.wake()

    async def _renew(self, step: NextStep) -> NextStep:
        """Refresh the token, at most once: a socket that is rejected with a fresh token will be rejected again."""
        if self._renewals >= 1:
            return NextStep("stop", error=step.error or SignedOut(401, "unauthenticated", "the device was signed out"))
        self._renewals += 1
        try:
            await self._server.keeper.renew(self._token)
        except SignedOut as error:
            return NextStep("stop", error=error)
        except ClientError as error:
            self._renewals -= 1
            return NextStep("again", error=error)
        return NextStep("again", exactly=True)

    async def _wait(self, step: NextStep) -> None:
        self._set_status("waiting")
        if step.exactly:
            self._backoff.failures += 1
            await self._sleeper.sleep(step.seconds)
        elif step.seconds:
            await self._sleeper.sleep(self._backoff.next(at_least=step.seconds))
        else:
            await self._retry_sleeper.sleep_until_woken(self._backoff.next())

    async def _poll(self) -> NextStep:
        """Poll until it is time to try the socket again."""
        until = math.inf if self._polling_only else time.monotonic() + self._timing.socket_again
        return await self._poller.run(until=until)

    # --- callbacks ---

    def _on_polled(self, at_the_end: bool) -> None:
        self._backoff.reset()
        if at_the_end:
            self._set_status("polling")
            self._sleeper.wake()

    def _start_at(self, cursor: str) -> None:
        """Set the start cursor of a stream that was opened without one."""
        if self._deduplicator.cursor is None:
            self._deduplicator.cursor = cursor
        if self.cursor is None:
            self.cursor = cursor

    async def _advance(self, cursor: str) -> None:
        self.cursor = cursor
        if self._on_cursor is not None:
            result = self._on_cursor(cursor)
            if inspect.isawaitable(result):
                await result

    def _set_status(self, status: Status) -> None:
        if status != self.status:
            self.status = status
            if self._on_status is not None:
                self._on_status(status)
