"""Unknown query parameters are refused, like unknown fields of a body."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from messenger.testing import Person
from tests.support.http import OPERATIONS, Operation, assert_problem

PROBES = {"getLiveness", "getReadiness"}
# `/metrics` needs a different token.
STRICT = [each for each in OPERATIONS if each.id not in PROBES]


class TestUnknownParameter:
    @pytest.mark.parametrize("operation", STRICT, ids=lambda operation: operation.id)
    async def test_operation_refuses_unknown_parameter(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation
    ) -> None:
        sent: dict[str, Any] = {"json": {}} if operation.body_schema is not None else {}
        if operation.has_body and operation.body_schema is None:
            sent = {"files": {"file": b"x"}}
        answer = await client.request(operation.method, f"{operation.url()}?limt=5", headers=ada.headers, **sent)
        assert_problem(answer, 400, "unknown_field", field="limt")

    @pytest.mark.parametrize("path", ["/profile", "/history/{id}", "/devices", "/users/{id}", "/contacts"])
    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("limt=5", "limt"),
            ("limt", "limt"),
            ("=5", ""),
            ("%6cimt=5", "limt"),
            ("LIMIT=5", "LIMIT"),
            ("limit =5", "limit "),
            ("user_id=5", "user_id"),
            ("target_id=5", "target_id"),
            ("request=5", "request"),
            ("%ff=1", "\ufffd"),
        ],
    )
    async def test_fast_path_and_framework_name_unknown_parameter(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, path: str, query: str, field: str
    ) -> None:
        answer = await client.get(f"{path.format(id=bob.id)}?{query}", headers=ada.headers)
        assert_problem(answer, 400, "unknown_field", field=field)

    async def test_unknown_parameters_are_named_up_to_twenty(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.get("/contacts?limit=5&x=1&y=2&x=3", headers=ada.headers)
        assert [fault["field"] for fault in answer.json()["errors"]] == ["x", "y"]
        many = "&".join(f"p{number}=1" for number in range(100))
        answer = await client.get(f"/contacts?{many}", headers=ada.headers)
        assert len(answer.json()["errors"]) == 20

    async def test_token_is_checked_before_query(self, client: httpx.AsyncClient) -> None:
        for path in ("/profile?x=1", "/devices?x=1"):
            answer = await client.get(path, headers={"Authorization": "Bearer mat_forged"})
            assert_problem(answer, 401, "unauthenticated")


class TestIgnoredQueries:
    @pytest.mark.parametrize(
        "path", ["/health/live", "/health/ready", "/docs", "/docs/start.js", "/demo", "/openapi.json"]
    )
    async def test_query_of_pages_and_probes_is_ignored(self, client: httpx.AsyncClient, path: str) -> None:
        assert (await client.get(f"{path}?_=1767225600")).status_code == 200

    @pytest.mark.parametrize("path", ["/profile", "/login", "/contacts"])
    async def test_query_of_options_is_ignored(self, client: httpx.AsyncClient, path: str) -> None:
        assert (await client.options(f"{path}?x=1")).status_code == 204

    @pytest.mark.parametrize("query", ["", "&", "&&limit=5&", "limit=5"])
    async def test_empty_query_parts_are_ignored(self, client: httpx.AsyncClient, ada: Person, query: str) -> None:
        for path in ("/contacts", "/devices"):
            assert (await client.get(f"{path}?{query}", headers=ada.headers)).status_code == 200
