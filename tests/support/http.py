"""The API as the OpenAPI document describes it, and a witness that compares every response with it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, cast

import httpx
import msgspec
from litestar import Litestar

from messenger.openapi_export import openapi_json
from tests.support.openapi_schema import faults, resolve

DOCUMENT: dict[str, Any] = msgspec.json.decode(openapi_json())
MSGPACK = "application/msgpack"
PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "errors"}
CANARY = "canary-9f31c7-password"
"""A secret that no response may contain."""

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
TIMESTAMP = re.compile(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
UUID7 = re.compile(r"\A[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
_LEAKS = re.compile(r"Traceback|SELECT |INSERT INTO|UPDATE \w+ SET|asyncpg|sqlalchemy|msgspec|/src/messenger|\.py\b")
_PARAMETER = re.compile(r"\{\w+\}")


class Operation(NamedTuple):
    """One method of one path."""

    id: str
    method: str
    path: str
    definition: dict[str, Any]

    @property
    def needs_token(self) -> bool:
        security: list[dict[str, Any]] = self.definition.get("security", DOCUMENT["security"])
        return {} not in security

    @property
    def body_schema(self) -> dict[str, Any] | None:
        """The schema of a JSON body; None for a route without one, and for a form."""
        content = self.definition.get("requestBody", {}).get("content", {})
        schema: dict[str, Any] | None = content.get("application/json", {}).get("schema")
        return schema

    @property
    def has_body(self) -> bool:
        return "requestBody" in self.definition

    def parameters(self, where: str) -> list[str]:
        return [parameter["name"] for parameter in self.definition.get("parameters", ()) if parameter["in"] == where]

    def url(self, **values: object) -> str:
        """The path with these values, and with nonexistent ones for the other parameters."""
        known = {
            "key": "0" * 64,
            "device_id": "019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f",
            "message_id": "019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f",
            "user_id": 99_999_999_999,
            "target_id": 99_999_999_999,
            "group_id": 99_999_999_999,
            "link_id": "019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f",
            "token": "0" * 32,
        }
        path = self.path
        for name in self.parameters("path"):
            path = path.replace(f"{{{name}}}", str(values.get(name, known[name])))
        return path


def _resolved(definition: dict[str, Any]) -> dict[str, Any]:
    """An operation with its responses, shared ones resolved."""
    return {
        **definition,
        "responses": {status: resolve(DOCUMENT, each) for status, each in definition["responses"].items()},
    }


OPERATIONS = [
    Operation(definition["operationId"], method.upper(), path, _resolved(definition))
    for path, methods in DOCUMENT["paths"].items()
    for method, definition in methods.items()
]
GUARDED = [operation for operation in OPERATIONS if operation.needs_token]
WITH_JSON = [operation for operation in OPERATIONS if operation.body_schema is not None]
OPERATION = {operation.id: operation for operation in OPERATIONS}


def operation_of(method: str, path: str) -> Operation | None:
    """The operation that a request addresses."""
    for operation in OPERATIONS:
        # The more specific of two paths comes first: no operation has a parameter where another has a literal.
        if operation.method == method and re.fullmatch(
            _PARAMETER.sub("[^/]+", operation.path).rstrip("/") + "/?", path
        ):
            return operation
    return None


def decoded(response: httpx.Response) -> Any:
    """The body of an answer in JSON or MessagePack."""
    if response.headers["content-type"] == MSGPACK:
        return msgspec.msgpack.decode(response.content)
    return msgspec.json.decode(response.content)


class Witness:
    """Compares every response of a client with the document, and records differences."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    async def see(self, response: httpx.Response) -> None:
        """An event hook of httpx."""
        await response.aread()
        where = f"{response.request.method} {response.request.url.path[:80]}: {response.status_code}"
        self.faults += [f"{where}: {fault}" for fault in self._faults(response)]

    def _faults(self, response: httpx.Response) -> list[str]:
        found = [name for name, value in SECURITY_HEADERS.items() if response.headers.get(name) != value]
        if "content-security-policy" not in response.headers or "cache-control" not in response.headers:
            found.append("no content-security-policy or cache-control")
        code = ""
        if response.status_code >= 400 and response.request.method != "HEAD":
            found += problem_faults(response)
            code = problem_code(response)
        operation = operation_of(response.request.method, response.request.url.path)
        # A path without a route has no entry in the document either.
        if operation is not None and code != "method_not_allowed":
            found += document_faults(operation, response)
        return found


def problem_code(response: httpx.Response) -> str:
    """The code of a problem document, or nothing."""
    if response.headers.get("content-type") != "application/problem+json":
        return ""
    return str(response.json().get("code", ""))


def problem_faults(response: httpx.Response) -> list[str]:
    """Faults that any refusal can have."""
    if response.headers.get("content-type") != "application/problem+json":
        # The readiness check has a different body.
        return [] if response.request.url.path == "/health/ready" else [f"no problem: {response.text[:80]}"]
    problem = response.json()
    found = [f"a key is missing: {PROBLEM_KEYS - set(problem)}"] if not set(problem) >= PROBLEM_KEYS else []
    found += list(faults(DOCUMENT, {"$ref": "#/components/schemas/Problem"}, problem))
    if problem["status"] != response.status_code:
        found.append("another status in the body")
    if response.status_code == 401 and response.headers.get("www-authenticate") != "Bearer":
        found.append("no WWW-Authenticate")
    if _LEAKS.search(response.text) or CANARY in response.text:
        found.append(f"it tells too much: {response.text[:200]}")
    return found


def document_faults(operation: Operation, response: httpx.Response) -> list[str]:
    """Differences between a response and the document."""
    definition = operation.definition["responses"].get(str(response.status_code))
    if definition is None:
        return [f"{operation.id} doesn't document this status ({problem_code(response)})"]
    found = [f"{operation.id} documents the header {name}" for name in _absent_headers(definition, response)]
    media_type = response.headers.get("content-type", "").partition(";")[0]
    if media_type not in definition.get("content", {"": None}):
        return [f"{operation.id} doesn't document {media_type}"]
    if response.request.method == "HEAD" or media_type not in {"application/json", "application/problem+json", MSGPACK}:
        return found
    return [*found, *faults(DOCUMENT, definition["content"][media_type]["schema"], decoded(response))]


def _absent_headers(definition: dict[str, Any], response: httpx.Response) -> list[str]:
    """Headers that are in the document but not in the response, and vice versa."""
    named = {name.lower() for name in definition.get("headers", ())}
    sent = {name.lower() for name in DOCUMENT["components"]["headers"]} & set(response.headers)
    # Every response has `Cache-Control`; the document only lists it for cacheable ones.
    return sorted(named ^ (sent - ({"cache-control"} - named)))


def assert_problem(response: httpx.Response, status: int, code: str, *, field: str | None = None) -> None:
    """A refusal with this status and code, and this field as its first error."""
    problem = response.json()
    named = problem["errors"][0]["field"] if problem["errors"] else None
    assert (response.status_code, problem["code"], named if field is not None else None) == (status, code, field)


def client_of(app: Litestar, **options: Any) -> httpx.AsyncClient:
    """A client of an application, in this event loop."""
    transport = httpx.ASGITransport(cast(Any, app), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://messenger.test", **options)
