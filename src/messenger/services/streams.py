"""Streams: the events of a user in one order without gaps, as the sockets of a process read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from messenger.actor import Actor, Caller
from messenger.errors import Unauthenticated
from messenger.events import ReceiptUpdated, WakeUp
from messenger.realtime.interfaces import DeliveryAck, Handshake, SocketAudit, SocketRef, StreamPage
from messenger.schemas.realtime import ReceiptCountsView, TicketView
from messenger.schemas.types import timestamp
from messenger.security.tokens import new_ticket, token_hash
from messenger.services._events import read_page, receipt_view
from messenger.services._unreadable import Unreadable
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict

TICKET_SECONDS = 30


class StreamService:
    """What sockets need: tickets, handshakes, pages, delivery acknowledgements and reconciliation."""

    def __init__(self, uow: UnitOfWorkFactory, unreadable: Unreadable) -> None:
        self._uow = uow
        self._unreadable = unreadable

    async def issue_ticket(self, caller: Caller) -> TicketView:
        """Issue a ticket that opens one socket of this device within 30 seconds."""
        ticket = new_ticket()
        async with self._uow.command() as uow:
            expires_at = uow.now + timedelta(seconds=TICKET_SECONDS)
            await uow.connections.issue_ticket(caller, ticket_hash=token_hash(ticket), expires_at=expires_at)
        return TicketView(ticket, TICKET_SECONDS)

    async def open_socket(self, caller: Caller | None, ticket: str | None = None) -> Handshake:
        """Authenticate a handshake by token or ticket. Raises `Unauthenticated`."""
        if caller is None:
            caller = await self._redeem(ticket)
        async with self._uow.read() as uow:
            row = await uow.connections.open_handshake(caller)
        if row is None:
            raise Unauthenticated
        return Handshake(Actor(row.user_id, row.device_id), row.position, row.taken, row.epoch, row.number)

    async def _redeem(self, ticket: str | None) -> Actor:
        if not ticket or len(ticket) > 128:
            raise Unauthenticated
        async with self._uow.command() as uow:
            actor = await uow.connections.redeem_ticket(token_hash(ticket))
        if actor is None:
            raise Unauthenticated
        return actor

    async def read_page(self, actor: Actor, *, after: int, limit: int) -> StreamPage:
        """Read a page for a socket; it does not count as activity. Raises `Unauthenticated`."""
        _, page = await read_page(self._uow, self._unreadable, actor, after, limit, stamp=False)
        return page

    @retry_on_conflict
    async def record_delivered(self, acks: Sequence[DeliveryAck]) -> None:
        """Advance delivered receipts to the acknowledged positions, and notify the senders."""
        async with self._uow.command() as uow:
            advanced = await uow.streams.take([ack.user_id for ack in acks], [ack.position for ack in acks])
            at = timestamp(uow.now)
            # Pass the data along: otherwise each receipt would cost a read, which delays the messages after it.
            uow.announce(
                WakeUp(row.user_id, row.position, ReceiptUpdated.name, receipt_view(row.payload), at)
                for row in advanced
            )
            uow.announce_receipts(row.group_id for row in advanced if row.group_id is not None)

    async def count_receipts(self, watchers: Sequence[tuple[int, int]]) -> dict[tuple[int, int], ReceiptCountsView]:
        """For each user and group, who has received and read the user's newest message; one statement."""
        async with self._uow.read() as uow:
            rows = await uow.message_receipts.count_newest(watchers)
        return {
            (row.user_id, row.group_id): ReceiptCountsView(
                row.group_id, row.seq, row.read_count, row.delivered_count, row.members
            )
            for row in rows
        }

    async def reconcile(self, sockets: Sequence[SocketRef], waiting: Sequence[int]) -> SocketAudit:
        """Compare these sockets with the tables, and return their users' stream ends; two round trips at most."""
        users = {socket.actor.user_id for socket in sockets} | set(waiting)
        async with self._uow.read() as uow:
            positions = await uow.streams.positions(sorted(users))
            mismatches = await uow.connections.list_mismatches(
                [(socket.actor.device_id, socket.generation) for socket in sockets]
            )
        mine = {socket.actor.device_id: socket.generation for socket in sockets}
        signed_in = [row for row in mismatches if row.signed_in]
        return SocketAudit(
            {row.user_id: row.position for row in positions},
            positions[0].epoch if positions else None,
            signed_out={row.device_id for row in mismatches if not row.signed_in},
            replaced={mine[row.device_id] for row in signed_in if (row.number or 0) > mine[row.device_id]},
            unregistered={mine[row.device_id] for row in signed_in if (row.number or 0) < mine[row.device_id]},
        )
