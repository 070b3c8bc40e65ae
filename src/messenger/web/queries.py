"""Query strings: refuse parameters that an operation does not define."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Any
from urllib.parse import parse_qsl

from litestar.handlers import HTTPRouteHandler

from messenger.errors import FieldError, UnknownField

ANY_QUERY: dict[str, Any] = {"any_query": True}
"""The option of routes that ignore their query."""

_MAX_FAULTS = 20
_NO_PARAMETERS = frozenset({"request", "data"})
_PATH_PARAMETER = re.compile(r"\{(\w+)")
_known: dict[str, frozenset[str]] = {}


def ensure_known_query(handler: HTTPRouteHandler, scope: Any) -> None:
    """Refuse unknown parameters, except on pages and health checks. Raises `UnknownField`."""
    if not handler.opt.get("any_query") and "OPTIONS" not in handler.http_methods:
        ensure_known_parameters(scope, _names(handler))


def ensure_known_parameters(scope: Any, known: Set[str]) -> None:
    """Raises `UnknownField`."""
    given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    unknown = list(dict.fromkeys(name[:200] for name, _ in given if name not in known))[:_MAX_FAULTS]
    if unknown:
        errors = tuple(FieldError(name, UnknownField.code, "unknown parameter") for name in unknown)
        raise UnknownField(f"{unknown[0]}: unknown parameter", errors=errors)


def _names(handler: HTTPRouteHandler) -> frozenset[str]:
    """The names of a handler's query parameters on the wire."""
    names = _known.get(handler.handler_id)
    if names is None:
        in_path = {name for path in handler.paths for name in _PATH_PARAMETER.findall(path)}
        names = _known[handler.handler_id] = frozenset(
            getattr(parameter.kwarg_definition, "name", None) or name
            for name, parameter in handler.parsed_fn_signature.parameters.items()
            if name not in in_path | _NO_PARAMETERS
        )
    return names
