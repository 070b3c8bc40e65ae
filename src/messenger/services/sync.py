"""The long poll: a page of the stream, waiting for the first event where there is none."""

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
"""A position behind every stream's end: to ask where that is."""


class LongPoll(Protocol):
    """Rings at news."""

    @property
    def ended(self) -> bool: ...
    async def wait(self, seconds: float) -> bool: ...


class LongPolls(Protocol):
    """Where a waiting request listens."""

    def long_poll(self, actor: Actor, after: int, epoch: str) -> AbstractContextManager[LongPoll]: ...


class DeliveryAcks(Protocol):
    """Is told what a device has proved to have."""

    def ack(self, user_id: int, position: int) -> None: ...


class SyncService:
    """Reads cost one round trip; nothing of the database is held while a request waits."""

    def __init__(
        self, uow: UnitOfWorkFactory, unreadable: Unreadable, long_polls: LongPolls, acks: DeliveryAcks
    ) -> None:
        self._uow = uow
        self._unreadable = unreadable
        self._long_polls = long_polls
        self._acks = acks

    async def sync(self, caller: Caller, *, cursor: str | None, limit: int, wait: float = 0) -> SyncView:
        """What came after the cursor; waits up to `wait` seconds for the first event. Raises `CursorExpired`."""
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
            # Listen first, then look: what was committed in between rang nobody.
            while True:
                _, page = await read_page(self._uow, self._unreadable, actor, after, limit, epoch=epoch, stamp=False)
                left = until - monotonic()
                if page.end > after or page.lost or poll.ended or left <= 0:
                    return page
                if not await poll.wait(left):
                    return page
