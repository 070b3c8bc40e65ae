"""The little that is asked over HTTP, on one keep-alive connection."""

from __future__ import annotations

import asyncio
import re
from time import perf_counter
from typing import Self

import httptools
import httpx
from _server import Server

METRICS_TOKEN = "benchmarks-read-the-counts"
_COUNT = re.compile(r'^messenger_statement_seconds_count\{name="([\w.]+)"\} ([\d.]+)', re.MULTILINE)
_CURSOR = re.compile(rb'"cursor":"(e\d+)","more":(true|false)\}$')


class Connection:
    """One keep-alive connection that sends prepared bytes; a load generator in Python must do little else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._done = False
        self._body: list[bytes] = []

    @classmethod
    async def to(cls, port: int) -> Self:
        """A new one."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def on_message_complete(self) -> None:
        self._done = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    @property
    def body(self) -> bytes:
        """Of the last answer."""
        return b"".join(self._body)

    async def send(self, request: bytes) -> int:
        self._writer.write(request)
        self._done, self._body = False, []
        parser = httptools.HttpResponseParser(self)
        while not self._done:
            data = await self._reader.read(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            parser.feed_data(data)
        return int(parser.get_status_code())

    def close(self) -> None:
        self._writer.close()


async def pages(port: int, token: str, limit: int) -> tuple[float, int]:
    """Read a stream from its beginning over `GET /sync`; seconds taken, and how many events there were."""
    connection = await Connection.to(port)
    cursor, count = b"e0", 0
    started = perf_counter()
    while True:
        line = f"GET /sync?limit={limit}&cursor={cursor.decode()} HTTP/1.1\r\nHost: bench\r\n"
        status = await connection.send(f"{line}Authorization: Bearer {token}\r\n\r\n".encode())
        found = _CURSOR.search(connection.body)
        if status != 200 or found is None:
            raise RuntimeError(f"GET /sync was answered with {status}: {connection.body[:200]!r}")
        cursor = found[1]
        count += connection.body.count(b'"event":"')
        if found[2] == b"false":
            break
    connection.close()
    return perf_counter() - started, count


class Counts(dict[str, int]):
    """How often each statement ran."""

    @classmethod
    async def read(cls, server: Server) -> Self:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as http:
            answer = await http.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        return cls({name: int(float(value)) for name, value in _COUNT.findall(answer.raise_for_status().text)})

    def since(self, earlier: Self, each: int) -> str:
        """Those that ran after `earlier`, for each of so many, to print; seldom ones are passed over."""
        more = {name: (count - earlier.get(name, 0)) / each for name, count in self.items()}
        shown = sorted(more.items(), key=lambda entry: -entry[1])
        return ", ".join(f"{name} {count:.2f}" for name, count in shown if count >= 0.005)
