"""A proxy in front of a server that breaks connections the way a network does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

Way = Literal["up", "down"]
Address = tuple[str, int]

_CHUNK = 16 * 1024
# Small kernel buffers, so that the server soon notices a device that stops reading.
_KERNEL_BYTES = 8 * 1024
_RESET = struct.pack("ii", 1, 0)


class Flow:
    """One connection through the proxy."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers

    def abort(self) -> None:
        """Reset both ends."""
        for writer in self._writers:
            end = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    def close(self) -> None:
        """Close gracefully: pending data is sent first."""
        for writer in self._writers:
            writer.close()


class Proxy:
    """Forwards to `target`, which may change: an address, or a path for Unix sockets. A planned fault happens once, to
    the first matching connection.
    """

    def __init__(self, target: Address | str, *, make_socket: Callable[[], socket.socket] = socket.socket) -> None:
        self.target = target
        self._make_socket = make_socket
        self.port = 0
        self.cuts = 0
        self._flows: set[Flow] = set()
        self._left: dict[Way, int] = {}
        self._marks: list[bytes] = []
        self._refusing = False
        self._reading = asyncio.Event()
        self._reading.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_sick(self) -> bool:
        """Whether it forwards nothing now."""
        return self._refusing or not self._reading.is_set()

    # --- what can go wrong ---

    def abort(self) -> None:
        """Reset all connections now."""
        for flow in tuple(self._flows):
            self._cut(flow)

    def cut_after(self, size: int, way: Way) -> None:
        """Reset the connection that carries the byte after this many in this direction, in the middle of the data."""
        self._left[way] = size

    def swallow(self, *marks: bytes) -> None:
        """Reset the next connection whose server sends one of these words, and withhold them from the client: the
        request was done, and the client does not know.
        """
        self._marks = list(marks)

    def hold(self) -> None:
        """Read nothing more from the server: a device that does not read."""
        self._reading.clear()

    def refuse(self, refusing: bool = True) -> None:
        """Reset existing and new connections."""
        self._refusing = refusing
        if refusing:
            self.abort()

    def heal(self) -> None:
        """Forward again; broken connections stay broken."""
        self._left.clear()
        self._marks.clear()
        self._refusing = False
        self._reading.set()

    # --- carrying ---

    def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flow = Flow(writer)
        try:
            if self._refusing:
                return
            there = await asyncio.open_connection(sock=await self._dial(), limit=_CHUNK)
            flow = Flow(writer, there[1])
            self._flows.add(flow)
            ways = self._carry(flow, reader, there[1], "up"), self._carry(flow, there[0], writer, "down")
            carrying = [asyncio.create_task(way) for way in ways]
            try:
                done, _ = await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
                flow.close()
            finally:
                for each in carrying:
                    each.cancel()
                await asyncio.gather(*carrying, return_exceptions=True)
        except OSError:
            # A broken end, or an unavailable server, resets the connection.
            flow.abort()
        finally:
            self._flows.discard(flow)
            flow.close()

    async def _carry(self, flow: Flow, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        """Forward until either end has finished or failed."""
        while data := await reader.read(_CHUNK):
            if way == "down":
                await self._reading.wait()
            kept = self._kept(data, way)
            writer.write(data[:kept])
            if kept < len(data):
                self._cut(flow)
                return
            await writer.drain()

    def _kept(self, data: bytes, way: Way) -> int:
        """How much of the data is forwarded; less than all: the connection is cut there."""
        if way == "down" and any(mark in data for mark in self._marks):
            self._marks.clear()
            return 0
        left = self._left.pop(way, None)
        if left is None or left > len(data):
            if left is not None:
                self._left[way] = left - len(data)
            return len(data)
        # The excess byte is in this data, or is the next one.
        return min(left, len(data) - 1)

    def _cut(self, flow: Flow) -> None:
        self.cuts += 1
        self._flows.discard(flow)
        flow.abort()

    async def _dial(self) -> socket.socket:
        there = self._make_socket()
        there.setblocking(False)
        there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
        try:
            await asyncio.get_running_loop().sock_connect(there, self.target)
        except BaseException:
            there.close()
            raise
        return there
