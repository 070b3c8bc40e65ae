"""The event stream over long poll and over a WebSocket."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller, WebSocket, get, post, websocket
from litestar.params import QueryParameter

from messenger.errors import CursorExpired, OriginNotAllowed, UpgradeRequired
from messenger.schemas.realtime import CURSOR_PATTERN, SyncView, TicketView
from messenger.web.handshakes import SOCKET_PATH
from messenger.web.parameters import PageLimit
from messenger.web.request import WireRequest
from messenger.web.route_options import authenticated
from messenger.web.sockets import serve

MAX_WAIT = 30

CursorQuery = Annotated[
    str | None,
    QueryParameter(pattern=CURSOR_PATTERN, description="Resume after this cursor; omit to start now"),
]


class RealtimeController(Controller):
    """The event stream: ordered, without gaps."""

    tags = ("Realtime",)

    @get(
        "/sync",
        operation_id="sync",
        summary="List events after the cursor, optionally waiting for one",
        **authenticated(CursorExpired, query=True, fast=True),
    )
    async def sync(
        self,
        request: WireRequest,
        cursor: CursorQuery = None,
        limit: PageLimit = 50,
        wait: Annotated[
            float,
            QueryParameter(ge=0, le=MAX_WAIT, description="Seconds to wait for the first event"),
        ] = 0,
    ) -> SyncView:
        return await request.services.sync.sync(request.caller, cursor=cursor, limit=limit, wait=wait)

    @post(
        "/ws/ticket",
        operation_id="issueTicket",
        summary="Issue a single-use ticket that opens a WebSocket from a browser",
        **authenticated(),
    )
    async def ticket(self, request: WireRequest) -> TicketView:
        return await request.services.streams.issue_ticket(request.caller)

    @get(
        SOCKET_PATH,
        operation_id="openSocket",
        summary="Open the WebSocket: replays events after the cursor, then continues live",
        description="Frames are in `docs/api/realtime.md`. A request without an upgrade returns 426.",
        **authenticated(UpgradeRequired, OriginNotAllowed, query=True),
    )
    async def upgrade(
        self,
        request: WireRequest,
        cursor: CursorQuery = None,
        ticket: Annotated[
            str | None, QueryParameter(max_length=128, description="Replaces the `Authorization` header")
        ] = None,
    ) -> None:
        await request.services.devices.authenticate(request.caller)
        raise UpgradeRequired

    @websocket(SOCKET_PATH)
    async def socket(self, socket: WebSocket[Any, Any, Any]) -> None:
        await serve(socket)
