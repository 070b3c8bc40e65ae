"""How much of a page of the table a socket holds while its peer takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from messenger.realtime.frames import Codec, Message
from messenger.realtime.interfaces import StreamEvent


class EncodedEvent(NamedTuple):
    """An event as it goes over the wire."""

    position: int
    incoming: bool
    message: Message


def fit_bytes(events: Sequence[StreamEvent], codec: Codec, most: int) -> list[EncodedEvent]:
    """As many of the events, from the first one on, as make `most` bytes; one in any case."""
    share: list[EncodedEvent] = []
    size = 0
    for event in events:
        message = codec.message(event.frame)
        size += len(message.payload)
        if share and size > most:
            break
        share.append(EncodedEvent(event.position, event.incoming, message))
    return share


def next_page_size(limit: int, read: int, held: int, most: int) -> int:
    """How many events to ask for after a page of which so many were held: as many, until pages fit; then more again."""
    return held if held < read else min(most, 2 * limit)
