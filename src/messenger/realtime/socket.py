"""One device's socket: catches up from the table, then sends what the hub delivers, in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, NamedTuple, Protocol

from messenger.actor import Actor
from messenger.errors import Unauthenticated
from messenger.realtime.catch_up_window import fit_bytes, next_page_size, read_patiently
from messenger.realtime.connection import ConnectionClosed, SocketConnection
from messenger.realtime.delivery_acks import DeliveryAcks
from messenger.realtime.event_writer import EventWriter
from messenger.realtime.frames import (
    INTERNAL_ERROR,
    SIGNED_OUT,
    Broadcast,
    CaughtUp,
    Codec,
    ErrorReply,
    Message,
    Reply,
    Resync,
)
from messenger.realtime.interfaces import StreamEvent, StreamPage, Streams
from messenger.schemas.realtime import stream_cursor

logger = logging.getLogger(__name__)

MAX_QUEUED = 256
MAX_QUEUED_BYTES = 1024 * 1024
PAGE = 100
_BUSY = 64


class _Queued(NamedTuple):
    """A message to be written. `position`: of an event, else 0; `kept` when the queue is discarded: replies."""

    message: Message
    position: int = 0
    incoming: bool = False
    kept: bool = False


class ChannelState(Protocol):
    """What a socket uses of its user's channel."""

    latest: int
    """The highest position announced so far."""
    acked: int
    """The position up to which at least one device has acknowledged all events."""

    def on_live(self, socket: Socket) -> None:
        """The socket has caught up and receives live events from now on."""
        ...


