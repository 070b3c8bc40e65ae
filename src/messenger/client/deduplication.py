"""What comes in over either way: told apart, each event once, and where to go on."""

from __future__ import annotations

from messenger.client.codec import (
    CaughtUp,
    CaughtUpFrame,
    Event,
    EventFrame,
    Frame,
    Resync,
    ResyncFrame,
    SignalFrame,
    event_of,
    signal_of,
)
from messenger.client.inbox import EventInbox, RecentCursors

INBOX_LIMIT = 2000


class EventDeduplicator:
    """Fills an inbox. `cursor`: the place in the stream from which to ask for more."""

    def __init__(self, cursor: str | None) -> None:
        self.cursor = cursor
        self.inbox = EventInbox(INBOX_LIMIT)
        self.repeats = 0
        self._recent = RecentCursors()

    def accept(self, frame: Frame) -> bool:
        """Hand a frame over; False where there is no room for it."""
        if isinstance(frame, EventFrame):
            return self.accept_event(event_of(frame))
        if isinstance(frame, SignalFrame):
            return self.inbox.put(signal_of(frame))
        if isinstance(frame, CaughtUpFrame):
            return self.put(CaughtUp(frame.cursor))
        if isinstance(frame, ResyncFrame):
            return self.restart_at(frame.cursor or self.cursor or "")
        return True

    def accept_event(self, event: Event) -> bool:
        """Hand an event over unless it was before; False where there is no room."""
        if event.cursor in self._recent:
            self.repeats += 1
            return True
        if not self.put(event):
            return False
        self._recent.add(event.cursor)
        return True

    def restart_at(self, cursor: str) -> bool:
        """The stream goes on from here, with a gap before; False where there is no room to say so."""
        if not self.put(Resync(cursor)):
            return False
        self._recent.forget()
        return True

    def put(self, item: Event | CaughtUp | Resync) -> bool:
        """Hand something over that has a place in the stream; False where there is no room."""
        if not self.inbox.put(item):
            return False
        self.cursor = item.cursor
        return True
