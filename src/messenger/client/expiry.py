"""Disappearing messages: the server sends no event when a message expires, since clients know its `expires_at`."""

from __future__ import annotations

import heapq

import msgspec

from messenger.schemas.messages import MessageView


class Expiries:
    """A queue of messages by expiry. Entries may be duplicate or outdated; callers check the message again."""

    def __init__(self) -> None:
        self._heap: list[tuple[str, int, int]] = []

    def add(self, message: MessageView) -> None:
        """Add a message that will expire."""
        if message.expires_at is not None and message.deleted_at is None:
            heapq.heappush(self._heap, (message.expires_at, message.target_id, message.seq))

    @property
    def next(self) -> str | None:
        """When the next message expires, in the wire format."""
        return self._heap[0][0] if self._heap else None

    def pop_until(self, at: str) -> list[tuple[int, int]]:
        """Remove the messages that expire up to a time; yields `target_id` and `seq` of each."""
        found: list[tuple[int, int]] = []
        while self._heap and self._heap[0][0] <= at:
            _, target_id, seq = heapq.heappop(self._heap)
            found.append((target_id, seq))
        return found


def as_of(message: MessageView, at: str) -> MessageView:
    """The message as the server shows it at a given time: empty from `expires_at` on."""
    if message.deleted_at is not None or message.expires_at is None or message.expires_at > at:
        return message
    return msgspec.structs.replace(
        message, body=None, envelopes=None, attachments=[], mentions=[], reactions=[], deleted_at=message.expires_at
    )
