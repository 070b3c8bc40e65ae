"""Long polling: a page of the stream, or a wait for its next event."""

from __future__ import annotations

from contextlib import AbstractContextManager
from time import monotonic
from typing import Protocol

from messenger.actor import Actor, Caller
from messenger.errors import CursorExpired
from messenger.realtime.interfaces import StreamPage
from messenger.schemas.realtime import Place, SyncView, require_place, stream_cursor
from messenger.services._events import read_page
from messenger.services._unreadable import Unreadable
from messenger.unit_of_work import UnitOfWorkFactory

NOW = 2**62
"""A position after the end of every stream: reading from it only returns the end of the stream."""


class LongPoll(Protocol):
    """A waiting request, which wakes up at the next event."""

    @property
    def ended(self) -> bool: ...
    async def wait(self, seconds: float) -> bool: ...


class LongPolls(Protocol):
    """Opens long polls."""

    def long_poll(self, actor: Actor, after: int, epoch: str) -> AbstractContextManager[LongPoll]: ...


class DeliveryAcks(Protocol):
    """Receives the positions that devices have acknowledged."""

    def ack(self, user_id: int, position: int) -> None: ...


class SyncService:
    """Reads pages in one round trip each; a waiting request holds no database connection."""

    def __init__(
        self, uow: UnitOfWorkFactory, unreadable: Unreadable, long_polls: LongPolls, acks: DeliveryAcks
    ) -> None:
        self._uow = uow
        self._unreadable = unreadable
        self._long_polls = long_polls
        self._acks = acks

    async def sync(self, caller: Caller, *, cursor: str | None, limit: int, wait: float = 0) -> SyncView:
        """The events after the cursor; waits up to `wait` seconds for the first one. Raises `CursorExpired`."""
        after, epoch = (NOW, None) if cursor is None else require_place(cursor)
        actor, page = await read_page(self._uow, self._unreadable, caller, after, limit, epoch=epoch, stamp=True)
        if epoch is None:
            return SyncView([], stream_cursor(page.head, page.epoch), False)
        if wait > 0 and page.end == after and not page.lost:
            page = await self._await_page(actor, Place(after, epoch), limit, wait)
        if page.lost:
            raise CursorExpired
        if after > page.acked_position:
            self._acks.ack(actor.user_id, after)
        return SyncView([event.frame for event in page.events], stream_cursor(page.end, epoch), page.end < page.head)

    async def _await_page(self, actor: Actor, place: Place, limit: int, wait: float) -> StreamPage:
        after, epoch = place
        until = monotonic() + wait
        with self._long_polls.long_poll(actor, after, epoch) as poll:
            # Read again after subscribing: an event committed in between has not woken this request.
            while True:
                _, page = await read_page(self._uow, self._unreadable, actor, after, limit, epoch=epoch, stamp=False)
                left = until - monotonic()
                if page.end > after or page.lost or poll.ended or left <= 0:
                    return page
                if not await poll.wait(left):
                    return page
