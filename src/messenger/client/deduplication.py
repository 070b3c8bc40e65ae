"""Converts frames to items, drops repeated events and tracks the cursor to resume from."""

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
    """Puts each event into the inbox once. `cursor`: where to resume the stream."""

    def __init__(self, cursor: str | None) -> None:
        self.cursor = cursor
        self.inbox = EventInbox(INBOX_LIMIT)
        self.repeats = 0
        self._recent = RecentCursors()

    def accept(self, frame: Frame) -> bool:
        """Put a frame's item into the inbox; False if the inbox is full."""
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
        """Put an event into the inbox unless it is a repeat; False if the inbox is full."""
        if event.cursor in self._recent:
            self.repeats += 1
            return True
        if not self.put(event):
            return False
        self._recent.add(event.cursor)
        return True

    def restart_at(self, cursor: str) -> bool:
        """Continue at this cursor after a gap: put a `Resync` into the inbox; False if the inbox is full."""
        if not self.put(Resync(cursor)):
            return False
        self._recent.forget()
        return True

    def put(self, item: Event | CaughtUp | Resync) -> bool:
        """Put an item that has a cursor into the inbox; False if the inbox is full."""
        if not self.inbox.put(item):
            return False
        self.cursor = item.cursor
        return True
