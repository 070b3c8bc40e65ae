"""The opening handshake of a WebSocket (RFC 6455 section 4.2), with refusals as problem documents."""

from __future__ import annotations

from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.http11 import Response
from websockets.server import ServerProtocol

from messenger.server.error_responses import fields, problem

_VERSION = "Sec-WebSocket-Version"


class HandshakeProtocol(ServerProtocol):
    """The library's protocol; it would refuse in plain text, and a wrong version without naming the supported one."""

    def reject(self, status: Any, text: str) -> Response:
        fault = self.handshake_exc
        refused = 426 if isinstance(fault, InvalidHeader) and fault.name == _VERSION else int(status)
        response = super().reject(refused, "")
        response.body = problem(refused)
        headers = [(name.decode(), value.decode()) for name, value in fields(refused)]
        response.headers = Headers(
            [("Date", response.headers["Date"]), ("Content-Length", str(len(response.body))), *headers]
        )
        return response
