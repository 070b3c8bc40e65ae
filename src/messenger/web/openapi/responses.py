"""The responses in the OpenAPI document: headers, problem codes, and examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from litestar.openapi.datastructures import ResponseSpec

from messenger.errors import MessengerError, MethodNotAllowed, NotFound, Overloaded
from messenger.web.openapi.examples import problem_example
from messenger.web.openapi.schemas import portable, reference
from messenger.web.problems import MEDIA_TYPE
from messenger.web.route_options import ProblemSpec

_SUCCESSES = {"200": "Success", "201": "Created", "204": "Success; the response has no content"}
_DESCRIPTIONS = {
    "exportAccount": {"200": "The archive"},
    "getAvatar": {"200": "The image"},
    "getReadiness": {
        "200": "The server is ready",
        "503": "Not ready, see `checks`; or `overloaded`",
    },
    "getLiveness": {"200": "The process responds"},
    "getMetrics": {"200": "Metrics in the Prometheus text format"},
    "issueTicket": {"201": "The ticket"},
    "openSocket": {"101": "Switching to WebSocket"},
    "register": {"201": "The account, its first device and its tokens"},
    "sendMessage": {
        "200": "This `client_id` was already used: the original message; nothing new was sent",
        "201": "The new message",
    },
    "storeSecret": {"201": "The new version"},
    "uploadAvatar": {"201": "The new avatar"},
}

HEADERS = {
    "Allow": ("The methods that the path supports", "GET, HEAD, OPTIONS"),
    "Cache-Control": ("The image never changes", "public, max-age=31536000, immutable"),
    "Content-Disposition": ("The name of the file", 'attachment; filename="account.zip"'),
    "ETag": ("The version of the resource; pass it as `If-Match`", '"3"'),
    "RateLimit": ("The limit that was exceeded: requests left, and seconds until there are more", '"message";r=0;t=3'),
    "RateLimit-Policy": ("The limit that was exceeded: its quota and its window in seconds", '"message";q=120;w=60'),
    "Retry-After": ("Seconds to wait before the next attempt", 3),
    "Upgrade": ("The protocol to upgrade to", "websocket"),
    "WWW-Authenticate": ("The authentication scheme", "Bearer"),
}
"""All headers in the document, with description and example."""

_OF_STATUSES = {
    "401": ("WWW-Authenticate",),
    "426": ("Upgrade",),
    "429": ("Retry-After", "RateLimit", "RateLimit-Policy"),
    "503": ("Retry-After",),
    "507": ("Retry-After",),
}
_OF_SUCCESSES = {
    "exportAccount": ("Content-Disposition",),
    "getAvatar": ("ETag", "Cache-Control"),
    "getGroup": ("ETag",),
    "getProfile": ("ETag",),
    "getSecret": ("ETag",),
    "storeSecret": ("ETag",),
    "updateGroup": ("ETag",),
    "updateProfile": ("ETag",),
}

_INVALID = ("malformed_request", "validation_failed")
_INVALID_BODY = ("malformed_body", "malformed_request", "unknown_field", "validation_failed")
_SCHEMA_NAMES = {
    _INVALID: "InvalidParameterProblem",
    _INVALID_BODY: "InvalidBodyProblem",
    ("cannot_target_self", *_INVALID_BODY): "InvalidTargetProblem",
    ("database_unavailable", "overloaded"): "UnavailableProblem",
}


def describe_headers() -> dict[str, Any]:
    """The headers as components."""
    return {
        name: {
            "description": description,
            "required": True,
            "schema": portable({"type": "integer" if isinstance(example, int) else "string", "examples": [example]}),
        }
        for name, (description, example) in HEADERS.items()
    }


def describe_responses(operation: dict[str, Any], specs: Mapping[int, ResponseSpec], schemas: dict[str, Any]) -> None:
    """Complete the responses of an operation from its handler's specs."""
    name = operation["operationId"]
    operation["responses"] = dict(sorted(operation["responses"].items()))
    for status, answer in operation["responses"].items():
        answer.pop("headers", None)
        spec = specs.get(int(status))
        if isinstance(spec, ProblemSpec):
            unmatched = status == "404" and _has_typed_path(operation) and NotFound not in spec.errors
            errors = (*spec.errors, NotFound) if unmatched else spec.errors
            answer["description"] = _description(errors)
            answer["content"] = {MEDIA_TYPE: _problems(errors, operation, schemas)}
        else:
            answer["description"] = _DESCRIPTIONS.get(name, {}).get(status) or _SUCCESSES[status]
            if int(status) == Overloaded.status:
                # A worker with too many connections refuses requests before it calls a handler.
                answer["content"][MEDIA_TYPE] = _problems((Overloaded,), operation, schemas)
        headers = _OF_STATUSES.get(status, ()) if int(status) >= 400 else _OF_SUCCESSES.get(name, ())
        if headers:
            answer["headers"] = _headers(headers)


