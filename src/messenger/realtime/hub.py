"""The hub: notifies sockets and waiting requests of this process. Notifications are hints; the table is the source."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID

import msgspec

from messenger.actor import Actor
from messenger.bus.bus import Bus
from messenger.bus.messages import BusMessage, DevicesRevoked, GroupReceipts, Signal, SocketOpened, StreamAdvanced
from messenger.events import WakeUp
from messenger.realtime.channel import Channel, LongPoll
from messenger.realtime.frames import REPLACED, Broadcast, EventBody, SignalFrame
from messenger.realtime.socket import Socket


class Hub:
    """The sockets and waiting requests of this process, by user; notifies the other workers through the bus.

    `on_suspect` is called with a user whose devices or sockets may have changed elsewhere (None: any user), so that
    they are compared with the tables. `on_receipts` is called with a group whose members have received or read more.
    """

    def __init__(self, bus: Bus) -> None:
        self.sockets: dict[UUID, Socket] = {}
        self.closing = False
        self.on_suspect: Callable[[int | None], None] = lambda _: None
        self.on_receipts: Callable[[int], None] = lambda _: None
        self._bus = bus
        self._channels: dict[int, Channel] = {}
        self._long_polls: dict[UUID, LongPoll] = {}
        bus.subscribe(self)

    # --- sockets and waiting requests ---

    def connect(self, socket: Socket, *, latest: int) -> bool:
        """Add a socket and let it catch up; of two sockets of a device the older one is closed.

        Returns False if that is this socket.
        """
        other = self.sockets.get(socket.actor.device_id)
        if other is not None and other.generation > socket.generation:
            socket.close(REPLACED, "connected elsewhere")
            return False
        self.sockets[socket.actor.device_id] = socket
        self._channel(socket.actor.user_id).join(socket, latest=latest)
        if other is not None:
            self._leave(other)
            other.close(REPLACED, "connected elsewhere")
        socket.start()
        return True

    def disconnect(self, socket: Socket) -> None:
        """Remove a socket."""
        socket.live = False
        self._leave(socket)
        if self.sockets.get(socket.actor.device_id) is socket:
            del self.sockets[socket.actor.device_id]

    def close(self) -> None:
        """End all waiting requests; later ones do not wait."""
        self.closing = True
        for channel in self._channels.values():
            for poll in channel.long_polls:
                poll.end()

    @contextlib.contextmanager
    def long_poll(self, actor: Actor, after: int, epoch: str = "") -> Iterator[LongPoll]:
        """Register a waiting request for events after this position; an older one of the same device ends soon."""
        older = self._long_polls.get(actor.device_id)
        if older is not None:
            older.replace()
        poll = LongPoll(after)
        self._long_polls[actor.device_id] = poll
        channel = self._channel(actor.user_id)
        channel.adopt_epoch(epoch)
        channel.long_polls.append(poll)
        if self.closing:
            poll.end()
        try:
            yield poll
        finally:
            poll.close()
            channel.long_polls.remove(poll)
            self._drop_if_empty(channel)
            if self._long_polls.get(actor.device_id) is poll:
                del self._long_polls[actor.device_id]

    def waiting_users(self) -> set[int]:
        """Users with a waiting request."""
        return {channel.user_id for channel in self._channels.values() if channel.long_polls}

    def _channel(self, user_id: int) -> Channel:
        channel = self._channels.get(user_id)
        if channel is None:
            channel = self._channels[user_id] = Channel(user_id)
        return channel

    def _leave(self, socket: Socket) -> None:
        channel = self._channels.get(socket.actor.user_id)
        if channel is not None:
            channel.leave(socket)
            self._drop_if_empty(channel)

    def _drop_if_empty(self, channel: Channel) -> None:
        if channel.is_empty and self._channels.get(channel.user_id) is channel:
            del self._channels[channel.user_id]

    # --- notifications from this process and from others ---

    async def announce(self, news: list[WakeUp]) -> None:
        """Notify this process's sockets and the other workers of committed events."""
        said: list[BusMessage] = []
        body: EventBody | None = None
        for place, each in enumerate(news, start=1):
            if each.position == 0:
                self._on_revoked(each.user_id)
                said.append(DevicesRevoked(each.user_id))
                continue
            # Members of a group receive equal data, one after another; in a 1:1 each side has its own `target_id`.
            if body is None or body.data != each.data:
                is_shared = place < len(news) and news[place].data == each.data
                body = EventBody(each.data) if is_shared else None
            channel = self._channels.get(each.user_id)
            if channel is not None:
                channel.on_wake_up(each, body)
            said.append(StreamAdvanced(each.user_id, each.position))
        self._bus.publish(*said)

    def announce_receipts(self, group_ids: Iterable[int]) -> None:
        """Notify all workers of groups whose members have received or read more."""
        for group_id in group_ids:
            self.on_receipts(group_id)
            self._bus.publish(GroupReceipts(group_id))

    def signal(self, users: Sequence[int], event: str, data: object, *, watched: int | None = None) -> None:
        """Send a transient signal to all sockets of these users, or to those that watch a conversation."""
        if users:
            self._deliver(users, Broadcast(SignalFrame(event, data), watched=watched))
            self._bus.publish(Signal(tuple(users), event, msgspec.Raw(msgspec.json.encode(data)), watched))

    def connected(self, socket: Socket) -> None:
        """Notify the other workers that the table lists this socket for its device, so that they close older ones."""
        self._bus.publish(SocketOpened(socket.actor.user_id, socket.actor.device_id))

    def _deliver(self, users: Sequence[int], broadcast: Broadcast) -> None:
        for user_id in users:
            channel = self._channels.get(user_id)
            if channel is not None:
                channel.signal(broadcast)

    def on_message(self, message: BusMessage) -> None:
        if isinstance(message, StreamAdvanced):
            self.on_hint(message.user_id, message.position)
        elif isinstance(message, Signal):
            frame = SignalFrame(message.event, msgspec.json.decode(message.data))
            self._deliver(message.users, Broadcast(frame, watched=message.watched))
        elif isinstance(message, GroupReceipts):
            self.on_receipts(message.group_id)
        elif isinstance(message, SocketOpened):
            # Only a hint: the table shows which of two sockets is the newer one.
            if message.device_id in self.sockets:
                self.on_suspect(message.user_id)
        else:
            self._on_revoked(message.user_id)

    def _on_revoked(self, user_id: int) -> None:
        self.on_suspect(user_id)
        channel = self._channels.get(user_id)
        if channel is not None:
            channel.on_revoked()

    def on_hint(self, user_id: int, position: int, epoch: str | None = None) -> None:
        """The user's stream has reached at least this position, in this epoch if it is known."""
        channel = self._channels.get(user_id)
        if channel is not None:
            if epoch is not None:
                channel.on_epoch(epoch)
            channel.on_hint(position)

    def on_disconnect(self) -> None:
        """The last messages may be lost: compare with the tables now, and then more often."""
        self.on_suspect(None)

    def on_reconnect(self) -> None:
        """Messages were lost while the bus was disconnected: compare with the tables now."""
        self.on_suspect(None)
