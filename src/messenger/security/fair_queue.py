"""A queue for work that strangers can ask for: no source of requests keeps another one waiting for all of its own."""

from __future__ import annotations

import asyncio
from collections import deque

from messenger.errors import Overloaded


class _Line:
    """Requests that wait, by source; sources take turns."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sources: dict[str, deque[asyncio.Future[None]]] = {}
        self.length = 0

    def add(self, source: str, turn: asyncio.Future[None]) -> None:
        """Wait at the end of this source's requests. Where it is full, the newest request of the source with the most
        gives way to one of a source with fewer. Raises `Overloaded`.
        """
        if self.length >= self._most:
            self._make_room(source)
        self._sources.setdefault(source, deque()).append(turn)
        self.length += 1

    def next(self) -> asyncio.Future[None]:
        """The oldest request of the source whose turn it is."""
        source, turns = next(iter(self._sources.items()))
        turn = turns.popleft()
        self.length -= 1
        del self._sources[source]
        if turns:
            self._sources[source] = turns
        return turn

    def remove(self, source: str, turn: asyncio.Future[None]) -> None:
        """Whoever asked has gone."""
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
    """Lets `places` requests work at a time and `most` wait; sources take turns, and so do known and unknown ones.

    Known sources have a line of their own: a crowd of unknown ones doubles their wait, and no more than that.
    """

    def __init__(self, places: int, most: int) -> None:
        self._free = places
        self._lines = {True: _Line(most), False: _Line(most)}
        self._known_next = True
        self._closed = False

    async def enter(self, source: str, *, known: bool = False) -> None:
        """Wait for a place, which is kept until `leave`. Raises `Overloaded`."""
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
                # Its turn came in the moment in which it was given up.
                self.leave()
            line.remove(source, turn)
            raise

    def leave(self) -> None:
        """Give a place to the next one who waits."""
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
        """Send away whoever waits, and whoever comes."""
        self._closed = True
        for line in self._lines.values():
            while line.length:
                turn = line.next()
                if not turn.done():
                    turn.set_exception(Overloaded())
