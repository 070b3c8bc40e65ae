"""A device: the Python client behind its own proxy, the events that it received, and its state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from messenger.client import (
    CaughtUp,
    Client,
    ClientError,
    ConnectedElsewhere,
    Event,
    EventStream,
    Loaded,
    Resync,
    Signal,
    SignedOut,
    Timing,
)
from messenger.client.codec import CaughtUpFrame, Codec, EventFrame, Frame, ResyncFrame, WelcomeFrame
from messenger.schemas.messages import MessageView
from messenger.schemas.users import StatusView
from messenger.testing.conversations import Pair, pair
from messenger.testing.recorder import Heard, View
from tests.support.proxy import Proxy

QUICK = Timing(
    connect=2.0,
    answer=2.0,
    reply=1.0,
    patience=1.0,
    first_wait=0.02,
    longest_wait=0.2,
    ping=2.0,
    poll=1.0,
    socket_again=1.0,
    stable=0.5,
)
"""The timing of a device under test: short waits, which are not tested here."""
PATIENT = Timing(first_wait=0.02, longest_wait=0.2, patience=30.0)
"""The timing of a client that verifies the result afterwards."""


def place(cursor: str) -> int:
    """The position that a cursor names; clients may not rely on this, a checker must."""
    return int(cursor.removeprefix("e"))


class Tap:
    """Inspects the frames of a client's sockets: on one connection events are in order, without repetitions. The
    checker finds gaps: events of groups that the user has left since are left out.
    """

    def __init__(self, codec: Codec, report: Callable[[str], None]) -> None:
        self._codec = codec
        self._report = report
        self._at = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)

    def frame(self, message: str | bytes) -> Frame | None:
        frame = self._codec.frame(message)
        if isinstance(frame, WelcomeFrame):
            self._at = place(frame.cursor)
        elif isinstance(frame, EventFrame):
            if place(frame.cursor) <= self._at:
                self._report(f"after e{self._at} the socket brought {frame.cursor} {frame.event}")
            self._at = place(frame.cursor)
        elif isinstance(frame, CaughtUpFrame):
            if place(frame.cursor) < self._at:
                self._report(f"at e{self._at} the socket said that it caught up to {frame.cursor}")
            self._at = place(frame.cursor)
        elif isinstance(frame, ResyncFrame):
            self._report("the socket lost its place")
        return frame


class Device:
    """A device. `heard`: every event that its client returned, in order. `problems`: the violations found."""

    def __init__(
        self,
        name: str,
        device_id: UUID,
        client: Client,
        proxy: Proxy,
        loaded: Loaded,
        conversation: Callable[[int, int], Pair],
    ) -> None:
        self.name = name
        self.id = device_id
        self.client = client
        self.proxy = proxy
        self.state = loaded.state
        self.start = self.at = place(loaded.cursor)
        self.heard: list[Heard] = []
        self.signals: list[Signal] = []
        self.problems: list[str] = []
        self.holds_all = False
        """Whether it was there before the first message."""
        self.repeats = 0
        self.signed_out = False
        self.replaced = False
        self.caught_up = False
        self._stream: EventStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._conversation = conversation
        self._by_position: dict[int, Heard] = {}
        self._statuses: asyncio.Task[None] | None = None
        self._groups: asyncio.Task[None] | None = None
        self._loading = asyncio.Lock()
        self._since: dict[int, StatusView] = {}
        self._changed = asyncio.Event()
        self.turning = asyncio.Lock()
        """Held while it is stopped or started."""
        client._codec = Tap(client._codec, self._report)  # type: ignore[assignment]

    @property
    def user_id(self) -> int:
        return self.state.me

    def view(self, left_out: frozenset[int] = frozenset()) -> View:
        """The events of this device, for the checker; it need not have those in `left_out`."""
        heard, late, ended = tuple(self.heard), not self.holds_all, self.signed_out
        return View(self.name, self.user_id, heard, after=self.start, left_out=left_out, late=late, ended=ended)

    # --- listening ---

    async def listen(self, *, polling: bool = False, behind: int = 0) -> None:
        """Resume after the last handled event, or this many events before that, over a socket or by long poll."""
        await self.crash()
        self.replaced = self.caught_up = False
        self._stream = self.client.stream(f"e{max(self.start, self.at - behind)}", polling_only=polling)
        self._task = asyncio.create_task(self._take_all(self._stream))

    async def crash(self) -> None:
        """Stop listening, and discard items that were not handled yet."""
        if self._stream is not None and self._task is not None:
            await self._stream.aclose()
            await self._task
            self._task = None
        if self._statuses is not None:
            self._statuses.cancel()
            await asyncio.gather(self._statuses, return_exceptions=True)

    async def aclose(self) -> None:
        """Close the client; the device stays signed in."""
        await self.crash()
        if self._groups is not None:
            self._groups.cancel()
            await asyncio.gather(self._groups, return_exceptions=True)

    async def until(self, happened: Callable[[], bool], what: str, *, seconds: float = 15.0) -> None:
        """Wait for a condition that an event, a signal or the end of the stream changes."""
        try:
            async with asyncio.timeout(seconds):
                while not happened():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            status = self._stream.status if self._stream else "silent"
            raise AssertionError(f"{self.name} ({status}) is at e{self.at} and waits in vain for {what}") from None

    async def reach(self, position: int) -> None:
        """Wait until it has everything up to this position."""
        await self.until(lambda: self.at >= position or self.signed_out, f"e{position}")

    async def load_groups(self) -> None:
        """Load what no event tells of the groups that the user has joined. Raises `ClientError`."""
        async with self._loading:
            while self.state.joined:
                group_id = self.state.joined.pop()
                try:
                    await self.client.load_conversation(self.state, group_id, messages=None, members=True)
                except BaseException:
                    if group_id in self.state.groups:
                        self.state.joined.add(group_id)
                    raise

    # --- internal ---

    def _report(self, problem: str) -> None:
        self.problems.append(f"{self.name}: {problem}")

    async def _take_all(self, stream: EventStream) -> None:
        try:
            async for item in stream:
                self._take(item)
                self._changed.set()
        except SignedOut:
            self.signed_out = True
        except ConnectedElsewhere:
            self.replaced = True
        except ClientError as error:
            self._report(f"the stream ended: {error!r}")
        self._changed.set()

    def _take(self, item: Event | Signal | CaughtUp | Resync) -> None:
        if isinstance(item, Event):
            self._take_event(item)
        elif isinstance(item, Signal):
            self.signals.append(item)
            if self.state.apply_signal(item):
                self._since[item.data.user_id] = item.data
        elif isinstance(item, CaughtUp):
            self.caught_up = True
            if self._statuses is not None:
                self._statuses.cancel()
            self._statuses = asyncio.create_task(self._load_statuses())
        else:
            self._report(f"the client lost its place: {item.cursor}")

    def _take_event(self, event: Event) -> None:
        position, heard = place(event.cursor), heard_of(self.user_id, event, self._conversation)
        if position > self.at:
            self.at = position
            self.heard.append(heard)
            self._by_position[position] = heard
        else:
            # What it had handled when it stopped may be repeated, and must then be equal. Of a group that the user has
            # joined again some events come that were left out before.
            self.repeats += 1
            if position <= self.start or self._by_position.get(position, heard) != heard:
                self._report(f"{event.cursor} came again as {heard}")
        if not self.state.apply(event):
            self._report(f"{event.cursor} {event.name} can't be understood: {event.data!r:.200}")
        if self.state.joined and (self._groups is None or self._groups.done()):
            self._groups = asyncio.create_task(self._try_to_load_groups())

    async def _try_to_load_groups(self) -> None:
        try:
            await self.load_groups()
        except ClientError:
            # The next event tries again, and at last the checker.
            return

    async def _load_statuses(self) -> None:
        """What `caught_up` requires; a signal that arrives meanwhile is at least as new as the response."""
        self._since.clear()
        try:
            statuses = {status.user_id: status for status in await self.client.statuses()}
        except ClientError:
            # Without a connection nothing can be known; the next connection begins with `caught_up` again.
            return
        self.state.set_presence(({**statuses, **self._since}).values())
        self._changed.set()


def heard_of(user_id: int, event: Event, conversation: Callable[[int, int], Pair]) -> Heard:
    """An event as the recorder's checker compares it. `conversation`: of a user and a target."""
    position = place(event.cursor)
    if event.name != "message.created" or not isinstance(event.data, MessageView):
        return Heard(position, event.name)
    message = event.data
    return Heard(position, event.name, conversation(user_id, message.target_id), message.seq, message.client_id)


def history_view(name: str, user_id: int, messages: list[MessageView]) -> View:
    """A conversation's messages as `GET /history` shows them."""
    heard = [Heard(0, "", pair(user_id, each.target_id), each.seq, each.client_id) for each in messages]
    return View(name, user_id, tuple(heard), history=True)
