"""Read request bodies within their limits, and long ones only after the token has been verified."""

from __future__ import annotations

from typing import Any

from messenger.errors import MessengerError
from messenger.web.negotiation import ensure_no_content_coding
from messenger.web.queries import ensure_known_query
from messenger.web.request import WireBody

TRUSTED_BYTES = 16 * 1024
"""Bytes of a body that are read before its token is looked up."""


async def read_body(request: Any) -> None:
    """Check the query and decode the body before the handler does.

    An invalid token is reported before errors in the query or the body.
    """
    handler = request.route_handler
    is_public = bool(handler.opt.get("public"))
    try:
        if request.scope["query_string"]:
            ensure_known_query(handler, request.scope)
        if handler.handler_id in WireBody.decoders:
            ensure_no_content_coding(request.scope)
            body = await request.body() if is_public else await _signed_in_body(request)
            request.decoded = handler.resolve_data_dto()(request).decode(body)
    except MessengerError:
        if not is_public:
            await request.services.devices.authenticate(request.caller)
        raise


async def _signed_in_body(request: Any) -> bytes:
    """The whole body; after `TRUSTED_BYTES` of it, the token is looked up before more is read."""
    body = bytearray()
    is_known = False
    async for chunk in request.stream():
        body += chunk
        if len(body) > TRUSTED_BYTES and not is_known:
            await request.services.devices.authenticate(request.caller)
            is_known = True
    request.keep_body(bytes(body))
    return await request.body()  # type: ignore[no-any-return]
