"""A user's channel in one process: hands each event to all live sockets of that user, read or encoded once."""

from __future__ import annotations

import asyncio
import logging

from messenger.errors import MessengerError, Unauthenticated
from messenger.events import WakeUp
from messenger.realtime.frames import SIGNED_OUT, Broadcast, EventBody
from messenger.realtime.interfaces import StreamEvent
from messenger.realtime.socket import Socket
from messenger.schemas.groups import GroupPreview
from messenger.schemas.messages import MessageView
from messenger.schemas.realtime import EventFrame, stream_cursor

logger = logging.getLogger(__name__)

_FIRST_RETRY, _LAST_RETRY = 0.1, 2.0

REPLACED_SECONDS = 2.0
"""Seconds for which a request keeps waiting after a newer one of the same device. Without this delay, two programs that
share a device's tokens would replace each other's requests thousands of times a second.
"""


class LongPoll:
    """Wakes up a request that waits for an event after a position."""

    def __init__(self, after: int) -> None:
        self._notified = asyncio.Event()
        self._after = after
        self._ending: asyncio.TimerHandle | None = None
        self.ended = False

    def notify(self, position: int) -> None:
        """Wake up if the stream's new end is after the awaited position."""
        if position > self._after:
            self._notified.set()

    def recheck(self) -> None:
        """Wake up even without a new event, so that the request authenticates its caller again."""
        self._notified.set()

    def end(self) -> None:
        """Wake up for good: later waits return at once."""
        self.ended = True
        self._notified.set()

    def replace(self) -> None:
        """End after `REPLACED_SECONDS`, since a newer request of the same device is waiting."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().call_later(REPLACED_SECONDS, self.end)

    def close(self) -> None:
        """Cancel the timer of `replace`."""
        if self._ending is not None:
            self._ending.cancel()

    async def wait(self, seconds: float) -> bool:
        """Wait; returns whether there was a notification in time. Each notification counts once."""
        try:
            async with asyncio.timeout(seconds):
                await self._notified.wait()
        except TimeoutError:
            return False
        if not self.ended:
            self._notified.clear()
        return True


class Channel:
    """The sockets and waiting requests of one user.

    `latest`: the newest known position of the stream. `acked`: the position up to which at least one device has
    acknowledged all events. `epoch`: the database history that the positions belong to; None while unknown. `_head`:
    the position up to which events were handed to live sockets.
    """

    __slots__ = ("_head", "_reader", "_sockets", "acked", "epoch", "latest", "long_polls", "user_id")

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.latest = self.acked = 0
        self.epoch: str | None = None
        self.long_polls: list[LongPoll] = []
        self._sockets: list[Socket] = []
        self._head = 0
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_empty(self) -> bool:
        return not (self._sockets or self.long_polls)

    def join(self, socket: Socket, *, latest: int) -> None:
        """Add a socket, which catches up first."""
        self.latest = max(self.latest, latest)
        self.adopt_epoch(socket.epoch)
        self._sockets.append(socket)
        socket.channel = self

    def leave(self, socket: Socket) -> None:
        """Remove a socket."""
        if socket in self._sockets:
            self._sockets.remove(socket)
        socket.channel = None

    def adopt_epoch(self, epoch: str) -> None:
        """Set the epoch unless it is known."""
        if self.epoch is None:
            self.epoch = epoch

    # --- wake-ups ---

    def on_epoch(self, epoch: str) -> None:
        """Set the database's epoch; if it has changed, sockets and waiting requests read from the table again."""
        if self.epoch not in {None, epoch}:
            self._fall_back()
            self.on_revoked()
        self.epoch = epoch

    def on_wake_up(self, wake_up: WakeUp, body: EventBody | None = None) -> None:
        """An event was committed in this process; `body` is its data, if known, shared with other channels."""
        self.latest = max(self.latest, wake_up.position)
        if wake_up.data is not None and self._reader is None and wake_up.position == self._head + 1:
            frame = EventFrame(
                stream_cursor(wake_up.position, self.epoch or ""), wake_up.name, wake_up.at, wake_up.data
            )
            self._dispatch(StreamEvent(wake_up.position, frame, _is_incoming(self.user_id, wake_up.data)), body)
        self.on_hint(wake_up.position)

    def on_hint(self, position: int) -> None:
        """The stream has reached at least this position: read the events that live sockets have not received."""
        self.latest = max(self.latest, position)
        for poll in self.long_polls:
            poll.notify(position)
        if self._reader is None and self.latest > self._head and any(socket.live for socket in self._sockets):
            self._reader = asyncio.create_task(self._read())

    def on_revoked(self) -> None:
        """Devices may have been signed out, without an event: waiting requests authenticate their callers again."""
        for poll in self.long_polls:
            poll.recheck()

    def signal(self, broadcast: Broadcast) -> None:
        """Pass a signal to all sockets."""
        for socket in self._sockets:
            socket.signal(broadcast)

    # --- from its sockets ---

    def on_live(self, socket: Socket) -> None:
        # The position of the first live socket is where delivery begins. A further one skips events that it has sent.
        if self._reader is None and not any(each.live for each in self._sockets if each is not socket):
            self._head = self.latest = socket.position
            self.epoch = socket.epoch
            # Positions may be lower than before (a restored backup): events at reused positions need acknowledgement.
            self.acked = min(self.acked, socket.position)

    # --- internal ---

    def _dispatch(self, event: StreamEvent, body: EventBody | None = None) -> None:
        self._head = event.position
        if event.frame.event == "device.removed":
            self._drop(str(event.frame.data.id))
        elif event.frame.event == "group.updated" and isinstance(event.frame.data.group, GroupPreview):
            self._unwatch(event.frame.data.group.id)
        broadcast = Broadcast(event.frame, body)
        for socket in tuple(self._sockets):
            socket.offer_event(event, broadcast)

    def _drop(self, device_id: str) -> None:
        """Close the socket of a device that was signed out."""
        for socket in tuple(self._sockets):
            if str(socket.actor.device_id) == device_id:
                socket.close(SIGNED_OUT, "signed out")

    def _unwatch(self, group_id: int) -> None:
        """The user has left a group: signals that were meant for a member do not reach the sockets any more."""
        for socket in self._sockets:
            if socket.watched is not None:
                socket.watched.end(group_id)

    async def _read(self) -> None:
        """Read events for all live sockets, authenticated as the device of one of them."""
        wait = _FIRST_RETRY
        try:
            while self._head < self.latest:
                socket = next((each for each in self._sockets if each.live), None)
                if socket is None:
                    return
                announced, after = self.latest, self._head
                try:
                    page = await socket.read_page(after=after)
                except Unauthenticated:
                    socket.close(SIGNED_OUT, "signed out")
                    continue
                except MessengerError:
                    await asyncio.sleep(wait)
                    wait = min(_LAST_RETRY, wait * 2)
                    continue
                if page.lost or page.epoch != self.epoch:
                    self._fall_back()
                    return
                for event in page.events:
                    self._dispatch(event)
                self._head = max(self._head, page.end)
                if page.end <= after and self.latest <= announced:
                    # A hint named a position that the table does not have.
                    self.latest = self._head
        except Exception:
            logger.exception("a stream could not be read for its sockets")
            self._fall_back()
        finally:
            self._reader = None

    def _fall_back(self) -> None:
        """Let each live socket continue from the table, at its own cursor."""
        for socket in tuple(self._sockets):
            if socket.live:
                socket.fall_back()


def _is_incoming(user_id: int, data: object) -> bool:
    """Whether it is a message from another user."""
    return isinstance(data, MessageView) and data.sender_id != user_id
