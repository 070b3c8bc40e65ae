"""Read pages of a stream for a socket that catches up, and limit the part of a page that it holds in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from messenger.errors import MessengerError, Unauthenticated
from messenger.realtime.connection import ConnectionClosed, SocketConnection
from messenger.realtime.frames import Codec, Message
from messenger.realtime.interfaces import StreamEvent, StreamPage

_FIRST_RETRY, _LAST_RETRY = 0.1, 2.0


class EncodedEvent(NamedTuple):
    """An event in the encoding of the socket."""

    position: int
    incoming: bool
    message: Message


def fit_bytes(events: Sequence[StreamEvent], codec: Codec, most: int) -> list[EncodedEvent]:
    """The longest prefix of the events within `most` bytes, at least one event."""
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
    """The size of the next page: the number of events that fitted, or twice the last limit if all of them fitted."""
    return held if held < read else min(most, 2 * limit)


async def read_patiently(read: Callable[[], Awaitable[StreamPage]], connection: SocketConnection) -> StreamPage:
    """Read a page, with retries while the database is unavailable. Raises `Unauthenticated`, `ConnectionClosed`."""
    wait = _FIRST_RETRY
    while True:
        try:
            return await read()
        except Unauthenticated:
            raise
        except MessengerError:
            # Closing instead would make all clients reconnect at the same time.
            await asyncio.sleep(wait)
            wait = min(_LAST_RETRY, wait * 2)
        if connection.closed:
            raise ConnectionClosed
