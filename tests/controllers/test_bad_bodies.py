"""Bodies that must be refused, on every route that has one; the routes come from the document."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from messenger.testing import Person
from tests.controllers.conftest import Snapshot
from tests.support.http import CANARY, DOCUMENT, WITH_JSON, Operation, assert_problem
from tests.support.openapi_schema import accepted_types, resolve, sample

MAX_BODY = 1024 * 1024
DEEP = 10_000

with_json = pytest.mark.parametrize("operation", WITH_JSON, ids=lambda operation: operation.id)
# The safe refuses anything that is no envelope with 422, and is tested separately.
ordinary = pytest.mark.parametrize(
    "operation", [each for each in WITH_JSON if each.id != "storeSecret"], ids=lambda operation: operation.id
)


def schema_of(operation: Operation) -> dict[str, Any]:
    """The schema of the body of a route."""
    schema = resolve(DOCUMENT, operation.body_schema or {})
    return resolve(DOCUMENT, schema["allOf"][0]) if "allOf" in schema else schema


def good_body(operation: Operation) -> dict[str, Any]:
    """A well-formed body, made of the document's examples."""
    body: dict[str, Any] = sample(DOCUMENT, operation.body_schema or {})
    return body


async def send(
    client: httpx.AsyncClient,
    operation: Operation,
    person: Person,
    content: bytes,
    content_type: str | None = "application/json",
) -> httpx.Response:
    """Send a body unchanged."""
    headers = {**person.headers, **({"Content-Type": content_type} if content_type is not None else {})}
    return await client.request(operation.method, operation.url(), headers=headers, content=content)


class TestUnreadableBodies:
    @with_json
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b"{", id="cut off"),
            pytest.param(b"hello", id="text"),
            pytest.param(b"\xef\xbb\xbf\xef\xbb\xbf{}", id="two byte order marks"),
            pytest.param("{}".encode("utf-16"), id="UTF-16"),
            pytest.param(b"{'a': 1}", id="single quotes"),
        ],
    )
    async def test_unreadable_body_is_400_and_has_no_effect(
        self, client: httpx.AsyncClient, ada: Person, snapshot: Snapshot, operation: Operation, content: bytes
    ) -> None:
        before = await snapshot(ada)
        answer = await send(client, operation, ada, content)
        assert answer.status_code == 400
        assert answer.json()["code"] == "malformed_body"
        assert await snapshot(ada) == before

    @ordinary
    async def test_unknown_field_is_reported_before_invalid_value(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation
    ) -> None:
        assert_problem(await send(client, operation, ada, b'{"a": NaN}'), 400, "unknown_field", field="a")

    @ordinary
    @pytest.mark.parametrize("content", [b"[]", b"null", b"1", b'"x"', b"true", b"[{}]"])
    async def test_body_other_than_object_is_400(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, content: bytes
    ) -> None:
        assert_problem(await send(client, operation, ada, content), 400, "validation_failed", field="")

    @with_json
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"[" * DEEP + b"]" * DEEP, id="arrays"),
            pytest.param(b'{"a":' * DEEP + b"1" + b"}" * DEEP, id="objects"),
            pytest.param(b"[" * DEEP, id="open"),
        ],
    )
    async def test_body_of_ten_thousand_levels_is_refused(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, content: bytes
    ) -> None:
        assert (await send(client, operation, ada, content)).status_code == 400


def _required() -> list[Any]:
    return [
        pytest.param(operation, name, id=f"{operation.id}.{name}")
        for operation in WITH_JSON
        if operation.id != "storeSecret"
        for name in schema_of(operation).get("required", [])
    ]


class TestBodyFields:
    @ordinary
    async def test_unknown_field_is_named_in_errors(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation
    ) -> None:
        body = {**good_body(operation), "shoe_size": 43}
        answer = await send(client, operation, ada, msgspec.json.encode(body))
        assert_problem(answer, 400, "unknown_field", field="shoe_size")

    @pytest.mark.parametrize(("operation", "name"), _required())
    async def test_missing_field_is_named_in_errors(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, name: str
    ) -> None:
        body = {key: value for key, value in good_body(operation).items() if key != name}
        answer = await send(client, operation, ada, msgspec.json.encode(body))
        assert_problem(answer, 400, "validation_failed", field=name)

    @ordinary
    async def test_field_of_wrong_type_is_named(
        self, client: httpx.AsyncClient, ada: Person, snapshot: Snapshot, operation: Operation
    ) -> None:
        before, wrong = await snapshot(ada), []
        for name, value in _mistyped(operation):
            body = {**good_body(operation), name: value}
            answer = await send(client, operation, ada, msgspec.json.encode(body))
            problem = answer.json()
            if answer.status_code != 400 or problem["errors"][0]["field"].split(".")[0].split("[")[0] != name:
                wrong.append((name, value, answer.status_code, problem))
        assert wrong == []
        assert await snapshot(ada) == before


