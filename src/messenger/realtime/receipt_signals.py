"""Signals to devices that watch a group: how many members have received and read their newest message there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from time import monotonic

from messenger.errors import MessengerError
from messenger.realtime.frames import Broadcast, SignalFrame, Watched
from messenger.realtime.interfaces import ReceiptCounts
from messenger.realtime.socket import Socket
from messenger.schemas.realtime import ReceiptCountsView

logger = logging.getLogger(__name__)

EVERY_SECONDS = 2.0
GATHER_SECONDS = 0.1
"""Receipts of one message arrive together; the counts are read after the first of them have been written."""
BATCH = 25
"""Users and groups counted by one statement; each counts up to 200 members."""


class _Watcher:
    """A socket that watches. `due`: groups to count again; `sent`: the last signals since `watch`, by group."""

    __slots__ = ("due", "ready_at", "sent", "socket")

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.due: set[int] = set()
        self.sent: dict[int, ReceiptCountsView] = {}
        self.ready_at = 0.0


class ReceiptSignals:
    """The sockets of this process that watch, by group.

    A receipt marks the watchers of its group, and costs nothing for an unwatched group. The counts of a watcher are
    read at most every 2 s, whatever happens meanwhile, by one statement for many watchers, one at a time.
    """

    def __init__(self, receipts: ReceiptCounts) -> None:
        self._receipts = receipts
        self._watchers: dict[Socket, _Watcher] = {}
        self._by_group: dict[int, set[_Watcher]] = {}
        self._due: set[_Watcher] = set()
        self._wake = asyncio.Event()

    def watch(self, socket: Socket, targets: Iterable[int]) -> None:
        """The socket watches these conversations, and no others, from now on. It gets their counts soon, even if they
        have not changed: a signal, or a wake-up of another worker, may have been lost since.
        """
        # An entry stays until the socket ends, so that watching again does not shorten the interval.
        watcher = self._watchers.setdefault(socket, _Watcher(socket))
        self._unlist(watcher)
        socket.watched = Watched(targets)
        for target in socket.watched.targets:
            self._by_group.setdefault(target, set()).add(watcher)
        watcher.due = set(socket.watched.targets)
        watcher.sent.clear()
        if watcher.due:
            self._due.add(watcher)
            self._wake.set()

    def forget(self, socket: Socket) -> None:
        """The socket has ended."""
        watcher = self._watchers.pop(socket, None)
        if watcher is not None:
            self._unlist(watcher)
            self._due.discard(watcher)

    def on_receipts(self, group_id: int) -> None:
        """Members of this group have received or read more than before."""
        for watcher in self._by_group.get(group_id, ()):
            self._mark(watcher, group_id)

    def _unlist(self, watcher: _Watcher) -> None:
        watched = watcher.socket.watched
        for target in watched.targets if watched is not None else ():
            watchers = self._by_group.get(target, set())
            watchers.discard(watcher)
            if not watchers:
                self._by_group.pop(target, None)

    def _mark(self, watcher: _Watcher, group_id: int) -> None:
        watched = watcher.socket.watched
        if watcher.socket in self._watchers and watched is not None and watched.includes(group_id):
            watcher.due.add(group_id)
            self._due.add(watcher)
            self._wake.set()

    # --- the loop ---

    async def run(self) -> None:
        """Count and signal, until cancelled."""
        while True:
            await self._wait()
            await asyncio.sleep(GATHER_SECONDS)
            asked = self._next()
            pairs = sorted(asked)
            for start in range(0, len(pairs), BATCH):
                await self._count(pairs[start : start + BATCH], asked)

    async def _wait(self) -> None:
        """Wait until a watcher may be due."""
        ready_at = min((watcher.ready_at for watcher in self._due), default=None)
        delay = None if ready_at is None else max(0.0, ready_at - monotonic())
        try:
            async with asyncio.timeout(delay):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _next(self) -> dict[tuple[int, int], list[_Watcher]]:
        """The users and groups to be counted now, with those who wait for them."""
        now = monotonic()
        asked: dict[tuple[int, int], list[_Watcher]] = {}
        for watcher in [each for each in self._due if each.ready_at <= now]:
            watcher.ready_at = now + EVERY_SECONDS
            if not watcher.socket.live:
                # It gets no signals while it catches up.
                continue
            self._due.discard(watcher)
            due, watcher.due = watcher.due, set()
            for group_id in due:
                asked.setdefault((watcher.socket.actor.user_id, group_id), []).append(watcher)
        return asked

    async def _count(self, pairs: Sequence[tuple[int, int]], asked: dict[tuple[int, int], list[_Watcher]]) -> None:
        try:
            counts = await self._receipts.count_receipts(pairs)
        except Exception as error:
            if isinstance(error, MessengerError):
                logger.warning("receipts could not be counted; retrying: %s", error.code)
            else:
                logger.exception("receipts could not be counted; retrying")
            for pair in pairs:
                for watcher in asked[pair]:
                    self._mark(watcher, pair[1])
            return
        for pair, view in counts.items():
            for watcher in asked[pair]:
                self._signal(watcher, view)

    def _signal(self, watcher: _Watcher, view: ReceiptCountsView) -> None:
        if not watcher.socket.live:
            self._mark(watcher, view.target_id)
        elif watcher.sent.get(view.target_id) != view:
            watcher.sent[view.target_id] = view
            watcher.ready_at = monotonic() + EVERY_SECONDS
            watcher.socket.signal(Broadcast(SignalFrame("receipts", view), watched=view.target_id))
