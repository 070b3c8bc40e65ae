"""A proxy between the client and the server that can refuse or drop connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

_REFUSAL = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<html>no\n"
)


class Proxy:
    """A TCP proxy of one server. `refuses_upgrades`: a WebSocket gets a page instead."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self.url = ""
        self.refuses_upgrades = False
        self.refused = 0
        self._lines: list[asyncio.StreamWriter] = []
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def freeze(self) -> None:
        """Open connections stay open and transfer nothing more; new connections work."""
        for pump in self._pumps:
            pump.cancel()
        self._pumps.clear()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.freeze()
        for line in self._lines:
            line.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.append(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        if self.refuses_upgrades and b"upgrade: websocket" in head.lower():
            self.refused += 1
            writer.write(_REFUSAL)
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._lines.append(far_writer)
        far_writer.write(head)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(_pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(65536):
            sink.write(chunk)
        sink.close()
    except OSError:
        sink.close()


@asynccontextmanager
async def proxying(url: str) -> AsyncIterator[Proxy]:
    """A proxy of this server."""
    proxy = Proxy(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
