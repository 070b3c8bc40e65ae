"""Writes events to a socket's connection, and proves by pings that its device has received them."""

from __future__ import annotations

from typing import Protocol

from messenger.actor import Actor
from messenger.realtime.connection import SocketConnection
from messenger.realtime.delivery_acks import DeliveryAcks
from messenger.realtime.frames import Message, Watched


class AckedPosition(Protocol):
    """The acknowledgements of a user's devices in this process."""

    acked: int
    """The position up to which at least one device has acknowledged all events."""


class EventWriter:
    """The position of one device: what was written to it, and what it has acknowledged."""

    __slots__ = ("_acks", "_awaited_pong", "_unconfirmed", "_written", "actor", "channel", "connection", "watched")

    channel: AckedPosition | None

    def __init__(self, actor: Actor, connection: SocketConnection, acks: DeliveryAcks, *, after: int) -> None:
        self.actor = actor
        self.connection = connection
        self.channel = None
        self.watched: Watched | None = None
        self._acks = acks
        self._written = after
        self._unconfirmed = self._awaited_pong = 0

    @property
    def position(self) -> int:
        """The position up to which events were written."""
        return self._written

    def on_pong(self, payload: bytes) -> None:
        if self._awaited_pong and payload == b"%d" % self._awaited_pong:
            self._acknowledge()
            self._request_pong()

    def _write_event(self, position: int, incoming: bool, message: Message) -> None:
        self.connection.write(message)
        self._written = position
        if incoming:
            self._unconfirmed = position

    def _write_with_ping(self, position: int, message: Message) -> None:
        """Write a message and request its delivery proof; `_write_event` and `_request_pong` in one call."""
        self._written = self._awaited_pong = position
        self._unconfirmed = 0
        if not self.connection.write_with_ping(message, b"%d" % position):
            # The server program has no pings: written counts as delivered.
            self._acknowledge()

    def _request_pong(self) -> None:
        """Request proof that the written messages were delivered, with one ping at a time.

        A pong proves that all data sent before its ping has arrived (RFC 6455 section 5.5.3, TCP).
        """
        if self._unconfirmed == 0 or self._awaited_pong:
            return
        self._awaited_pong, self._unconfirmed = self._unconfirmed, 0
        if not self.connection.ping(b"%d" % self._awaited_pong):
            # The server program has no pings: written counts as delivered.
            self._acknowledge()

    def _acknowledge(self) -> None:
        """Acknowledge the position of the last ping; the first device of a user to do so is enough."""
        position, self._awaited_pong = self._awaited_pong, 0
        if self.channel is not None:
            if position <= self.channel.acked:
                return
            self.channel.acked = position
        self._acks.ack(self.actor.user_id, position)

    def _forget_proofs(self) -> None:
        """Discard pending delivery proofs: the stream restarts elsewhere."""
        self._unconfirmed = self._awaited_pong = 0