def _has_typed_path(operation: dict[str, Any]) -> bool:
    """Whether a path parameter must be a number or a UUID: other text is an unknown path."""
    parameters = [each["schema"] for each in operation.get("parameters", ()) if each["in"] == "path"]
    return any(schema["type"] != "string" or "format" in schema for schema in parameters)


def _description(errors: tuple[type[MessengerError], ...]) -> str:
    return "; ".join(f"`{error.code}`: {error.title}" for error in errors)


def _problems(
    errors: tuple[type[MessengerError], ...], operation: dict[str, Any], schemas: dict[str, Any]
) -> dict[str, Any]:
    """The content for these problems; each set of codes has a named component schema."""
    name = _schema_name(tuple(error.code for error in errors), operation, errors[0].status)
    codes = {"type": "string", "enum": [error.code for error in errors]}
    schemas[name] = {
        "title": name,
        "description": _description(errors),
        "allOf": [reference("Problem"), {"type": "object", "properties": {"code": codes}, "required": ["code"]}],
    }
    examples = {
        error.code: {"summary": error.title, "value": problem_example(error, operation, schemas)} for error in errors
    }
    return {"schema": reference(name), "examples": examples}


def _schema_name(codes: tuple[str, ...], operation: dict[str, Any], status: int) -> str:
    if len(codes) <= 2 and codes not in _SCHEMA_NAMES:
        return "Or".join(map(_camel, codes)) + "Problem"
    name: str = operation.get("operationId", "")
    return _SCHEMA_NAMES.get(codes, f"{name[:1].upper()}{name[1:]}{status}Problem")


def share_responses(document: dict[str, Any]) -> None:
    """Move problem responses that several operations share to the components.

    The components also include the responses to unknown paths and methods, which belong to no operation.
    """
    uses: dict[str, list[tuple[dict[str, Any], str]]] = defaultdict(list)
    for operation in (each for path in document["paths"].values() for each in path.values()):
        for status, answer in operation["responses"].items():
            if problems := answer.get("content", {}).get(MEDIA_TYPE):
                name = problems["schema"]["$ref"].rpartition("/")[2].removesuffix("Problem")
                uses[name].append((operation["responses"], status))
    shared = document["components"]["responses"] = _responses_without_operation(document["components"]["schemas"])
    for name, places in sorted(uses.items()):
        answers = [responses[status] for responses, status in places]
        if len(answers) > 1 and all(answer == answers[0] for answer in answers):
            shared[name] = answers[0]
            for responses, status in places:
                responses[status] = {"$ref": f"#/components/responses/{name}"}


def _responses_without_operation(schemas: dict[str, Any]) -> dict[str, Any]:
    answers = {}
    for error in (NotFound, MethodNotAllowed):
        content = {MEDIA_TYPE: _problems((error,), {}, schemas)}
        answers[_camel(error.code)] = {"description": f"`{error.code}`: {error.title}", "content": content}
    answers[_camel(MethodNotAllowed.code)]["headers"] = _headers(("Allow",))
    return answers


def _headers(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _camel(code: str) -> str:
    return "".join(word.capitalize() for word in code.split("_"))
