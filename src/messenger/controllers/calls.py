"""Calls."""

from __future__ import annotations

from litestar import Controller, get

from messenger.errors import RateLimited
from messenger.schemas.calls import IceServersView
from messenger.web.request import WireRequest
from messenger.web.route_options import authenticated


class CallController(Controller):
    """Voice and video calls."""

    tags = ("Calls",)

    @get(
        "/ice_servers",
        operation_id="getIceServers",
        summary="List STUN and TURN servers with time-limited credentials",
        **authenticated(RateLimited),
    )
    async def ice_servers(self, request: WireRequest) -> IceServersView:
        return await request.services.calls.ice_servers(request.caller)
