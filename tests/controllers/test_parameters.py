"""Invalid parameters of path and query, and invalid paths."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest
import pytest_asyncio

from messenger.container import Container
from messenger.testing import Factory, Person
from tests.support.groups import create_group
from tests.support.http import DOCUMENT, GUARDED, OPERATIONS, Operation, assert_problem
from tests.support.openapi_schema import sample

PAGED = [operation for operation in GUARDED if "limit" in operation.parameters("query")]
BY_CURSOR = [operation for operation in GUARDED if "cursor" in operation.parameters("query")]
NUMBERS = ("user_id", "target_id", "group_id")
WITH_NUMBERS = [operation for operation in GUARDED if set(NUMBERS) & set(operation.parameters("path"))]
HUGE = "9" * 10_000

paged = pytest.mark.parametrize("operation", PAGED, ids=lambda operation: operation.id)
by_cursor = pytest.mark.parametrize("operation", BY_CURSOR, ids=lambda operation: operation.id)


@pytest_asyncio.fixture(loop_scope="session")
async def places(container: Container, make: Factory, ada: Person, bob: Person) -> dict[str, object]:
    """What paths name: a contact, a group of Ada's, a message of Ada's."""
    message = await make.message(ada, bob)
    return {"target_id": bob.id, "group_id": (await create_group(container, ada)).id, "message_id": message.id}


async def read(
    client: httpx.AsyncClient, operation: Operation, person: Person, places: dict[str, object], query: str
) -> httpx.Response:
    """Read a page of a route that has pages."""
    return await client.get(f"{operation.url(**places)}?{query}", headers=person.headers)


class TestLimitParameter:
    @paged
    @pytest.mark.parametrize("value", ["0", "-1", "100000", "abc", "", "1.5", "true", "null", "0x10", "%00", HUGE])
    async def test_invalid_limit_is_named(
        self, client: httpx.AsyncClient, ada: Person, places: dict[str, object], operation: Operation, value: str
    ) -> None:
        answer = await read(client, operation, ada, places, f"limit={value}")
        assert_problem(answer, 400, "validation_failed", field="limit")

    @paged
    async def test_limit_bounds_are_accepted(
        self, client: httpx.AsyncClient, ada: Person, places: dict[str, object], operation: Operation
    ) -> None:
        most = 1000 if operation.id == "listStatuses" else 200
        for value in (1, most):
            assert (await read(client, operation, ada, places, f"limit={value}")).status_code == 200
        answer = await read(client, operation, ada, places, f"limit={most + 1}")
        assert_problem(answer, 400, "validation_failed", field="limit")

    @paged
    async def test_last_repeated_parameter_applies(
        self, client: httpx.AsyncClient, ada: Person, places: dict[str, object], operation: Operation
    ) -> None:
        assert (await read(client, operation, ada, places, "limit=0&limit=1")).status_code == 200


class TestCursorParameter:
    @by_cursor
    @pytest.mark.parametrize(
        "value", ["garbage", "", "%00", "%F0%9F%98%80", "%ff", "-1", "A" * 65, HUGE, "..%2f", "1'--"]
    )
    async def test_invalid_cursor_is_named(
        self, client: httpx.AsyncClient, ada: Person, places: dict[str, object], operation: Operation, value: str
    ) -> None:
        answer = await read(client, operation, ada, places, f"cursor={value}")
        assert_problem(answer, 400, "validation_failed", field="cursor")

    @pytest.mark.parametrize(
        "text",
        ["", ".", "1", "1.", ".1", "x.y", "1.1.1", "1e9.1", "nan.1", f"{10**30}.1", "-99999999999999.1"],
    )
    async def test_forged_conversation_cursor_is_named(self, client: httpx.AsyncClient, ada: Person, text: str) -> None:
        cursor = base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
        answer = await client.get("/conversations", headers=ada.headers, params={"cursor": cursor})
        assert_problem(answer, 400, "validation_failed", field="cursor")

    async def test_conversation_cursor_with_huge_number_gives_empty_page(
        self, client: httpx.AsyncClient, ada: Person
    ) -> None:
        cursor = base64.urlsafe_b64encode(f"1.{10**30}".encode()).rstrip(b"=").decode()
        answer = await client.get("/conversations", headers=ada.headers, params={"cursor": cursor})
        assert (answer.status_code, answer.json()["items"]) == (200, [])


class TestHistoryParameters:
    @pytest.mark.parametrize("name", ["before", "after"])
    @pytest.mark.parametrize("value", ["-1", "abc", "", "1.5", HUGE, str(2**53), "%00"])
    async def test_invalid_before_or_after_is_named(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, name: str, value: str
    ) -> None:
        answer = await client.get(f"/history/{bob.id}?{name}={value}", headers=ada.headers)
        assert_problem(answer, 400, "validation_failed", field=name)

    async def test_before_with_after_is_refused(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        answer = await client.get(f"/history/{bob.id}?before=5&after=1", headers=ada.headers)
        assert_problem(answer, 400, "validation_failed", field="after")


OPTIONAL = [
    pytest.param(operation, parameter["name"], id=f"{operation.id}.{parameter['name']}")
    for operation in GUARDED
    for parameter in operation.definition.get("parameters", ())
    if parameter["in"] == "query" and not parameter["required"] and "default" not in parameter["schema"]
    # Users may be called "null".
    if parameter["name"] not in {"username", "query"}
]


class TestNullParameter:
    @pytest.mark.parametrize(("operation", "name"), OPTIONAL)
    @pytest.mark.parametrize("value", ["null", "NULL", "%6eull"])
    async def test_null_is_not_treated_as_absent_parameter(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, operation: Operation, name: str, value: str
    ) -> None:
        answer = await client.get(f"{operation.url(target_id=bob.id)}?{name}={value}", headers=ada.headers)
        assert_problem(answer, 400, "validation_failed", field=name)

    async def test_null_among_valid_parameters_is_refused(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.get("/contacts?state=mutual&limit=3&cursor=null", headers=ada.headers)
        assert_problem(answer, 400, "validation_failed", field="cursor")


class TestChoiceParameters:
    @pytest.mark.parametrize("state", ["friends", "", "none", "MUTUAL", "mutual,blocked", "%00"])
    async def test_invalid_contact_state_is_named(self, client: httpx.AsyncClient, ada: Person, state: str) -> None:
        answer = await client.get(f"/contacts?state={state}", headers=ada.headers)
        assert_problem(answer, 400, "validation_failed", field="state")

    @pytest.mark.parametrize("username", ["", "%00", "a%00b", "x" * 65, "x" * 10_000])
    async def test_invalid_username_parameter_is_named(
        self, client: httpx.AsyncClient, ada: Person, username: str
    ) -> None:
        answer = await client.get(f"/users?username={username}", headers=ada.headers)
        assert_problem(answer, 400, "validation_failed", field="username")

    @pytest.mark.parametrize(
        "username", ["%ED%A0%80", "%ff", "null", "'%20OR%201=1--", "%25", "%F0%9F%98%80", "a%0d%0ab"]
    )
    async def test_unusual_username_is_404(self, client: httpx.AsyncClient, ada: Person, username: str) -> None:
        answer = await client.get(f"/users?username={username}", headers=ada.headers)
        assert_problem(answer, 404, "peer_not_found")


class TestPathNumbers:
    @pytest.mark.parametrize("operation", WITH_NUMBERS, ids=lambda operation: operation.id)
    @pytest.mark.parametrize("value", ["abc", HUGE, "1.5", "%00", "..%2f", "1e9", "NaN", "0x10", "null"])
    async def test_path_without_number_is_404(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, value: str
    ) -> None:
        url = operation.url(**dict.fromkeys(NUMBERS, value))
        answer = await client.request(operation.method, url, headers=ada.headers, json={})
        assert answer.status_code == 404

    @pytest.mark.parametrize("operation", WITH_NUMBERS, ids=lambda operation: operation.id)
    @pytest.mark.parametrize("value", ["0", "-1", str(2**53), str(2**64), "9" * 4000])
    async def test_path_number_out_of_bounds_is_named(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, value: str
    ) -> None:
        url = operation.url(**dict.fromkeys(NUMBERS, value))
        schema = operation.body_schema
        sent: dict[str, Any] = {} if schema is None else {"json": sample(DOCUMENT, schema)}
        if operation.has_body and schema is None:
            sent = {"files": {"file": b"x"}}
        answer = await client.request(operation.method, url, headers=ada.headers, **sent)
        assert_problem(answer, 400, "validation_failed", field=operation.parameters("path")[0])

    @pytest.mark.parametrize("path", ["/messages/{}", "/devices/{}"])
    @pytest.mark.parametrize("value", ["abc", "1", "0" * 36, "%00", "019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5", HUGE])
    async def test_path_without_uuid_is_404(
        self, client: httpx.AsyncClient, ada: Person, path: str, value: str
    ) -> None:
        answer = await client.delete(path.format(value), headers=ada.headers)
        assert_problem(answer, 404, "not_found")


class TestUnknownPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "/nowhere",
            "/profile/x",
            "/Profile",
            "/profile%00",
            "/docs/..%2f..%2fetc%2fpasswd",
            "/docs/%2e%2e/x",
            "/docs/..%5c..%5cx",
            "/docs/nothing.js",
            "/avatars/..%2f..%2fsecret",
            "/.env",
            "/e2e/keys",
            "/openapi-unused",
            "/openapi-unused/swagger",
            "/openapi-unused/openapi.json",
            "/schema",
            "/" + "x" * 10_000,
            "/%ff%fe",
        ],
    )
    async def test_unknown_path_is_404_problem(self, client: httpx.AsyncClient, ada: Person, path: str) -> None:
        assert_problem(await client.get(path, headers=ada.headers), 404, "not_found")

    @pytest.mark.parametrize("path", ["/nowhere", "/%F0%9F%98%80", "/x?y=<script>alert(1)</script>"])
    async def test_unknown_path_is_not_repeated_in_problem(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.get(path)
        assert answer.json()["detail"] == "Not found"


def _methods(operation: Operation) -> str:
    """The `Allow` header of a path: the documented methods, OPTIONS, and HEAD where there is GET."""
    methods = {"OPTIONS", *(each.method for each in OPERATIONS if each.path == operation.path)}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


class TestUnknownMethods:
    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "FOO"])
    async def test_unknown_method_is_405_with_allowed_methods(
        self, client: httpx.AsyncClient, operation: Operation, method: str
    ) -> None:
        answer = await client.request(method, operation.url())
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == _methods(operation)

    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
    async def test_options_lists_allowed_methods_without_token(
        self, client: httpx.AsyncClient, operation: Operation
    ) -> None:
        answer = await client.options(operation.url())
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["allow"] == _methods(operation)


class TestHostileHeaders:
    async def test_huge_header_causes_no_server_error(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.get("/profile", headers={**ada.headers, "X-Huge": "a" * 1_000_000})
        assert answer.status_code == 200

    async def test_ten_thousand_ranges_are_ignored(self, client: httpx.AsyncClient, ada: Person) -> None:
        ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(10_000))
        answer = await client.get("/profile", headers={**ada.headers, "Range": ranges})
        assert answer.status_code == 200

    async def test_forwarded_headers_of_client_are_ignored(self, client: httpx.AsyncClient, make: Factory) -> None:
        ada = await make.person()
        headers = {**ada.headers, "X-Forwarded-For": "192.0.2.77", "X-Forwarded-Host": "evil.example", "Host": "evil"}
        answer = await client.get("/profile", headers=headers)
        assert "evil" not in answer.text + str(answer.headers)
