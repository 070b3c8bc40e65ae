"""A chat session of one account, without a screen: the state, the outbox, and the actions of the user."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from time import monotonic
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
    Outbox,
    Outgoing,
    Resync,
    Signal,
    State,
    Status,
    Unreachable,
)
from messenger.client.retrying import is_transient
from messenger.schemas.messages import MessageView
from messenger.schemas.realtime import TypingView
from messenger.schemas.types import timestamp
from messenger.schemas.users import PersonView, StatusView

TELL_EVERY = 3.0
"""Seconds between typing signals; the server does not relay them more often."""
GONE_AFTER = 9.0
"""Seconds after which a typing indicator is removed if no further signal arrives."""
PAGE = 50
RETRY_AFTER = 2.0


class Talk:
    """A signed-in session. `on_change` is called whenever the screen has to be redrawn."""

    def __init__(self, client: Client, on_change: Callable[[], None]) -> None:
        self.client = client
        self.state = State(0)
        self.status: Status = "connecting"
        self.stream: EventStream | None = None
        self.typing: dict[int, asyncio.TimerHandle] = {}
        """Active typing indicators, by target id."""
        self.complete: set[int] = set()
        """Conversations whose history is loaded completely."""
        self.outbox = Outbox(client.send, on_sent=self._on_sent, on_change=lambda _: self._changed())
        self.changing = 0
        """Edits and deletions in progress."""
        self._on_change = on_change
        self._told_typing: tuple[int, float] = (0, 0.0)
        self._marked: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._introducing: set[int] = set()
        self.is_elsewhere = False
        self._again = asyncio.Event()
        self._closing = False
        self._cursor = ""
        self._opened: int | None = None

    async def run(self) -> None:
        """Load the state and follow the stream until `aclose`. Raises `SignedOut` and other permanent errors."""
        self._take(await self._load())
        while not self._closing:
            try:
                await self._follow()
            except ConnectedElsewhere:
                self.is_elsewhere = True
                self._changed()
                self._again.clear()
                await self._again.wait()
                self.is_elsewhere = False

    async def _follow(self) -> None:
        self.stream = self.client.stream(self._cursor, on_status=self._on_status)
        async for item in self.stream:
            if isinstance(item, Event):
                self._on_event(item)
            elif isinstance(item, Signal):
                self._on_signal(item)
            elif isinstance(item, CaughtUp):
                self._spawn(self._load_statuses())
            elif isinstance(item, Resync):
                self._take(await self._load())
            self._cursor = getattr(item, "cursor", self._cursor)
            self._changed()

    def reconnect(self) -> None:
        """Reconnect now; if another window uses the device's socket, replace it."""
        self._again.set()
        if self.stream is not None:
            self.stream.retry_now()

    async def aclose(self) -> None:
        """End the session; the device stays signed in."""
        self._closing = True
        self._again.set()
        for handle in self.typing.values():
            handle.cancel()
        await self.outbox.aclose()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.aclose()

    # --- actions of the user ---

    async def open(self, target_id: int) -> None:
        """Load the latest messages of a conversation. Raises `ClientError`."""
        self._opened = target_id
        if len(self.state.tail(target_id)) < PAGE and target_id not in self.complete:
            await self.load_older(target_id)
        if target_id in self.state.groups:
            await self.client.load_conversation(self.state, target_id, messages=0)

    async def load_older(self, target_id: int) -> bool:
        """Load one more page; False if there are no older messages. Raises `ClientError`."""
        if target_id in self.complete:
            return False
        tail = self.state.tail(target_id)
        page = await self.client.history(target_id, before=tail[0].seq if tail else None, limit=PAGE)
        self.state.add_history(target_id, page)
        if page.next is None:
            self.complete.add(target_id)
        self._changed()
        return bool(page.items)

    def send(self, target_id: int, text: str) -> None:
        """Queue a message."""
        self._told_typing = (0, 0.0)
        self.outbox.put(target_id, text)
        self._changed()

    async def change(self, message_id: UUID, text: str) -> None:
        """Replace the text of a message; without text, delete it. Raises `ClientError`."""
        self.changing += 1
        try:
            await (self.client.edit(message_id, text) if text else self.client.delete(message_id))
        finally:
            self.changing -= 1

    @property
    def unsent(self) -> int:
        """Messages and changes that would be lost by quitting now."""
        return len(self.outbox.outgoing()) + self.changing

    def write(self, target_id: int, *, writing: bool) -> None:
        """Send a typing signal, at most every `TELL_EVERY` seconds; `writing=False` when the input is empty."""
        told_to, at = self._told_typing
        fresh = told_to == target_id and monotonic() - at < TELL_EVERY
        if writing == fresh or (not writing and told_to != target_id):
            return
        self._told_typing = (target_id, monotonic()) if writing else (0, 0.0)
        self._spawn(self.client.typing(target_id, typing=writing))

    def read(self, target_id: int) -> None:
        """Mark a conversation as read."""
        conversation = self.state.conversations.get(target_id)
        if conversation is None or conversation.unread == 0:
            return
        if self._marked.get(target_id, 0) < conversation.last_seq:
            self._marked[target_id] = conversation.last_seq
            self._spawn(self._mark(target_id, conversation.last_seq))

    async def find(self, wanted: str) -> PersonView:
        """Find a user by username or id. Raises `ApiError`: `peer_not_found`."""
        name = wanted.strip().removeprefix("@")
        return await (self.client.user(int(name)) if name.isascii() and name.isdigit() else self.client.find_user(name))

    def presence(self, user_id: int) -> StatusView | None:
        """The presence of a user; None while disconnected."""
        return self.state.presence.get(user_id) if self.status in {"live", "polling", "catching_up"} else None

    def look_again(self) -> None:
        """Reload the statuses while polling, since signals only arrive over a socket."""
        if self.status == "polling":
            self._spawn(self._load_statuses())

    def own_last(self, target_id: int) -> MessageView | None:
        """Your latest message that can still be edited."""
        self.expire()
        mine = (m for m in reversed(self.state.tail(target_id)) if m.sender_id == self.state.me)
        return next((message for message in mine if message.deleted_at is None), None)

    def expire(self) -> float | None:
        """Empty the messages that have expired; returns the seconds until the next one expires."""
        now = datetime.now(UTC)
        self.state.expire(timestamp(now))
        at = self.state.next_expiry
        return None if at is None else max(0.0, (datetime.fromisoformat(at) - now).total_seconds())

    def refused(self, target_id: int) -> list[Outgoing]:
        """Messages that were refused and are not retried automatically."""
        return [message for message in self.outbox.outgoing(target_id) if message.state == "refused"]

    # --- received items ---

    def _on_event(self, event: Event) -> None:
        self.state.apply(event)
        if event.name == "message.created" and isinstance(event.data, MessageView):
            self._stop_typing(event.data.target_id)
        self._introduce()

    def _on_signal(self, signal: Signal) -> None:
        self.state.apply_signal(signal)
        told = signal.data
        if isinstance(told, TypingView) and told.user_id != self.state.me:
            self._stop_typing(told.target_id)
            if told.typing:
                later = asyncio.get_running_loop().call_later(GONE_AFTER, self._stop_typing, told.target_id)
                self.typing[told.target_id] = later

    def _stop_typing(self, target_id: int) -> None:
        handle = self.typing.pop(target_id, None)
        if handle is not None:
            handle.cancel()
            self._changed()

    def _on_sent(self, message: MessageView) -> None:
        # Whichever arrives first, the reply or the event, shows the message.
        self.state.apply(Event("", "message.created", message.created_at, message))
        self._changed()

    def _on_status(self, status: Status) -> None:
        self.status = status
        self._changed()

    async def _load(self) -> Loaded:
        """Load the state, retrying until it succeeds. Raises `SignedOut` and other permanent errors."""
        while True:
            try:
                return await self.client.load_state()
            except ClientError as error:
                if not is_transient(error):
                    raise
            # Each call has already been retried for `timing.patience` seconds.
            self._on_status("waiting")
            await asyncio.sleep(RETRY_AFTER)

    def _take(self, loaded: Loaded) -> None:
        self.state, self._cursor = loaded.state, loaded.cursor
        self.complete.clear()
        self._introduce()
        if self._opened is not None:
            self._spawn(self.open(self._opened))
        self._changed()

    async def _load_statuses(self) -> None:
        before = dict(self.state.presence)
        statuses = await self.client.statuses()
        self.state.set_presence(statuses, since=before)
        self._changed()

    async def _mark(self, target_id: int, seq: int) -> None:
        try:
            await self.client.mark(target_id, read_seq=seq)
        except ClientError:
            # Retried when the conversation is shown again.
            self._marked.pop(target_id, None)
            raise

    def _introduce(self) -> None:
        for user_id in self.state.unnamed():
            if user_id not in self._introducing:
                self._introducing.add(user_id)
                self._spawn(self._learn(user_id))

    async def _learn(self, user_id: int) -> None:
        try:
            self.state.introduce(await self.client.user(user_id))
        except Unreachable:
            # Retried with the next event. A user that does not exist is requested only once.
            self._introducing.discard(user_id)
            raise
        self._introducing.discard(user_id)
        self._changed()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a call in the background and ignore its errors."""

        async def run() -> None:
            with contextlib.suppress(ClientError):
                await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _changed(self) -> None:
        self._on_change()
