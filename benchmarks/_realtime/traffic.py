"""Messages at a fixed rate, regardless of the server's speed (an open loop), with the times of arrival and reply."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter, process_time
from typing import NamedTuple

from _realtime.sockets import Socket

_CLIENT_ID = re.compile(rb'"client_id":"m(\d+)"')
_numbers = itertools.count(1)
_GRACE_SECONDS = 20.0


class Line(NamedTuple):
    """A sender and its recipient."""

    sender: Socket
    target_id: int


class Sample(NamedTuple):
    """Seconds of each message: until its recipient had it, until its sender was told that it is durable, and how late
    it was written because the generator had other things to do.

    `sent`: how many; `lost`: acknowledged, and never seen by the recipient; `refused`: answered with an error, by its
    code; `generator`: its share of a core.
    """

    delivered: list[float]
    answered: list[float]
    late: list[float]
    sent: int
    lost: int
    refused: Counter[str]
    generator: float


def refusals(samples: Sequence[Sample]) -> str:
    """The numbers of refusals by error code, to print."""
    codes = sum((sample.refused for sample in samples), Counter[str]())
    return ", ".join(f"{count} {code}" for code, count in codes.items()) or "0"


class Traffic:
    """Sends over lines in turns; `receivers` are the sockets at which messages arrive."""

    def __init__(self, lines: Sequence[Line], receivers: Sequence[Socket], body: str = "Hello " * 10) -> None:
        self._lines = itertools.cycle(lines)
        self._body = body
        self._sent: dict[int, float] = {}
        self._delivered: dict[int, float] = {}
        self._answered: dict[int, float] = {}
        self._refused: Counter[str] = Counter()
        for line in lines:
            line.sender.on_reply = self._on_reply
        for socket in receivers:
            socket.on_event = self.on_event

    async def run(self, rate: float, count: int, *, wait: Callable[[], bool] | None = None) -> Sample:
        """Send `count` messages at `rate` a second; wait until all have arrived, or for `wait` instead."""
        self._sent, self._delivered, self._answered = {}, {}, {}
        self._refused = Counter()
        late = []
        used, started = process_time(), perf_counter()
        for number in range(count):
            due = started + number / rate
            await asyncio.sleep(max(0.0, due - perf_counter()))
            late.append(perf_counter() - due)
            self._send()
        share = (process_time() - used) / (perf_counter() - started)
        await until(wait or self.is_complete, _GRACE_SECONDS)
        return Sample(
            list(self._delivered.values()),
            list(self._answered.values()),
            late,
            count,
            self.missing(),
            self._refused,
            share,
        )

    def on_event(self, name: bytes, payload: bytes, now: float) -> None:
        """An event that a receiver has received."""
        if name != b"message.created":
            return
        found = _CLIENT_ID.search(payload)
        number = int(found[1]) if found else 0
        if number in self._sent:
            self._delivered.setdefault(number, now - self._sent[number])

    def _send(self) -> None:
        number = next(_numbers)
        line = next(self._lines)
        data: dict[str, object] = {"target_id": line.target_id, "client_id": f"m{number}", "body": self._body}
        self._sent[number] = perf_counter()
        line.sender.request(number, "message.send", data)

    def is_answered(self) -> bool:
        """Whether the server has acknowledged all messages."""
        return len(self._answered) + self._refused.total() == len(self._sent)

    def missing(self) -> int:
        """The number of messages that were not refused and have not arrived."""
        return len(self._sent) - self._refused.total() - len(self._delivered)

    def is_complete(self) -> bool:
        """Whether all messages have also arrived."""
        return self.is_answered() and not self.missing()

    def _on_reply(self, number: int, error: str, now: float) -> None:
        if number not in self._sent:
            return
        if error:
            self._refused[error] += 1
        else:
            self._answered[number] = now - self._sent[number]


async def until(done: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; returns whether it became true in time."""
    end = perf_counter() + seconds
    while not done():
        if perf_counter() > end:
            return False
        await asyncio.sleep(0.01)
    return True
