"""One device's socket: catches up from the table, then lives on what the hub hands it, in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, NamedTuple, Protocol

from messenger.actor import Actor
from messenger.errors import MessengerError, Unauthenticated
from messenger.realtime.catch_up_window import fit_bytes, next_page_size
from messenger.realtime.connection import ConnectionClosed, SocketConnection
from messenger.realtime.delivery_acks import DeliveryAcks
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
_FIRST_RETRY, _LAST_RETRY = 0.1, 2.0


class _Queued(NamedTuple):
    """What waits to be written. `position` of an event, else 0; `kept` when the queue is forgotten: replies."""

    message: Message
    position: int = 0
    incoming: bool = False
    kept: bool = False


class ChannelState(Protocol):
    """What a socket knows of its user's channel."""

    latest: int
    """The newest position that was heard of."""
    acked: int
    """Up to where one of the sockets has acknowledged all."""

    def on_live(self, socket: Socket) -> None:
        """It has caught up, and is handed events from here on."""
        ...


class Socket:
    """Sends events in order, each once. `live`: handed events by the hub; otherwise it reads them from the table.

    Past its bounds the queue is forgotten and the socket goes by its cursor again: a slow reader costs reads, never
    memory, and loses no event.
    """

    # There are many of these, most of them idle: no dictionary, and no deque, which is 760 bytes when it is empty.
    __slots__ = (
        "__weakref__",
        "_acks",
        "_awaited_pong",
        "_is_registered",
        "_owes_caught_up",
        "_page_size",
        "_pump",
        "_queue",
        "_queued",
        "_queued_bytes",
        "_streams",
        "_unconfirmed",
        "_written",
        "actor",
        "channel",
        "codec",
        "connection",
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
        self.actor = actor
        self.epoch = epoch
        self.generation = generation
        self.connection = connection
        self.codec = codec
        self.live = False
        self.channel: ChannelState | None = None
        self._streams = streams
        self._acks = acks
        self._page_size = PAGE
        self._written = after
        self._queued = after
        self._queue: list[_Queued] = []
        self._queued_bytes = 0
        self._pump: asyncio.Task[None] | None = None
        self._unconfirmed = 0
        self._awaited_pong = 0
        self.ping_at = 0.0
        self._is_registered = is_registered
        self._owes_caught_up = False
        connection.attach(self)

    @property
    def position(self) -> int:
        """Up to where events were written."""
        return self._written

    # --- what the hub hands over ---

    def offer_event(self, event: StreamEvent, broadcast: Broadcast) -> None:
        """The next event of the stream; what was sent already is passed over, a gap is read from the table."""
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
        """Something fleeting: dropped where the socket is behind."""
        if not self.live:
            return
        if self._can_write:
            self.connection.write(broadcast.message(self.codec))
        elif len(self._queue) < MAX_QUEUED:
            self._enqueue(_Queued(broadcast.message(self.codec)))

    def on_registered(self) -> None:
        """Its row is in the table: whoever comes or goes from here on tells it so.

        `caught_up` waits for this: a client asks then who is online, and would miss one who came in between.
        """
        self._is_registered = True
        if self._owes_caught_up and self.live:
            self._owes_caught_up = False
            self._write_frame(CaughtUp(stream_cursor(self._queued, self.epoch)))

    def reply(self, request_id: int | None, *, data: Any = None, error: dict[str, Any] | None = None) -> None:
        """Answer a request. Kept even when the queue is forgotten; `wait_for_room` bounds how many there are."""
        self._write_frame(Reply(request_id, data) if error is None else ErrorReply(request_id, error))

    def _write_frame(self, frame: Reply | ErrorReply | CaughtUp) -> None:
        message = self.codec.message(frame)
        if self._can_write:
            self.connection.write(message)
        else:
            self._enqueue(_Queued(message, kept=True))

    async def wait_for_room(self) -> None:
        """Wait until what was said is on its way: whoever asks more than they read is not read from."""
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
        """Forget queued events and signals, and read on from the table."""
        self._queue = [entry for entry in self._queue if entry.kept]
        self._queued_bytes = sum(len(entry.message.payload) for entry in self._queue)
        self.connection.report_queued(self._queued_bytes)
        self._queued = self._written
        self.live = False
        self.start()

    def start(self) -> None:
        """Write what waits, and catch up; does nothing while that is under way."""
        if self._pump is None and not self.connection.closed:
            self._pump = asyncio.create_task(self._pump_queue())

    def close(self, code: int, reason: str = "") -> None:
        """Close, and forget what waits."""
        self.live = False
        self._queue.clear()
        self._queued_bytes = 0
        if self._pump is not None:
            self._pump.cancel()
        self.connection.close(code, reason)

    # --- what the connection tells ---

    def on_writable(self) -> None:
        if self._queue:
            self.start()

    def on_pong(self, payload: bytes) -> None:
        if self._awaited_pong and payload == b"%d" % self._awaited_pong:
            self._acknowledge()
            self._request_pong()

    # --- the inside ---

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

    def _write_event(self, position: int, incoming: bool, message: Message) -> None:
        self.connection.write(message)
        self._written = position
        if incoming:
            self._unconfirmed = position

    def _write_with_ping(self, position: int, message: Message) -> None:
        """Write a message and ask for proof of it; `_write_event` and `_request_pong` in one call."""
        self._written = self._awaited_pong = position
        self._unconfirmed = 0
        if not self.connection.write_with_ping(message, b"%d" % position):
            # Without pings, that it was written has to do.
            self._acknowledge()

    def _request_pong(self) -> None:
        """Ask for proof that the device has the messages that were written; one question at a time.

        A pong comes after all that was sent before its ping has arrived (RFC 6455 section 5.5.3, TCP).
        """
        if self._unconfirmed == 0 or self._awaited_pong:
            return
        self._awaited_pong, self._unconfirmed = self._unconfirmed, 0
        if not self.connection.ping(b"%d" % self._awaited_pong):
            # Without pings, that it was written has to do.
            self._acknowledge()

    def _acknowledge(self) -> None:
        """The device has what was asked about; of one user's devices the first one is enough."""
        position, self._awaited_pong = self._awaited_pong, 0
        if self.channel is not None:
            if position <= self.channel.acked:
                return
            self.channel.acked = position
        self._acks.ack(self.actor.user_id, position)

    async def _pump_queue(self) -> None:
        """The pump: ends when nothing waits and the socket is live, so that an idle socket has no task of its own."""
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
        page = await self._read_page()
        if page.lost or page.epoch != self.epoch:
            page = self._resync(page)
        window, read, end = fit_bytes(page.events, self.codec, MAX_QUEUED_BYTES), len(page.events), page.end
        is_last = end <= self._written
        self._page_size = next_page_size(self._page_size, read, len(window), PAGE)
        # A page of long messages is megabytes: what is not held is let go, and read again when the peer has taken this.
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
            # The peer went while its page was being read.
            raise ConnectionClosed
        # A hint may name a place that the table doesn't have (a database restored from a backup): where nothing is
        # left and nothing was heard of since, this is the end. No await between this look and being live: whatever
        # comes after it is handed over.
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
        self._unconfirmed = self._awaited_pong = 0
        return StreamPage([], page.head, page.head, page.acked_position, page.epoch, lost=True)

    async def _read_page(self) -> StreamPage:
        wait = _FIRST_RETRY
        while True:
            try:
                return await self._streams.read_page(self.actor, after=self._written, limit=self._page_size)
            except Unauthenticated:
                raise
            except MessengerError:
                # The database is away or busy: a pause, not a reason to hang up on everyone at once.
                await asyncio.sleep(wait)
                wait = min(_LAST_RETRY, wait * 2)
            if self.connection.closed:
                raise ConnectionClosed
