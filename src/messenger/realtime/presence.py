"""Records connections in batches, and announces presence to mutual contacts at a limited rate."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple, TypeVar
from uuid import UUID

from messenger.errors import MessengerError
from messenger.realtime.interfaces import Presence, Presences, SocketRef
from messenger.schemas.users import StatusView

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
BATCH = 500
BURST, EVERY_SECONDS = 6, 5.0
_RETRY_SECONDS = 0.5
_REMEMBERED = 10_000

Key = TypeVar("Key")
SendSignal = Callable[[Sequence[int], str, object], None]


class _Throttle:
    """Limits the announcements of one user's presence: a burst, then one at intervals, each with the latest state."""

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = float(BURST)
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until the next announcement is allowed; 0 allows it now, and counts it."""
        self._left = min(BURST, self._left + (now - self._at) / EVERY_SECONDS)
        self._at = now
        if self._left < 1:
            return (1 - self._left) * EVERY_SECONDS
        self._left -= 1
        return 0.0


class _Change(NamedTuple):
    """Changes of a user's presence that have not been announced yet.

    `watchers`: contacts with a visible change, whatever the user hides; None: all. `switched`: the connection changed,
    which is shown to all unless the user hides it.
    """

    watchers: frozenset[int] | None
    switched: bool = False

    @property
    def is_for_all(self) -> bool:
        """Whether all watchers may have to be notified."""
        return self.switched or self.watchers is None

    def merged(self, other: _Change | None) -> _Change:
        """One announcement for both."""
        if other is None:
            return self
        everyone = self.watchers is None or other.watchers is None
        watchers = None if everyone else (self.watchers or frozenset()) | (other.watchers or frozenset())
        return _Change(watchers, self.switched or other.switched)

    def audience(self, watchers: Sequence[int], *, hidden: bool) -> list[int]:
        """The watchers for whom something has changed."""
        if self.watchers is None or (self.switched and not hidden):
            return list(watchers)
        return [each for each in watchers if each in self.watchers]


class PresenceTracker:
    """Batches connections, writes them in one statement, and announces visible changes in another."""

    def __init__(self, worker_id: UUID, presences: Presences, send_signal: SendSignal) -> None:
        self.worker_id = worker_id
        self.on_registered: Callable[[SocketRef], None] = lambda _: None
        self._presences = presences
        self._send_signal = send_signal
        self._up: dict[UUID, SocketRef] = {}
        self._down: dict[int, SocketRef] = {}
        self._changed: dict[int, _Change] = {}
        self._throttles: OrderedDict[int, _Throttle] = OrderedDict()
        self._later: dict[int, tuple[asyncio.TimerHandle, _Change]] = {}
        self._wake = asyncio.Event()
        self._passing = asyncio.Lock()

    # --- changes; none of these methods waits ---

    def connected(self, socket: SocketRef) -> None:
        """A device has opened a socket in this process."""
        waiting = self._up.get(socket.actor.device_id)
        if waiting is not None and waiting.generation > socket.generation:
            return
        self._up[socket.actor.device_id] = socket
        self._wake.set()

    def disconnected(self, socket: SocketRef) -> None:
        """The socket has ended."""
        if self._up.get(socket.actor.device_id) == socket:
            del self._up[socket.actor.device_id]
        self._down[socket.generation] = socket
        self._wake.set()

    def status_changed(self, user_id: int) -> None:
        """The status that contacts see has changed."""
        self._mark(user_id, _Change(watchers=None))

    def contact_started(self, one: int, other: int) -> None:
        """Two users have become mutual contacts: announce each to the other."""
        for user_id, watcher in ((one, other), (other, one)):
            self._mark(user_id, _Change(frozenset({watcher})))

    def contact_ended(self, one: int, other: int) -> None:
        """Two users are no longer mutual contacts: show each to the other as offline."""
        for user_id, watcher in ((one, other), (other, one)):
            self._send_signal([watcher], "presence", StatusView(user_id, "online", "", False, None))

    # --- the loop ---

    async def run(self) -> None:
        """Write and announce, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._pass()
            except MessengerError as error:
                logger.warning("presence could not be written: %s", error.code)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                logger.exception("presence failed")
                await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.sleep(GATHER_SECONDS)

    async def renew(self) -> None:
        """Renew this worker's lease, and announce the users who were connected to workers whose lease has expired.

        Raises `MessengerError`.
        """
        self._mark_switched(await self._presences.renew(self.worker_id))

    def _mark_switched(self, users: Sequence[int]) -> None:
        for user_id in users:
            self._mark(user_id, _Change(frozenset(), switched=True))

    def _mark(self, user_id: int, change: _Change) -> None:
        self._changed[user_id] = change.merged(self._changed.get(user_id))
        self._wake.set()

    async def _pass(self) -> None:
        # One pass at a time: the old disconnection of a device must not be announced after its new connection.
        async with self._passing:
            await self._write_and_announce()

    async def _write_and_announce(self) -> None:
        up, down = self._next_batch(self._up), self._next_batch(self._down)
        # A device that has reconnected, in this batch or a later one, keeps its row, and was never offline.
        coming = {socket.actor.device_id for socket in up} | self._up.keys()
        going = [socket for socket in down if socket.actor.device_id not in coming]
        if up or going:
            try:
                switched = await self._presences.write(self.worker_id, up, going)
            except BaseException:
                self._put_back(up, going)
                raise
            for socket in up:
                self.on_registered(socket)
            self._mark_switched(switched)
        changed, self._changed = self._changed, {}
        if changed:
            await self._announce(changed)
        if self._up or self._down:
            self._wake.set()

    async def _announce(self, changed: dict[int, _Change]) -> None:
        now = monotonic()
        due: dict[int, _Change] = {}
        for user_id, change in changed.items():
            wait = self._throttle(user_id, now).wait(now) if change.is_for_all else 0.0
            if wait:
                self._postpone(user_id, change, wait)
            else:
                due[user_id] = change
        try:
            presences: dict[int, Presence] = await self._presences.describe(list(due)) if due else {}
        except MessengerError:
            for user_id, change in due.items():
                self._mark(user_id, change)
            raise
        for user_id, presence in presences.items():
            # No signal without a visible change: the signal itself would reveal the connection.
            audience = due[user_id].audience(presence.watchers, hidden=presence.hidden)
            if audience:
                self._send_signal(audience, "presence", presence.view)

    def _throttle(self, user_id: int, now: float) -> _Throttle:
        throttle = self._throttles.get(user_id)
        if throttle is None:
            throttle = self._throttles[user_id] = _Throttle(now)
            if len(self._throttles) > _REMEMBERED:
                self._throttles.popitem(last=False)
        self._throttles.move_to_end(user_id)
        return throttle

    def _postpone(self, user_id: int, change: _Change, wait: float) -> None:
        earlier = self._later.get(user_id)
        if earlier is not None:
            self._later[user_id] = earlier[0], change.merged(earlier[1])
            return

        def announce() -> None:
            self._mark(user_id, self._later.pop(user_id)[1])

        self._later[user_id] = asyncio.get_running_loop().call_later(wait, announce), change

    def _next_batch(self, waiting: dict[Key, SocketRef]) -> list[SocketRef]:
        keys = list(waiting)[:BATCH]
        return [waiting.pop(key) for key in keys]

    def _put_back(self, up: list[SocketRef], down: list[SocketRef]) -> None:
        for socket in up:
            self._up.setdefault(socket.actor.device_id, socket)
        for socket in down:
            self._down.setdefault(socket.generation, socket)
        self._wake.set()
