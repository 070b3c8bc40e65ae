"""The load: connections that send the next prepared request as soon as the response is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple, cast

_LENGTH = b"\r\ncontent-length: "


class Load(NamedTuple):
    """The number of responses, and the seconds that they took."""

    answers: int
    seconds: float


class Unexpected(Exception):
    """A response that differs from the expected one."""


class Expected(NamedTuple):
    """The expected response of a workload: a status, and a body of about this length."""

    status: int
    length: int

    def check(self, status: int, length: int, answer: bytes) -> None:
        """Raises `Unexpected`."""
        if status != self.status or not 0.9 * self.length <= length <= 1.1 * self.length + 8:
            raise Unexpected(f"{status} with {length} bytes instead of {self.status} with {self.length}: {answer!r}")


class _Line(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, requests: Iterator[bytes], expected: Expected, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._expected = expected
        self._done = done
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._length = self._missing = 0
        self.count = 0
        self.until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def start(self, until: float) -> None:
        """Send requests until this time."""
        self.until = until
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._head = b""
        self._missing = -1
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        if self._missing > 0:
            self._missing -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            start = self._head.lower().find(_LENGTH, 0, end) + len(_LENGTH)
            self._length = int(self._head[start : self._head.find(b"\r", start)])
            self._missing = self._length - (len(self._head) - end - 4)
        if self._missing > 0:
            return
        self.count += 1
        try:
            self._expected.check(int(self._head[9:12]), self._length, self._head)
        except Unexpected as error:
            self._end(error)
            return
        if perf_counter() < self.until:
            self._send()
        else:
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("the server closed the connection"))

    def _end(self, error: Exception | None = None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def load(port: int, requests: Iterator[bytes], expected: Expected, *, connections: int, seconds: float) -> Load:
    """Send requests over this many connections for this long. Raises `Unexpected`, `OSError`."""
    loop = asyncio.get_running_loop()
    lines: list[_Line] = []
    ends = [loop.create_future() for _ in range(connections)]
    try:
        for end in ends:
            _, line = await loop.create_connection(lambda end=end: _Line(requests, expected, end), "127.0.0.1", port)  # type: ignore[misc]
            lines.append(line)
        started = perf_counter()
        for line in lines:
            line.start(started + seconds)
        await asyncio.gather(*ends)
        return Load(sum(line.count for line in lines), perf_counter() - started)
    finally:
        for line, end in zip(lines, ends, strict=False):
            end.cancel()
            line.close()