def _mistyped(operation: Operation) -> list[tuple[str, Any]]:
    """Each field with values of all types that it does not accept."""
    values = {
        "string": "12345678",
        "integer": 7,
        "boolean": True,
        "number": 1.5,
        "null": None,
        "array": [],
        "object": {},
    }
    return [
        (name, value)
        for name, schema in schema_of(operation)["properties"].items()
        for kind, value in values.items()
        if kind not in accepted_types(DOCUMENT, schema)
    ]


def _fields(kind: str) -> list[Any]:
    return [
        pytest.param(operation, name, id=f"{operation.id}.{name}")
        for operation in WITH_JSON
        if operation.id != "storeSecret"
        for name, schema in schema_of(operation)["properties"].items()
        if kind in accepted_types(DOCUMENT, schema)
    ]


class TestTextFields:
    @pytest.mark.parametrize(("operation", "name"), _fields("string"))
    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(b'"\\ud800"', id="lone surrogate"),
            pytest.param(b'"\xed\xa0\x80"', id="surrogate in UTF-8"),
            pytest.param(b'"\xff\xfe"', id="no UTF-8"),
            pytest.param(b'"a\nb"', id="bare control character"),
            pytest.param(b'"\\x00"', id="unknown escape"),
        ],
    )
    async def test_invalid_text_is_400(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, name: str, text: bytes
    ) -> None:
        fields = {key: msgspec.json.encode(value) for key, value in good_body(operation).items()} | {name: text}
        content = b"{" + b",".join(b'"%s":%s' % (key.encode(), value) for key, value in fields.items()) + b"}"
        answer = await send(client, operation, ada, content)
        assert answer.status_code == 400

    @pytest.mark.parametrize(("operation", "name"), _fields("string"))
    async def test_nul_in_text_causes_no_server_error(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, name: str
    ) -> None:
        body = {**good_body(operation), name: "a\x00b long enough for a password"}
        answer = await send(client, operation, ada, msgspec.json.encode(body))
        assert 200 <= answer.status_code < 500

    # A long device name is shortened.
    @pytest.mark.parametrize(
        ("operation", "name"), [each for each in _fields("string") if each.values[1] != "device_name"]
    )
    async def test_text_of_million_characters_is_refused(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, name: str
    ) -> None:
        body = {**good_body(operation), name: "x" * 1_000_000}
        answer = await send(client, operation, ada, msgspec.json.encode(body))
        if answer.status_code == 413:
            assert answer.json()["code"] in {"payload_too_large", "message_too_large"}
        else:
            assert_problem(answer, 400, "validation_failed", field=name)


class TestNumberFields:
    @pytest.mark.parametrize(("operation", "name"), _fields("integer"))
    @pytest.mark.parametrize(
        "number", ["9" * 10_000, "-" + "9" * 10_000, "1e400", "1" + "0" * 20, "-1", "9007199254740992"]
    )
    async def test_number_out_of_bounds_is_named(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, name: str, number: str
    ) -> None:
        fields = {key: msgspec.json.encode(value).decode() for key, value in good_body(operation).items()}
        content = "{" + ",".join(f'"{key}":{value}' for key, value in (fields | {name: number}).items()) + "}"
        answer = await send(client, operation, ada, content.encode())
        assert_problem(answer, 400, "validation_failed", field=name)


class TestSizeAndType:
    @with_json
    async def test_body_over_the_limit_is_413(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation
    ) -> None:
        answer = await send(client, operation, ada, b'{"x":"' + b"x" * MAX_BODY + b'"}')
        codes = {
            "sendMessage": "message_too_large",
            "editMessage": "message_too_large",
            "storeSecret": "secret_too_large",
        }
        assert_problem(answer, 413, codes.get(operation.id, "payload_too_large"))

    @ordinary
    @pytest.mark.parametrize(
        "content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "json"]
    )
    async def test_other_content_type_is_415(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, content_type: str
    ) -> None:
        answer = await send(client, operation, ada, msgspec.json.encode(good_body(operation)), content_type)
        assert_problem(answer, 415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "content_type",
        ["application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/vnd.api+json", None],
    )
    async def test_json_media_type_variants_are_accepted(
        self, client: httpx.AsyncClient, ada: Person, content_type: str | None
    ) -> None:
        headers = {**ada.headers, **({"Content-Type": content_type} if content_type else {})}
        answer = await client.put("/profile", headers=headers, content=b'{"about": "x"}')
        assert (answer.status_code, answer.json()["about"]) == (200, "x")


class TestSecrets:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/register", {"username": 1, "password": CANARY, "name": CANARY}),
            ("POST", "/register", {"username": "ada", "password": [CANARY], "name": "Ada"}),
            ("POST", "/login", {"login": "nobody", "password": CANARY}),
            ("POST", "/login", {"login": CANARY, "password": {"x": CANARY}}),
            ("POST", "/token/refresh", {"refresh_token": CANARY}),
            ("POST", "/password", {"old_password": CANARY, "new_password": CANARY}),
            ("DELETE", "/account", {"password": CANARY}),
        ],
    )
    async def test_problem_never_repeats_password(
        self, client: httpx.AsyncClient, ada: Person, method: str, path: str, body: Any
    ) -> None:
        answer = await client.request(method, path, headers=ada.headers, json=body)
        assert answer.is_client_error
        assert CANARY not in answer.text
