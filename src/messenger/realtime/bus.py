"""The bus: how a commit wakes those who wait for a stream. Hints only; a lost one costs delay, never an event."""

from __future__ import annotations

from collections.abc import Callable

from messenger.events import WakeUp

Listener = Callable[[list[WakeUp]], None]


class LocalBus:
    """Within one process."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Be told of all news until the returned function is called. The listener must not block."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def announce(self, news: list[WakeUp]) -> None:
        """Tell everyone who listens here."""
        for listener in tuple(self._listeners):
            listener(news)
