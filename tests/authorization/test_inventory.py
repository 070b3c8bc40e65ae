"""Every route and socket method has rows in the matrix, and declares what it must."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar, get
from litestar.routes import HTTPRoute

from messenger.app import create_app
from messenger.container import Container
from messenger.web.request import require_bearer
from messenger.web.socket_methods import METHODS
from tests.authorization import _group_matrix
from tests.authorization._matrix import CASES, COLUMNS, TRIED, parse
from tests.support.http import OPERATIONS, Operation
from tests.support.inventory import HIDDEN, Route, handlers, inventory

# Pages for people, which are not part of the API.
UNDOCUMENTED = {"/", "/openapi.json", "/docs", "/docs/{name}", "/demo", "/demo/{name}"}

# Routes without a rate limit, each with the reason. A new route declares a limit or is listed here.
UNLIMITED: dict[Route, str] = {
    ("GET", "/health/live"): "costs nothing, and an orchestrator needs the answer",
    ("GET", "/health/ready"): "one small read, which an orchestrator needs",
    ("GET", "/metrics"): "protected by a token of the operator",
    ("GET", "/avatars/{key}"): "cacheable forever, and a key cannot be guessed",
}


def documented(operation: Operation) -> Route:
    # The document names `/avatar/`; the router accepts either.
    return operation.method, operation.path.rstrip("/")


ROUTES = {case.route for case in (*CASES, *_group_matrix.CASES)}


@get("/leak", sync_to_thread=False)
def leak() -> dict[str, str]:
    """A route that someone added without declaring anything."""
    return {}


class TestMatrixRows:
    def test_matrix_covers_exactly_all_routes_and_methods(self, app: Litestar) -> None:
        assert inventory(app) == ROUTES

    def test_new_route_without_rows_is_detected(self, container: Container) -> None:
        app = create_app(container)
        app.register(leak)
        assert inventory(app) - ROUTES == {("GET", "/leak")}

    def test_new_method_without_rows_is_detected(self, app: Litestar) -> None:
        assert inventory(app, [*METHODS, "leak"]) - ROUTES == {("SOCKET", "leak")}

    def test_every_role_requests_every_route(self) -> None:
        everyone = {actor for column in COLUMNS for actor in TRIED.get(column, (column,))}
        # A role without a token has no account of its own either.
        for route in {case.route for case in CASES}:
            assert {case.actor for case in CASES if case.route == route} == everyone, route

    @pytest.mark.parametrize("cells", ["200 " * 7, "200 " * 7 + "maybe"])
    def test_malformed_matrix_line_is_refused(self, cells: str) -> None:
        with pytest.raises(ValueError, match="/profile"):
            parse(f"of {' '.join(COLUMNS)}\nGET /profile own {cells}")

    def test_matrix_expects_same_answer_for_block_and_removal(self) -> None:
        cells = {(case.route, case.variant, case.of, case.actor): case.expected for case in CASES}
        rows = {key[:3] for key in cells if key[3] == "blocked"}
        told_apart = [row for row in rows if cells[*row, "blocked"] != cells[*row, "former"]]
        assert told_apart == []

    async def test_framework_routes_are_not_mounted(self, app: Litestar, client: httpx.AsyncClient) -> None:
        hidden = [route.path for route in app.routes if isinstance(route, HTTPRoute) and route.path.startswith(HIDDEN)]
        answers = [await client.get(path.replace("{path:str}", "x")) for path in hidden]
        assert hidden
        assert {answer.status_code for answer in answers} == {404}


class TestRouteDeclarations:
    def test_every_route_except_pages_is_documented(self, app: Litestar) -> None:
        in_document = {documented(operation) for operation in OPERATIONS}
        assert {route for route, _ in handlers(app)} - in_document == {("GET", path) for path in UNDOCUMENTED}

    def test_every_route_declares_authentication(self, app: Litestar) -> None:
        needs_token = {documented(operation): operation.needs_token for operation in OPERATIONS}
        for route, handler in handlers(app):
            guarded = require_bearer in (handler.guards or ())
            assert guarded == needs_token.get(route, False), route

    def test_matrix_agrees_with_declared_authentication(self) -> None:
        needs_token = {documented(operation): operation.needs_token for operation in OPERATIONS}
        for case in (*CASES, *_group_matrix.CASES):
            if case.actor == "anonymous" and case.route in needs_token and case.path != "/metrics":
                assert (case.expected == "-") == needs_token[case.route], case.id

    def test_every_route_has_a_limit_or_a_reason(self) -> None:
        unlimited = {
            documented(operation) for operation in OPERATIONS if "429" not in operation.definition["responses"]
        }
        assert unlimited == set(UNLIMITED)

    def test_every_body_has_a_schema(self, app: Litestar) -> None:
        has_body = {documented(operation): operation.has_body for operation in OPERATIONS}
        for route, handler in handlers(app):
            takes = "data" in handler.parsed_fn_signature.parameters
            assert takes == has_body.get(route, False), route
        for operation in OPERATIONS:
            content = operation.definition.get("requestBody", {}).get("content", {})
            assert all(each.get("schema") for each in content.values()), operation.id

    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
    def test_every_answer_has_a_schema(self, operation: Operation) -> None:
        answers: dict[str, Any] = operation.definition["responses"]
        assert any(status < "300" for status in answers)
        for status, response in answers.items():
            content = response.get("content", {})
            assert bool(content) == (status not in {"204", "101"}), status
            # The schema of bytes is empty (OpenAPI 3.1 section 4.8.14.3).
            assert all(each["schema"] or "json" not in kind for kind, each in content.items()), status

    @pytest.mark.parametrize("name", METHODS)
    def test_every_socket_method_refuses_unknown_fields(self, name: str) -> None:
        for decoder in (METHODS[name].json, METHODS[name].msgpack):
            draft: type[msgspec.Struct] = decoder.type
            assert draft.__struct_config__.forbid_unknown_fields
