"""Parameters that many routes share."""

from __future__ import annotations

from typing import Annotated, Any

from litestar.params import PathParameter, QueryParameter

from messenger.errors import FieldError, ValidationFailed
from messenger.web.bodies import read_body

PageLimit = Annotated[int, QueryParameter(ge=1, le=200, description="Maximum number of items to return")]
IdCursor = Annotated[str | None, QueryParameter(pattern=r"^[0-9]{1,16}$", description="`next` from the previous page")]
PeerPath = Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="ID of the user")]


async def read_request(request: Any) -> None:
    """Before a handler: refuse a parameter that is `null`, then decode the body. Raises `ValidationFailed`.

    msgspec decodes the text `null` as an absent value, so a client that sends it by mistake would get a different
    result: `GET /sync?cursor=null` would skip to the newest event.
    """
    if request.scope["query_string"]:
        _ensure_no_null(request)
    await read_body(request)


# Parameters that name users, who may be called "null".
_NAMES = frozenset({"username", "query"})


def name_parameter(request: Any, name: str, decoded: str | None) -> str | None:
    """A parameter that names users, as sent: msgspec decodes the text `null` as an absent value."""
    value: str | None = request.query_params.get(name) if decoded is None else decoded
    return value


def _ensure_no_null(request: Any) -> None:
    optional = {
        getattr(parameter.kwarg_definition, "name", None) or name
        for name, parameter in request.route_handler.parsed_fn_signature.parameters.items()
        if parameter.is_optional
    }
    for name, value in request.query_params.multi_items():
        if name in optional - _NAMES and value.lower() == "null":
            fault = FieldError(name, "wrong_type", "leave the parameter out instead of sending null")
            raise ValidationFailed(f"{name}: {fault.message}", errors=(fault,))
