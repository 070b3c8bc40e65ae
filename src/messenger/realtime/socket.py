"""One device's socket: catches up from the table, then lives on what the hub hands it, in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, NamedTuple, Protocol

from messenger.actor import Actor
from messenger.errors import MessengerError, Unauthenticated
from messenger.realtime.catch_up_window import next_limit, share_of
from messenger.realtime.connection import Connection, Gone
from messenger.realtime.delivery_acks import DeliveryAcks
from messenger.realtime.frames import FAULT, SIGNED_OUT, Broadcast, CaughtUp, Codec, Message, Refusal, Reply, Resync
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
    foreign: bool = False
    kept: bool = False


class Home(Protocol):
    """What a socket knows of its user's channel."""

    latest: int
    """The newest position that was heard of."""
    proved: int
    """Up to where one of the sockets has proved to have all."""

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
        "_asked",
        "_foreign",
        "_is_known",
        "_limit",
        "_owes_caught_up",
        "_pump",
        "_queue",
        "_queued",
        "_queued_bytes",
        "_streams",
        "_written",
        "actor",
        "codec",
        "connection",
        "epoch",
        "generation",
        "home",
        "live",
        "ping_at",
    )

    def __init__(
        self,
        actor: Actor,
        generation: int,
        connection: Connection,
        codec: Codec,
        streams: Streams,
        acks: DeliveryAcks,
        *,
        after: int,
        epoch: str = "",
        is_known: bool = True,
    ) -> None:
        self.actor = actor
        self.epoch = epoch
        self.generation = generation
        self.connection = connection
        self.codec = codec
        self.live = False
        self.home: Home | None = None
        self._streams = streams
        self._acks = acks
        self._limit = PAGE
        self._written = after
        self._queued = after
        self._queue: list[_Queued] = []
        self._queued_bytes = 0
        self._pump: asyncio.Task[None] | None = None
        self._foreign = 0
        self._asked = 0
        self.ping_at = 0.0
        self._is_known = is_known
        self._owes_caught_up = False
        connection.attach(self)

    @property
    def position(self) -> int:
        """Up to where events were written."""
        return self._written

    # --- what the hub hands over ---

    def offer(self, event: StreamEvent, broadcast: Broadcast) -> None:
        """The next event of the stream; what was sent already is passed over, a gap is read from the table."""
        if not self.live or event.position <= self._queued:
            return
        if event.position != self._queued + 1:
            self.fall_back()
            return
        message = broadcast.message(self.codec)
        self._queued = event.position
        if not self._is_clear:
            self._enqueue(_Queued(message, event.position, event.foreign))
        elif event.foreign and not self._asked:
            self._write_asking(event.position, message)
        else:
            self._write_event(event.position, event.foreign, message)

    def signal(self, broadcast: Broadcast) -> None:
        """Something fleeting: dropped where the socket is behind."""
        if not self.live:
            return
        if self._is_clear:
            self.connection.write(broadcast.message(self.codec))
        elif len(self._queue) < MAX_QUEUED:
            self._enqueue(_Queued(broadcast.message(self.codec)))

    def on_known(self) -> None:
        """Its row is in the table: whoever comes or goes from here on tells it so.

        `caught_up` waits for this: a client asks then who is online, and would miss one who came in between.
        """
        self._is_known = True
        if self._owes_caught_up and self.live:
            self._owes_caught_up = False
            self._say(CaughtUp(stream_cursor(self._queued, self.epoch)))

    def reply(self, request_id: int | None, *, data: Any = None, error: dict[str, Any] | None = None) -> None:
        """Answer a request. Kept even when the queue is forgotten; `settle` bounds how many there are."""
        self._say(Reply(request_id, data) if error is None else Refusal(request_id, error))

    def _say(self, frame: Reply | Refusal | CaughtUp) -> None:
        message = self.codec.message(frame)
        if self._is_clear:
            self.connection.write(message)
        else:
            self._enqueue(_Queued(message, kept=True))

    async def settle(self) -> None:
        """Wait until what was said is on its way: whoever asks more than they read is not read from."""
        while len(self._queue) >= _BUSY and not self.connection.closed:
            with contextlib.suppress(Gone):
                await self.connection.drain()
            self.start()
            pump = self._pump
            if pump is not None:
                await asyncio.wait([pump])

    async def read(self, *, after: int) -> StreamPage:
        """A page of its user's stream, on behalf of its device. Raises `Unauthenticated`, `Unavailable`."""
        return await self._streams.read(self.actor, after=after, limit=PAGE)

    def fall_back(self) -> None:
        """Forget queued events and signals, and read on from the table."""
        self._queue = [entry for entry in self._queue if entry.kept]
        self._queued_bytes = sum(len(entry.message.payload) for entry in self._queue)
        self.connection.note_waiting(self._queued_bytes)
        self._queued = self._written
        self.live = False
        self.start()

    def start(self) -> None:
        """Write what waits, and catch up; does nothing while that is under way."""
        if self._pump is None and not self.connection.closed:
            self._pump = asyncio.create_task(self._run())

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
        if self._asked and payload == b"%d" % self._asked:
            self._take()
            self._confirm()

    # --- the inside ---

    @property
    def _is_clear(self) -> bool:
        return self._pump is None and not self._queue and self.connection.has_room

    def _enqueue(self, entry: _Queued) -> None:
        self._queue.append(entry)
        self._queued_bytes += len(entry.message.payload)
        self.connection.note_waiting(self._queued_bytes)
        if self.live and (len(self._queue) > MAX_QUEUED or self._queued_bytes > MAX_QUEUED_BYTES):
            self.fall_back()
        elif self.connection.has_room:
            self.start()

    def _write_event(self, position: int, foreign: bool, message: Message) -> None:
        self.connection.write(message)
        self._written = position
        if foreign:
            self._foreign = position

    def _write_asking(self, position: int, message: Message) -> None:
        """Write a message and ask for proof of it; `_write_event` and `_confirm` in one go, where nothing is asked."""
        self._written = self._asked = position
        self._foreign = 0
        if not self.connection.write_pinged(message, b"%d" % position):
            # Without pings, that it was written has to do.
            self._take()

    def _confirm(self) -> None:
        """Ask for proof that the device has the messages that were written; one question at a time.

        A pong comes after all that was sent before its ping has arrived (RFC 6455 section 5.5.3, TCP).
        """
        if self._foreign == 0 or self._asked:
            return
        self._asked, self._foreign = self._foreign, 0
        if not self.connection.ping(b"%d" % self._asked):
            # Without pings, that it was written has to do.
            self._take()

    def _take(self) -> None:
        """The device has what was asked about; of one user's devices the first one is enough."""
        position, self._asked = self._asked, 0
        if self.home is not None:
            if position <= self.home.proved:
                return
            self.home.proved = position
        self._acks.ack(self.actor.user_id, position)

    async def _run(self) -> None:
        """The pump: ends when nothing waits and the socket is live, so that an idle socket has no task of its own."""
        try:
            while True:
                await self.connection.drain()
                if self._queue:
                    self._write_queued()
                elif self.live:
                    self._confirm()
                    return
                else:
                    await self._catch_up()
        except Gone:
            return
        except Unauthenticated:
            self.connection.close(SIGNED_OUT, "signed out")
        except Exception:
            logger.exception("a socket failed")
            self.connection.close(FAULT, "internal error")
        finally:
            self._pump = None

    def _write_queued(self) -> None:
        entry = self._queue.pop(0)
        self._queued_bytes -= len(entry.message.payload)
        self.connection.note_waiting(self._queued_bytes)
        if entry.position:
            self._write_event(entry.position, entry.foreign, entry.message)
        else:
            self.connection.write(entry.message)

    async def _catch_up(self) -> None:
        """Write one page of the table; live once there is no more."""
        if self.home is None:
            raise Gone
        heard_of = self.home.latest
        page = await self._read()
        if page.lost or page.epoch != self.epoch:
            page = self._begin_anew(page)
        share, read, end = share_of(page.events, self.codec, MAX_QUEUED_BYTES), len(page.events), page.end
        nothing_left = end <= self._written
        self._limit = next_limit(self._limit, read, len(share), PAGE)
        # A page of long messages is megabytes: what is not held is let go, and read again when the peer has taken this.
        del page
        left = sum(len(event.message.payload) for event in share)
        for event in share:
            self.connection.note_waiting(self._queued_bytes + left)
            await self.connection.drain()
            self._write_event(*event)
            left -= len(event.message.payload)
        self.connection.note_waiting(self._queued_bytes)
        self._confirm()
        if len(share) < read:
            return
        self._written = max(self._written, end)
        if self.home is None:
            # The peer went while its page was being read.
            raise Gone
        # A hint may name a place that the table doesn't have (a database restored from a backup): where nothing is
        # left and nothing was heard of since, this is the end. No await between this look and being live: whatever
        # comes after it is handed over.
        if self._written >= self.home.latest or (nothing_left and self.home.latest <= heard_of):
            self._queued = self._written
            self.live = True
            self.home.on_live(self)
            if self._is_known:
                self.connection.write(self.codec.message(CaughtUp(stream_cursor(self._written, self.epoch))))
            else:
                self._owes_caught_up = True

    def _begin_anew(self, page: StreamPage) -> StreamPage:
        """Continue at the end of the stream, and discard pending delivery proofs."""
        self.connection.write(self.codec.message(Resync(stream_cursor(page.head, page.epoch))))
        self._written, self.epoch = page.head, page.epoch
        self._foreign = self._asked = 0
        return StreamPage([], page.head, page.head, page.acked_position, page.epoch, lost=True)

    async def _read(self) -> StreamPage:
        wait = _FIRST_RETRY
        while True:
            try:
                return await self._streams.read(self.actor, after=self._written, limit=self._limit)
            except Unauthenticated:
                raise
            except MessengerError:
                # The database is away or busy: a pause, not a reason to hang up on everyone at once.
                await asyncio.sleep(wait)
                wait = min(_LAST_RETRY, wait * 2)
            if self.connection.closed:
                raise Gone
