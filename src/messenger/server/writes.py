"""How an answer's bytes leave: in one system call, and on the short way without a message for each part of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

FULL_RESPONSE = "messenger.full_response"
"""An ASGI extension of ours, in `scope["extensions"]`: called with `send`, a status, fields and a body.

`fields` are header lines that end with CRLF and have been checked, `content-length` among them. False, and nothing
written, where the answer has to go by `send`, as where that is not the server's own: somebody between wants to see it.
uvicorn's `send` looks at every field with two regular expressions.
"""


class CoalescedWrites:
    """A transport that holds the first write back: it goes with the second one, or when the loop's turn is over.

    uvicorn writes an answer's head and its body apart, and uvloop hands each to the kernel at once: that costs more
    than all else that uvicorn does for an answer. Nothing that ends an answer is ever held.
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
        """Write the rest, at once, behind what is held."""
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
    """The fields that uvicorn adds to each answer, as lines; it makes another list of them each second."""

    def __init__(self) -> None:
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._joined = b""

    def joined(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """These fields' lines."""
        if headers is not self._headers:
            self._joined = lines(headers)
            self._headers = headers
        return self._joined


def lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Header lines, each with its CRLF. Raises `ValueError` where one would be two."""
    joined = b"".join([b"%b: %b\r\n" % header for header in headers])
    if not joined.count(b"\r") == joined.count(b"\n") == len(headers):
        raise ValueError("a header's line has a break in it")
    return joined
