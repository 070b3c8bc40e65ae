"""Writes a response in one system call, and without ASGI messages if the application passes it as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

FULL_RESPONSE = "messenger.full_response"
"""Our ASGI extension in `scope["extensions"]`: it is called with `send`, a status, fields and a body.

`fields` are checked header lines that end with CRLF, including `content-length`. It writes nothing and returns False if
the response must be sent by `send`, for example because a middleware has replaced the server's `send`. It is faster:
uvicorn's `send` matches each field against two regular expressions.
"""


class CoalescedWrites:
    """A transport that delays the first write until the second one, or until the next iteration of the loop.

    uvicorn writes the head and the body of a response separately, and uvloop passes each to the kernel at once, which
    costs more than the rest of uvicorn's work for a response. The last write of a response is never delayed.
    """

    __slots__ = ("_held", "_is_first", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""
        self._is_first = True

    def write(self, data: bytes) -> None:
        if self._is_first:
            self._is_first = False
            self._held = data
            asyncio.get_running_loop().call_soon(self._let_go)
            return
        if self._held:
            data, self._held = self._held + data, b""
        self._transport.write(data)

    def write_all(self, data: bytes) -> None:
        """Write the rest of the response at once, after the delayed data."""
        self._is_first = False
        if self._held:
            self.write(data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class DefaultHeaders:
    """The header lines that uvicorn adds to each response; it creates a new list of them every second."""

    def __init__(self) -> None:
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._joined = b""

    def joined(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """The header lines, cached while the list is the same object."""
        if headers is not self._headers:
            self._joined = lines(headers)
            self._headers = headers
        return self._joined


def lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The headers as lines that end with CRLF. Raises `ValueError` for a line break within a header."""
    joined = b"".join([b"%b: %b\r\n" % header for header in headers])
    if not joined.count(b"\r") == joined.count(b"\n") == len(headers):
        raise ValueError("a header contains a line break")
    return joined
