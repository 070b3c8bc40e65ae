"""The WebSocket in the OpenAPI document, which has no notation for it: frames as schemas, and close codes."""

from __future__ import annotations

from typing import Any

from messenger.realtime import frames
from messenger.schemas.realtime import CallSignalView, ReceiptCountsView, TypingView
from messenger.schemas.users import StatusView
from messenger.web.openapi.schemas import REFERENCE, portable, reference, schemas_of
from messenger.web.socket_methods import METHODS

_SERVER_FRAMES = {
    "welcome": ("WelcomeFrame", frames.Welcome, "The first frame. `heartbeat`: seconds between pings"),
    "caught_up": ("CaughtUpFrame", frames.CaughtUp, "All events up to `cursor` were sent; live events follow."),
    "resync": ("ResyncFrame", frames.Resync, "The cursor has expired: reload the state; events continue at `cursor`."),
}
_SIGNALS = {"typing": TypingView, "presence": StatusView, "call.signal": CallSignalView, "receipts": ReceiptCountsView}
_NUMBER = {"type": "integer", "format": "int64", "description": "Chosen by the client; repeated in the reply"}

CLOSE_CODES = {
    1003: "Wrong kind of frame: text for MessagePack, or binary for JSON",
    1007: "A text frame is not valid UTF-8",
    1009: "A frame is too large",
    frames.INTERNAL_ERROR: "Internal server error; reconnect with increasing delays",
    frames.RESTART: "The server restarts; reconnect after `retry_after=SECONDS` of the close reason",
    frames.SIGNED_OUT: "The device was signed out; do not reconnect",
    frames.TIMED_OUT: "Nothing was received for too long; reconnect",
    frames.REPLACED: "The same device opened another socket; do not reconnect",
    frames.TOO_MANY_FRAMES: "Too many frames; reconnect after a minute",
}
_DESCRIPTION = """\
A WebSocket (RFC 6455). A plain `GET` is answered with 426; a refused handshake is answered with a problem.

The subprotocol `messenger.json` (the default) sends JSON in text frames, `messenger.msgpack` sends MessagePack in
binary frames. The server sends `ServerFrame`s, the client sends `ClientFrame`s. A reply has the same problems as the
HTTP operation of the same name, and `unknown_method` (400) for any other method; `retry_after` is in the problem.

Close codes:

"""


def describe_socket(document: dict[str, Any]) -> None:
    """Describe the handshake, the frames and the close codes."""
    schemas = document["components"]["schemas"]
    operation = document["paths"]["/ws"]["get"]
    # The framework only knows HTTP, and documents a 200.
    operation["responses"]["101"] = operation["responses"].pop("200")
    operation["description"] = _DESCRIPTION + "\n".join(f"- {code}: {text}" for code, text in CLOSE_CODES.items())
    operation["x-websocket"] = {
        "serverFrames": reference("ServerFrame"),
        "clientFrames": reference("ClientFrame"),
        "closeCodes": {str(code): text for code, text in CLOSE_CODES.items()},
    }
    drafts = {name: method.json.type for name, method in METHODS.items()}
    kinds = [*_SIGNALS.values(), *drafts.values(), *(kind for _, kind, _ in _SERVER_FRAMES.values())]
    described = portable(schemas_of(kinds))
    for name, kind, description in _SERVER_FRAMES.values():
        schemas[name] = {**described.pop(kind.__name__), "title": name, "description": description}
    for name, schema in described.items():
        schemas.setdefault(name, schema)
    _add_signals(schemas)
    _add_requests(schemas, drafts)
    schemas["ReplyFrame"] = _REPLY
    server = {kind: name for kind, (name, _, _) in _SERVER_FRAMES.items()}
    server |= {"event": "EventFrame", "signal": "SignalFrame", "reply": "ReplyFrame"}
    schemas["ServerFrame"] = _one_of("ServerFrame", "type", server)


def _add_signals(schemas: dict[str, Any]) -> None:
    names = {}
    for event, view in _SIGNALS.items():
        name = names[event] = _camel(event.removesuffix(".signal")) + "Signal"
        schemas[name] = _frame(name, {"type": "signal", "event": event}, data=reference(view.__name__))
    schemas["SignalFrame"] = _one_of("SignalFrame", "event", names)


def _add_requests(schemas: dict[str, Any], drafts: dict[str, Any]) -> None:
    names = {}
    for method, draft in drafts.items():
        name = names[method] = _camel(method) + "Request"
        frame = _frame(name, {"type": "request", "method": method}, id=_NUMBER, data=reference(draft.__name__))
        if not schemas[draft.__name__]["properties"]:
            frame["required"].remove("data")
        schemas[name] = frame
    schemas["ClientFrame"] = _one_of("ClientFrame", "method", names)


_REPLY = {
    "title": "ReplyFrame",
    "type": "object",
    "description": "The response to a request: `data`, or a problem as `error`.",
    "properties": {
        "type": {"type": "string", "const": "reply"},
        "id": {**_NUMBER, "type": ["integer", "null"], "description": "null if the request could not be read"},
        "data": {"description": "The response body of the HTTP operation; null if it has no content"},
        "error": reference("Problem"),
    },
    "required": ["type", "id"],
}


def _frame(name: str, constants: dict[str, str], **others: dict[str, Any]) -> dict[str, Any]:
    properties = {key: {"type": "string", "const": value} for key, value in constants.items()} | others
    return {"title": name, "type": "object", "properties": properties, "required": list(properties)}


def _one_of(title: str, key: str, names: dict[str, str]) -> dict[str, Any]:
    mapping = {value: REFERENCE.format(name=name) for value, name in names.items()}
    return {
        "title": title,
        "type": "object",
        "oneOf": [{"$ref": target} for target in mapping.values()],
        "discriminator": {"propertyName": key, "mapping": mapping},
    }


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace("_", ".").split("."))
