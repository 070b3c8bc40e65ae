"""The event stream: connects, replays, goes live, comes back for ever, and hands out each event once, in order."""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from messenger.client.codec import CaughtUpFrame, Codec, Item, WelcomeFrame
from messenger.client.course import Course, after_close, after_refusal
from messenger.client.errors import ClientError, SignedOut, UnexpectedAnswer, Unreachable
from messenger.client.intake import Intake
from messenger.client.link import Closed, Link, open_link, socket_url
from messenger.client.pace import Backoff, Pauses, Timing
from messenger.client.polling import Poller, Syncing
from messenger.client.tokens import TokenKeeper
from messenger.schemas.realtime import TicketView

Status = Literal["connecting", "catching_up", "live", "polling", "waiting", "closed"]
OnCursor = Callable[[str], Awaitable[None] | None]
OnStatus = Callable[[Status], None]


class Server(Syncing, Protocol):
    """What a stream needs of the client besides a socket."""

    @property
    def keeper(self) -> TokenKeeper: ...

    async def ticket(self) -> TicketView: ...


class EventStream:
    """`async for item in stream`: `Event`, `Signal`, `CaughtUp` or `Resync`.

    An item counts as handled when the next one is asked for; then its cursor goes to `on_cursor`. A program that keeps
    that cursor and starts from it after a crash gets every event at least once, and what it handled last maybe again.
    Ends with `SignedOut`, `ConnectedElsewhere` or another `ClientError` that waiting can't mend; `StopAsyncIteration`
    after `aclose`.
    """

    def __init__(
        self,
        server: Server,
        base_url: str,
        *,
        codec: Codec,
        timing: Timing,
        pauses: Pauses,
        cursor: str | None = None,
        on_cursor: OnCursor | None = None,
        on_status: OnStatus | None = None,
        with_ticket: bool = False,
        polling_only: bool = False,
    ) -> None:
        self.cursor = cursor
        """Where the application is: what to keep, and to start from again."""
        self.status: Status = "connecting"
        self.device_id: str | None = None
        self._server = server
        self._base_url = base_url
        self._codec = codec
        self._timing = timing
        self._pauses = pauses
        self._on_cursor = on_cursor
        self._on_status = on_status
        self._with_ticket = with_ticket
        self._polling_only = polling_only
        self._intake = Intake(cursor)
        self._inbox = self._intake.inbox
        self._poller = Poller(
            server,
            self._intake,
            wait=timing.poll,
            pauses=pauses,
            backoff=Backoff(timing),
            on_start=self._start_at,
            on_good=self._on_polled,
        )
        self._backoff = Backoff(timing)
        self._renewals = 0
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._handling: str | None = None
        self._token = ""
        self._nudges = pauses.another()

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
        item = await self._inbox.take()
        self._handling = getattr(item, "cursor", None)
        return item

    def start(self) -> None:
        """Begin to connect; the first `async for` does it too."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Hang up; what was not taken yet comes again to whoever starts from `cursor`."""
        self.start()
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    @property
    def repeats(self) -> int:
        """How many events came again, and were dropped."""
        return self._intake.repeats

    @property
    def has_socket(self) -> bool:
        """Whether `request` can be tried."""
        return self._link is not None

    async def request(self, method: str, data: Any) -> Any:
        """Ask over the socket; the reply's data, plain. Raises `ApiError`, `Unreachable`."""
        link = self._link
        if link is None:
            raise Unreachable(f"{method}: there is no socket now")
        return await link.request(method, data)

    def retry_now(self) -> None:
        """The network may be back: don't wait any longer. A wait that the server asked for is kept."""
        self._nudges.wake()

    # --- the task ---

    async def _run(self) -> None:
        try:
            while True:
                course = await self._once()
                while course.step in {"renew", "poll"}:
                    course = await (self._renew(course) if course.step == "renew" else self._poll())
                if course.step == "stop":
                    raise course.error or Unreachable("the stream ended")
                await self._wait(course)
        except asyncio.CancelledError:
            self._inbox.finish(StopAsyncIteration())
            raise
        except Exception as error:
            self._inbox.finish(error)
        finally:
            self._tell("closed")

    async def _once(self) -> Course:
        """One socket from the handshake to the end, and what comes next."""
        if self._polling_only:
            return Course("poll")
        self._tell("connecting")
        try:
            link = await self._open()
        except ClientError as error:
            return after_refusal(error, failures=self._backoff.failures)
        began = time.monotonic()
        try:
            closed = await self._read(link)
        except UnexpectedAnswer as error:
            return Course("poll", error=error)
        finally:
            self._link = None
            await link.close()
        if time.monotonic() - began >= self._timing.stable:
            self._backoff.reset()
            self._renewals = 0
        if closed is None:
            await self._inbox.has_drained()
            return Course("again", exactly=True)
        return after_close(closed, self._timing, failures=self._backoff.failures)

    async def _open(self) -> Link:
        heard = self._intake.heard
        query = {"cursor": heard} if heard is not None else {}
        self._token = await self._server.keeper.access()
        token: str | None = self._token
        if self._with_ticket:
            query["ticket"] = (await self._server.ticket()).ticket
            token = None
        return await open_link(socket_url(self._base_url, query), token=token, codec=self._codec, timing=self._timing)

    async def _read(self, link: Link) -> Closed | None:
        """Hand over what comes until the socket ends; None where the application is too far behind."""
        while True:
            frame = await link.read()
            if isinstance(frame, Closed):
                return frame
            if isinstance(frame, WelcomeFrame):
                self.device_id = frame.device_id
                self._link = link
                self._start_at(frame.cursor)
                self._tell("catching_up")
            elif not self._intake.take(frame):
                return None
            elif isinstance(frame, CaughtUpFrame):
                self._tell("live")
                self._pauses.wake()

    async def _renew(self, course: Course) -> Course:
        """Another token, once: a socket that is refused with a fresh one as well is refused for good."""
        if self._renewals >= 1:
            return Course("stop", error=course.error or SignedOut(401, "unauthenticated", "the device was signed out"))
        self._renewals += 1
        try:
            await self._server.keeper.renew(self._token)
        except SignedOut as error:
            return Course("stop", error=error)
        except ClientError as error:
            self._renewals -= 1
            return Course("again", error=error)
        return Course("again", exactly=True)

    async def _wait(self, course: Course) -> None:
        self._tell("waiting")
        if course.exactly:
            self._backoff.failures += 1
            await self._pauses.sleep(course.seconds)
        elif course.seconds:
            await self._pauses.sleep(self._backoff.next(at_least=course.seconds))
        else:
            await self._nudges.sleep_or_news(self._backoff.next())

    async def _poll(self) -> Course:
        """Go on without a socket, until it is time to try one again."""
        until = math.inf if self._polling_only else time.monotonic() + self._timing.socket_again
        return await self._poller.run(until=until)

    # --- telling ---

    def _on_polled(self, at_the_end: bool) -> None:
        self._backoff.reset()
        if at_the_end:
            self._tell("polling")
            self._pauses.wake()

    def _start_at(self, cursor: str) -> None:
        """Where the stream starts that was asked for from now on."""
        if self._intake.heard is None:
            self._intake.heard = cursor
        if self.cursor is None:
            self.cursor = cursor

    async def _advance(self, cursor: str) -> None:
        self.cursor = cursor
        if self._on_cursor is not None:
            told = self._on_cursor(cursor)
            if inspect.isawaitable(told):
                await told

    def _tell(self, status: Status) -> None:
        if status != self.status:
            self.status = status
            if self._on_status is not None:
                self._on_status(status)
