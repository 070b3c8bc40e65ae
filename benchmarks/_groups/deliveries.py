"""Messages, and when the last of their receivers has each."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from time import perf_counter

from _realtime.sockets import Socket
from _realtime.traffic import Line, until

_CLIENT_ID = re.compile(rb'"client_id":"g(\d+)"')
_GRACE_SECONDS = 30.0
_BODY = "Hello " * 10


class Undelivered(Exception):
    """A message was refused, or has not reached all of its receivers."""


class Delivery:
    """A message that was sent at `sent`. Seconds from there: `answered`, `received` by the last receiver."""

    def __init__(self, receivers: int) -> None:
        self.sent = perf_counter()
        self.missing = receivers
        self.answered = 0.0
        self.received = 0.0

    @property
    def is_complete(self) -> bool:
        """Answered, and received by all."""
        return bool(self.answered) and not self.missing


class Deliveries:
    """Sends messages, and notes what arrives at the sockets of this benchmark."""

    _numbers = itertools.count(1)

    def __init__(self, sockets: Iterable[Socket]) -> None:
        self._open: dict[int, Delivery] = {}
        self._refused: list[str] = []
        for socket in sockets:
            socket.on_event = self._on_event
            socket.on_reply = self._on_reply

    def send(self, line: Line, receivers: int) -> Delivery:
        """Send a message; so many sockets, the sender's included, receive it as an event."""
        number = next(self._numbers)
        delivery = self._open[number] = Delivery(receivers)
        draft: dict[str, object] = {"target_id": line.target_id, "client_id": f"g{number}", "body": _BODY}
        line.sender.request(number, "message.send", draft)
        return delivery

    def is_complete(self) -> bool:
        """Whether all messages have arrived everywhere, or one was refused."""
        return bool(self._refused) or not self._open

    async def complete(self) -> None:
        """Wait for all messages. Raises `Undelivered`."""
        await until(self.is_complete, _GRACE_SECONDS)
        if self._open or self._refused:
            missing = [delivery.missing for delivery in self._open.values()]
            raise Undelivered(f"missing receivers of {len(missing)} messages: {missing[:20]}; {self._refused}")

    def _on_event(self, name: bytes, payload: bytes, now: float) -> None:
        found = _CLIENT_ID.search(payload) if name == b"message.created" else None
        delivery = self._open.get(int(found[1])) if found else None
        if found and delivery is not None:
            delivery.missing -= 1
            delivery.received = max(delivery.received, now - delivery.sent)
            self._close(int(found[1]), delivery)

    def _on_reply(self, number: int, error: str, now: float) -> None:
        if error:
            self._refused.append(error)
        delivery = self._open.get(number)
        if delivery is not None:
            delivery.answered = now - delivery.sent
            self._close(number, delivery)

    def _close(self, number: int, delivery: Delivery) -> None:
        if delivery.is_complete:
            del self._open[number]
