"""The OpenAPI document, and the page that shows it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from litestar import Litestar

from messenger.cli import main
from messenger.testing import Person
from tests.support.http import DOCUMENT, GUARDED, MSGPACK, OPERATIONS, WITH_JSON, Operation
from tests.support.openapi_schema import faults, resolve, sample

CONTRACT = {
    # Every expected operation, by method and path.
    "POST /register",
    "POST /login",
    "POST /token/refresh",
    "POST /logout",
    "POST /password",
    "GET /devices",
    "DELETE /devices/{device_id}",
    "DELETE /account",
    "GET /account/export",
    "GET /profile",
    "PUT /profile",
    "GET /contacts",
    "POST /subscribe",
    "POST /confirm_subscribe",
    "GET /statuses",
    "GET /history/{target_id}",
    "POST /avatar/upload",
    "DELETE /avatar/",
    "POST /e2e/secret_key",
    "GET /e2e/secret_key",
    "GET /ice_servers",
    "POST /unsubscribe",
    "POST /block",
    "POST /unblock",
    "PUT /contacts/{user_id}",
    "GET /users/{user_id}",
    "GET /users",
    "GET /avatars/{key}",
    "POST /messages",
    "GET /messages/{message_id}",
    "PATCH /messages/{message_id}",
    "DELETE /messages/{message_id}",
    "GET /conversations",
    "PUT /conversations/{target_id}",
    "POST /receipts",
    "GET /messages/{message_id}/receipts",
    "GET /settings",
    "PUT /settings",
    "POST /groups/{group_id}/avatar",
    "DELETE /groups/{group_id}/avatar",
    "GET /groups",
    "POST /groups",
    "GET /groups/{group_id}",
    "PATCH /groups/{group_id}",
    "DELETE /groups/{group_id}",
    "GET /groups/{group_id}/members",
    "GET /groups/{group_id}/members/{user_id}",
    "PATCH /groups/{group_id}/members/{user_id}",
    "DELETE /groups/{group_id}/members/{user_id}",
    "GET /groups/{group_id}/bans",
    "PUT /groups/{group_id}/bans/{user_id}",
    "DELETE /groups/{group_id}/bans/{user_id}",
    "GET /groups/{group_id}/log",
    "POST /groups/{group_id}/transfer",
    "POST /groups/{group_id}/leave",
    "GET /invitations",
    "POST /groups/{group_id}/invitations",
    "DELETE /groups/{group_id}/invitations/{user_id}",
    "POST /groups/{group_id}/join",
    "POST /groups/{group_id}/decline",
    "GET /groups/{group_id}/links",
    "POST /groups/{group_id}/links",
    "DELETE /groups/{group_id}/links",
    "PATCH /groups/{group_id}/links/{link_id}",
    "DELETE /groups/{group_id}/links/{link_id}",
    "GET /links/{token}",
    "POST /links/{token}/join",
    "GET /groups/{group_id}/requests",
    "DELETE /groups/{group_id}/requests",
    "POST /groups/{group_id}/requests/{user_id}",
    "GET /sync",
    "GET /ws",
    "POST /ws/ticket",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
}
PUBLIC = {"register", "login", "refreshToken", "getAvatar", "getLiveness", "getReadiness", "getMetrics"}
UNDOCUMENTED = {"/", "/demo", "/demo/{name}", "/openapi.json", "/docs", "/docs/{name}"}

each = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
guarded = pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.id)
with_json = pytest.mark.parametrize("operation", WITH_JSON, ids=lambda operation: operation.id)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


class TestDocumentInventory:
    async def test_every_expected_operation_is_documented(self) -> None:
        assert CONTRACT - {f"{operation.method} {operation.path}" for operation in OPERATIONS} == set()

    async def test_every_route_of_application_is_documented(self, app: Litestar) -> None:
        documented = {operation.path.rstrip("/") for operation in OPERATIONS}
        served = {getattr(route, "path_format", route.path) for route in app.routes}
        hidden = {path for path in served if path.startswith("/openapi-unused")}
        assert served - hidden - documented == UNDOCUMENTED

    async def test_only_public_operations_need_no_token(self) -> None:
        # A new public route must be added here deliberately.
        assert {operation.id for operation in OPERATIONS if not operation.needs_token} == PUBLIC

    async def test_operation_ids_are_unique(self) -> None:
        assert [name for name, count in Counter(operation.id for operation in OPERATIONS).items() if count > 1] == []

    @each
    async def test_operation_id_is_camel_case(self, operation: Operation) -> None:
        assert re.fullmatch(r"[a-z]+([A-Z][a-z0-9]*)*", operation.id)


class TestDocumentStructure:
    async def test_document_has_title_version_and_description(self) -> None:
        assert DOCUMENT["openapi"].startswith("3.1.")
        assert {"title", "version", "license"} <= set(DOCUMENT["info"])

    async def test_every_reference_resolves(self) -> None:
        references = [node for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)]
        assert references
        assert all(isinstance(resolve(DOCUMENT, node), dict) for node in references)

    async def test_every_schema_is_used(self) -> None:
        used = {node["$ref"].rpartition("/")[2] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
        assert set(DOCUMENT["components"]["schemas"]) - used == set()

    async def test_required_properties_exist(self) -> None:
        schemas = DOCUMENT["components"]["schemas"].items()
        assert [
            name for name, schema in schemas if set(schema.get("required", ())) - set(schema.get("properties", ()))
        ] == []

    async def test_patterns_are_portable(self) -> None:
        patterns = [node["pattern"] for node in nodes(DOCUMENT) if isinstance(node.get("pattern"), str)]
        # ECMA-262, which JSON Schema refers to, reads these as the letters A and Z.
        assert [pattern for pattern in patterns if r"\A" in pattern or r"\Z" in pattern] == []

    @each
    async def test_path_parameters_are_documented(self, operation: Operation) -> None:
        path_parameters = [
            parameter for parameter in operation.definition.get("parameters", ()) if parameter["in"] == "path"
        ]
        assert {parameter["name"] for parameter in path_parameters} == set(re.findall(r"\{(\w+)\}", operation.path))
        assert all(parameter["required"] and "schema" in parameter for parameter in path_parameters)

    @each
    async def test_parameters_are_documented_once(self, operation: Operation) -> None:
        places = [(parameter["in"], parameter["name"]) for parameter in operation.definition.get("parameters", ())]
        assert len(places) == len(set(places))

    @each
    async def test_operation_has_summary_tags_and_descriptions(self, operation: Operation) -> None:
        assert operation.definition["summary"]
        assert operation.definition["tags"]
        assert all(answer["description"] for answer in operation.definition["responses"].values())


class TestDocumentedSecurity:
    async def test_security_scheme_is_bearer(self) -> None:
        (scheme,) = DOCUMENT["components"]["securitySchemes"].values()
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")

    @guarded
    async def test_authenticated_operation_documents_401(self, operation: Operation) -> None:
        assert "`unauthenticated`" in operation.definition["responses"]["401"]["description"]


class TestDocumentedAnswers:
    @each
    async def test_every_error_is_documented_as_problem(self, operation: Operation) -> None:
        wrong = {
            status: list(answer.get("content", {}))
            for status, answer in operation.definition["responses"].items()
            if int(status) >= 400 and list(answer.get("content", {})) != ["application/problem+json"]
        }
        # Readiness has the same body whether the server is ready or not.
        kinds = ["application/json", "application/problem+json", MSGPACK]
        assert wrong == ({"503": kinds} if operation.id == "getReadiness" else {})

    @each
    async def test_json_content_is_documented_as_msgpack_too(self, operation: Operation) -> None:
        bodies = [operation.definition.get("requestBody", {}), *operation.definition["responses"].values()]
        contents = [body.get("content", {}) for body in bodies]
        assert [content for content in contents if ("application/json" in content) != (MSGPACK in content)] == []

    @each
    async def test_successful_answer_is_documented(self, operation: Operation) -> None:
        # A successful handshake switches protocols.
        succeeds = ("101",) if operation.id == "openSocket" else ("200", "201", "204")
        assert [status for status in operation.definition["responses"] if status in succeeds]


class TestDocumentedExamples:
    @with_json
    async def test_body_of_examples_matches_schema(self, operation: Operation) -> None:
        schema = operation.body_schema or {}
        assert list(faults(DOCUMENT, schema, sample(DOCUMENT, schema))) == []

    @with_json
    async def test_every_field_has_example_or_enum(self, operation: Operation) -> None:
        schema = resolve(DOCUMENT, operation.body_schema or {})
        if "examples" in schema:
            return
        assert [name for name, part in schema["properties"].items() if not _shows_itself(part)] == []

    async def test_upload_form_documents_file_field(self) -> None:
        (upload,) = (operation for operation in OPERATIONS if operation.id == "uploadAvatar")
        form = resolve(DOCUMENT, upload.definition["requestBody"]["content"]["multipart/form-data"]["schema"])
        assert (list(form["properties"]), form["required"]) == (["file"], ["file"])


def _shows_itself(schema: dict[str, Any]) -> bool:
    parts = schema.get("oneOf") or schema.get("anyOf") or []
    return (
        bool({"examples", "enum", "const", "$ref"} & set(schema))
        or schema.get("type") in {"boolean", "null"}
        or (bool(parts) and all(map(_shows_itself, parts)))
    )


class TestServedDocument:
    async def test_served_json_equals_document(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/openapi.json")
        assert (answer.status_code, answer.headers["content-type"], answer.json()) == (
            200,
            "application/json",
            DOCUMENT,
        )

    async def test_served_json_is_stable(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/openapi.json")).content == (await client.get("/openapi.json")).content

    def test_command_prints_served_document(self) -> None:
        result = CliRunner().invoke(main, ["openapi"])
        assert (result.exit_code, msgspec.json.decode(result.output)) == (0, DOCUMENT)

    def test_command_writes_served_document(self, tmp_path: Path) -> None:
        CliRunner().invoke(main, ["openapi", "--output", str(tmp_path / "openapi.json")])
        assert msgspec.json.decode((tmp_path / "openapi.json").read_bytes()) == DOCUMENT

    async def test_document_needs_no_token(self, client: httpx.AsyncClient, ada: Person) -> None:
        signed_in = await client.get("/openapi.json", headers=ada.headers)
        assert signed_in.content == (await client.get("/openapi.json")).content


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name in {"src", "href", "action"}]


class TestDocsPage:
    async def test_docs_page_loads_no_foreign_resources(self, client: httpx.AsyncClient) -> None:
        for path in ("/docs", "/docs/"):
            parser, page = _Addresses(), (await client.get(path)).text
            parser.feed(page)
            assert parser.found
            assert {(await client.get(urljoin(path, address))).status_code for address in parser.found} == {200}
            assert [address for address in parser.found if not urljoin(path, address).startswith("/docs/")] == []
            assert "://" not in page

    async def test_docs_page_resources_are_served(self, client: httpx.AsyncClient) -> None:
        parser = _Addresses()
        parser.feed((await client.get("/docs")).text)
        answers = [await client.get(address) for address in parser.found]
        assert [(answer.status_code, bool(answer.content)) for answer in answers] == [(200, True)] * len(answers)

    async def test_docs_page_contacts_no_validator(self, client: httpx.AsyncClient) -> None:
        script = (await client.get("/docs/start.js")).text
        assert "validatorUrl: null" in script
        assert "://" not in script

    async def test_docs_page_fits_phones_and_follows_theme(self, client: httpx.AsyncClient) -> None:
        page = (await client.get("/docs")).text
        assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
        # Before the first styles, so that a dark page does not flash white.
        assert page.index("start.js") < page.index("swagger-ui.css")
        assert "prefers-color-scheme" in (await client.get("/docs/start.js")).text
        assert "html.dark-mode" in (await client.get("/docs/swagger-ui.css")).text

    async def test_docs_page_policy_forbids_foreign_sources(self, client: httpx.AsyncClient) -> None:
        policy = (await client.get("/docs")).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "://" not in policy
        assert "script-src 'self';" in policy
