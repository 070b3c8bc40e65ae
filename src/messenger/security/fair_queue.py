"""A fair queue for work that unauthenticated clients can request: a source cannot make others wait for its backlog."""

from __future__ import annotations

import asyncio
from collections import deque

from messenger.errors import Overloaded


class _Line:
    """Waiting requests by source; sources take turns."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sources: dict[str, deque[asyncio.Future[None]]] = {}
        self.length = 0

    def add(self, source: str, turn: asyncio.Future[None]) -> None:
        """Wait behind this source's other requests. If the queue is full, the newest request of the source with the
        most requests is refused instead, provided this source has fewer. Raises `Overloaded`.
        """
        if self.length >= self._most:
            self._make_room(source)
        self._sources.setdefault(source, deque()).append(turn)
        self.length += 1

    def next(self) -> asyncio.Future[None]:
        """The oldest request of the source that is next."""
        source, turns = next(iter(self._sources.items()))
        turn = turns.popleft()
        self.length -= 1
        del self._sources[source]
        if turns:
            self._sources[source] = turns
        return turn

    def remove(self, source: str, turn: asyncio.Future[None]) -> None:
        """The caller has cancelled."""
        turns = self._sources.get(source)
        if turns is not None and turn in turns:
            self._drop(source, turn)

    def _make_room(self, source: str) -> None:
        own = len(self._sources.get(source, ()))
        largest = max(self._sources, key=lambda name: len(self._sources[name]), default=source)
        if len(self._sources.get(largest, ())) < own + 2:
            raise Overloaded("Too many passwords are being checked; retry later")
        turn = self._sources[largest][-1]
        self._drop(largest, turn)
        if not turn.done():
            turn.set_exception(Overloaded("Too many passwords are being checked; retry later"))

    def _drop(self, source: str, turn: asyncio.Future[None]) -> None:
        turns = self._sources[source]
        turns.remove(turn)
        self.length -= 1
        if not turns:
            del self._sources[source]


class FairQueue:
    """Runs `places` requests at a time and lets `most` wait; sources take turns, and known and unknown ones alternate.

    Known sources have a separate queue: many unknown ones can at most double their wait.
    """

    def __init__(self, places: int, most: int) -> None:
        self._free = places
        self._lines = {True: _Line(most), False: _Line(most)}
        self._known_next = True
        self._closed = False

    async def enter(self, source: str, *, known: bool = False) -> None:
        """Wait for a place, which is occupied until `leave`. Raises `Overloaded`."""
        if self._closed:
            raise Overloaded
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._lines[known]
        line.add(source, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # It was cancelled after it had been given a place.
                self.leave()
            line.remove(source, turn)
            raise

    def leave(self) -> None:
        """Give the place to the next waiting request."""
        while any(line.length for line in self._lines.values()):
            line = self._lines[self._known_next]
            self._known_next = not self._known_next
            if line.length:
                turn = line.next()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1

    def close(self) -> None:
        """Refuse all waiting and later requests."""
        self._closed = True
        for line in self._lines.values():
            while line.length:
                turn = line.next()
                if not turn.done():
                    turn.set_exception(Overloaded())
