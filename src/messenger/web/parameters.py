"""Parameters that many routes share."""

from __future__ import annotations

from typing import Annotated, Any

from litestar.params import PathParameter, QueryParameter

from messenger.errors import FieldError, ValidationFailed
from messenger.web.bodies import read_body

PageLimit = Annotated[int, QueryParameter(ge=1, le=200, description="Maximum number of items to return")]
PeerPath = Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="ID of the user")]


async def read_request(request: Any) -> None:
    """Before a handler: refuse a parameter that is `null`, then decode the body. Raises `ValidationFailed`.

    msgspec decodes the text `null` as an absent value, so a client that sends it by mistake would get a different
    result: `GET /sync?cursor=null` would skip to the newest event.
    """
    if request.scope["query_string"]:
        _ensure_no_null(request)
    await read_body(request)


def _ensure_no_null(request: Any) -> None:
    optional = {
        getattr(parameter.kwarg_definition, "name", None) or name
        for name, parameter in request.route_handler.parsed_fn_signature.parameters.items()
        if parameter.is_optional
    }
    for name, value in request.query_params.multi_items():
        if name in optional and value.lower() == "null":
            fault = FieldError(name, "wrong_type", "leave the parameter out instead of sending null")
            raise ValidationFailed(f"{name}: {fault.message}", errors=(fault,))