class Socket(EventWriter):
    """Sends events in order, each once. `live`: the hub delivers its events; otherwise it reads them from the table.

    When the queue exceeds its bounds, it is discarded and the socket reads from its cursor again. A slow client costs
    reads, not memory, and loses no event.
    """

    channel: ChannelState | None

    # A server holds many idle sockets: no `__dict__`, and no deque, which takes 760 bytes when empty.
    __slots__ = (
        "__weakref__",
        "_is_registered",
        "_owes_caught_up",
        "_page_size",
        "_pump",
        "_queue",
        "_queued",
        "_queued_bytes",
        "_streams",
        "codec",
        "epoch",
        "generation",
        "live",
        "ping_at",
    )

    def __init__(
        self,
        actor: Actor,
        generation: int,
        connection: SocketConnection,
        codec: Codec,
        streams: Streams,
        acks: DeliveryAcks,
        *,
        after: int,
        epoch: str = "",
        is_registered: bool = True,
    ) -> None:
        super().__init__(actor, connection, acks, after=after)
        self.epoch = epoch
        self.generation = generation
        self.codec = codec
        self.live = False
        self._streams = streams
        self._page_size = PAGE
        self._queued = after
        self._queue: list[_Queued] = []
        self._queued_bytes = 0
        self._pump: asyncio.Task[None] | None = None
        self.ping_at = 0.0
        self._is_registered = is_registered
        self._owes_caught_up = False
        connection.attach(self)

    # --- from the hub ---

    def offer_event(self, event: StreamEvent, broadcast: Broadcast) -> None:
        """Send the next event of the stream. Skips events already sent; reads a gap from the table."""
        if not self.live or event.position <= self._queued:
            return
        if event.position != self._queued + 1:
            self.fall_back()
            return
        message = broadcast.message(self.codec)
        self._queued = event.position
        if not self._can_write:
            self._enqueue(_Queued(message, event.position, event.incoming))
        elif event.incoming and not self._awaited_pong:
            self._write_with_ping(event.position, message)
        else:
            self._write_event(event.position, event.incoming, message)

    def signal(self, broadcast: Broadcast) -> None:
        """Send a signal; dropped if the socket is behind, or does not watch its conversation."""
        if not self.live or not broadcast.is_for(self.watched):
            return
        if self._can_write:
            self.connection.write(broadcast.message(self.codec))
        elif len(self._queue) < MAX_QUEUED:
            self._enqueue(_Queued(broadcast.message(self.codec)))

    def on_registered(self) -> None:
        """The connection is in the table: presence changes from now on reach it.

        `caught_up` waits for this: clients then ask who is online, and must not miss a change in between.
        """
        self._is_registered = True
        if self._owes_caught_up and self.live:
            self._owes_caught_up = False
            self._write_frame(CaughtUp(stream_cursor(self._queued, self.epoch)))

    def reply(self, request_id: int | None, *, data: Any = None, error: dict[str, Any] | None = None) -> None:
        """Reply to a request. Kept even if the queue is discarded; `wait_for_space` bounds the number of replies."""
        self._write_frame(Reply(request_id, data) if error is None else ErrorReply(request_id, error))

    def _write_frame(self, frame: Reply | ErrorReply | CaughtUp) -> None:
        message = self.codec.message(frame)
        if self._can_write:
            self.connection.write(message)
        else:
            self._enqueue(_Queued(message, kept=True))

    async def wait_for_space(self) -> None:
        """Wait until most replies are written; a client that does not read its replies is not read from."""
        while len(self._queue) >= _BUSY and not self.connection.closed:
            with contextlib.suppress(ConnectionClosed):
                await self.connection.drain()
            self.start()
            pump = self._pump
            if pump is not None:
                await asyncio.wait([pump])

    async def read_page(self, *, after: int) -> StreamPage:
        """A page of its user's stream, on behalf of its device. Raises `Unauthenticated`, `Unavailable`."""
        return await self._streams.read_page(self.actor, after=after, limit=PAGE)

    def fall_back(self) -> None:
        """Discard queued events and signals, and continue from the table."""
        self._queue = [entry for entry in self._queue if entry.kept]
        self._queued_bytes = sum(len(entry.message.payload) for entry in self._queue)
        self.connection.report_queued(self._queued_bytes)
        self._queued = self._written
        self.live = False
        self.start()

    def start(self) -> None:
        """Start writing the queue and catching up, unless that is already running."""
        if self._pump is None and not self.connection.closed:
            self._pump = asyncio.create_task(self._pump_queue())

    def close(self, code: int, reason: str = "") -> None:
        """Close, and discard the queue."""
        self.live = False
        self._queue.clear()
        self._queued_bytes = 0
        if self._pump is not None:
            self._pump.cancel()
        self.connection.close(code, reason)

    # --- from the connection ---

    def on_writable(self) -> None:
        if self._queue:
            self.start()

    # --- internal ---

    @property
    def _can_write(self) -> bool:
        return self._pump is None and not self._queue and self.connection.is_writable

    def _enqueue(self, entry: _Queued) -> None:
        self._queue.append(entry)
        self._queued_bytes += len(entry.message.payload)
        self.connection.report_queued(self._queued_bytes)
        if self.live and (len(self._queue) > MAX_QUEUED or self._queued_bytes > MAX_QUEUED_BYTES):
            self.fall_back()
        elif self.connection.is_writable:
            self.start()

    async def _pump_queue(self) -> None:
        """Ends when the queue is empty and the socket is live, so that an idle socket has no task."""
        try:
            while True:
                await self.connection.drain()
                if self._queue:
                    self._write_queued()
                elif self.live:
                    self._request_pong()
                    return
                else:
                    await self._catch_up()
        except ConnectionClosed:
            return
        except Unauthenticated:
            self.connection.close(SIGNED_OUT, "signed out")
        except Exception:
            logger.exception("a socket failed")
            self.connection.close(INTERNAL_ERROR, "internal error")
        finally:
            self._pump = None

    def _write_queued(self) -> None:
        entry = self._queue.pop(0)
        self._queued_bytes -= len(entry.message.payload)
        self.connection.report_queued(self._queued_bytes)
        if entry.position:
            self._write_event(entry.position, entry.incoming, entry.message)
        else:
            self.connection.write(entry.message)

    async def _catch_up(self) -> None:
        """Write one page of the table; live once there is no more."""
        if self.channel is None:
            raise ConnectionClosed
        announced = self.channel.latest
        page = await read_patiently(
            lambda: self._streams.read_page(self.actor, after=self._written, limit=self._page_size), self.connection
        )
        if page.lost or page.epoch != self.epoch:
            page = self._resync(page)
        window, read, end = fit_bytes(page.events, self.codec, MAX_QUEUED_BYTES), len(page.events), page.end
        is_last = end <= self._written
        self._page_size = next_page_size(self._page_size, read, len(window), PAGE)
        # A page of long messages takes megabytes: the rest is discarded, and read again after this window was sent.
        del page
        left = sum(len(event.message.payload) for event in window)
        for event in window:
            self.connection.report_queued(self._queued_bytes + left)
            await self.connection.drain()
            self._write_event(*event)
            left -= len(event.message.payload)
        self.connection.report_queued(self._queued_bytes)
        self._request_pong()
        if len(window) < read:
            return
        self._written = max(self._written, end)
        if self.channel is None:
            # The client disconnected while its page was being read.
            raise ConnectionClosed
        # A hint may name a position that the table does not have (a database restored from a backup): if nothing is
        # left and nothing was announced since, this is the end. No await between this check and `live`, so that the
        # hub delivers all later events.
        if self._written >= self.channel.latest or (is_last and self.channel.latest <= announced):
            self._queued = self._written
            self.live = True
            self.channel.on_live(self)
            if self._is_registered:
                self.connection.write(self.codec.message(CaughtUp(stream_cursor(self._written, self.epoch))))
            else:
                self._owes_caught_up = True

    def _resync(self, page: StreamPage) -> StreamPage:
        """Continue at the end of the stream, and discard pending delivery proofs."""
        self.connection.write(self.codec.message(Resync(stream_cursor(page.head, page.epoch))))
        self._written, self.epoch = page.head, page.epoch
        self._forget_proofs()
        return StreamPage([], page.head, page.head, page.acked_position, page.epoch, lost=True)
