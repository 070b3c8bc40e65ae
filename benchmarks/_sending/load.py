"""Messages over the sockets of one server: from a number of senders, or at a rate."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

from _realtime.sockets import Socket
from _realtime.traffic import Line, until

_CLIENT_ID = re.compile(rb'"client_id":"m(\d+)"')
_GRACE_SECONDS = 20.0
_BODY = "Hello " * 10


class Sample(NamedTuple):
    """`sent` messages within `seconds`; for each, the seconds until its reply and until its recipient's event."""

    sent: int
    seconds: float
    answered: list[float]
    delivered: list[float]


class SendingFailed(Exception):
    """A message was refused or lost."""


class Load:
    """Sends over lines to connected recipients."""

    _last = 0

    def __init__(self, lines: Sequence[Line], recipients: Sequence[Socket]) -> None:
        self._lines = lines
        self._recipients = recipients
        self._reset()
        for line in lines:
            line.sender.on_reply = self._on_reply
        for socket in recipients:
            socket.on_event = self._on_event

    async def by_senders(self, senders: int, seconds: float) -> Sample:
        """Each of the senders sends its next message when it has the reply to the last one."""
        self._reset()
        started = perf_counter()
        self._until = started + seconds
        for line in self._lines[:senders]:
            self._send(line)
        await self._complete()
        return self._sample(self._last_reply - started)

    async def at_rate(self, rate: float, count: int) -> Sample:
        """Messages at a rate, whether or not earlier ones are answered."""
        self._reset()
        started = perf_counter()
        for number in range(count):
            await asyncio.sleep(max(0.0, started + number / rate - perf_counter()))
            self._send(self._lines[number % len(self._lines)])
        await self._complete()
        return self._sample(count / rate)

    def close(self) -> None:
        """Disconnect."""
        for socket in (*(line.sender for line in self._lines), *self._recipients):
            socket.cut()

    def _reset(self) -> None:
        self._until = 0.0
        self._sent: dict[int, tuple[Line, float]] = {}
        self._last_reply = 0.0
        self._answered: list[float] = []
        self._delivered: dict[int, float] = {}
        self._refused: Counter[str] = Counter()

    def _sample(self, seconds: float) -> Sample:
        return Sample(len(self._sent), seconds, self._answered, list(self._delivered.values()))

    async def _complete(self) -> None:
        """Raises `SendingFailed`."""
        await until(self._is_complete, _GRACE_SECONDS)
        if not self._is_complete() or self._refused:
            lost = len(self._sent) - len(self._delivered)
            raise SendingFailed(f"{lost} of {len(self._sent)} messages were not received; refused: {self._refused}")

    def _is_complete(self) -> bool:
        ended = perf_counter() >= self._until
        return ended and len(self._answered) == len(self._delivered) == len(self._sent)

    def _send(self, line: Line) -> None:
        Load._last += 1
        number = Load._last
        self._sent[number] = line, perf_counter()
        draft: dict[str, object] = {"target_id": line.target_id, "client_id": f"m{number}", "body": _BODY}
        line.sender.request(number, "message.send", draft)

    def _on_reply(self, number: int, error: str, now: float) -> None:
        line, sent = self._sent[number]
        if error:
            self._refused[error] += 1
            return
        self._answered.append(now - sent)
        self._last_reply = now
        if now < self._until:
            self._send(line)

    def _on_event(self, name: bytes, payload: bytes, now: float) -> None:
        found = _CLIENT_ID.search(payload) if name == b"message.created" else None
        number = int(found[1]) if found else 0
        if number in self._sent:
            self._delivered.setdefault(number, now - self._sent[number][1])
