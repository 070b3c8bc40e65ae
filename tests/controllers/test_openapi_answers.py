"""Responses in the document: problem codes of each operation, examples that match the server, and headers."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from messenger.server.error_responses import problem
from messenger.testing import Person
from tests.controllers.test_bad_bodies import good_body, schema_of
from tests.support.http import DOCUMENT, OPERATION, OPERATIONS, Operation
from tests.support.openapi_schema import faults, resolve

PROBLEM = "application/problem+json"
COMPONENTS = DOCUMENT["components"]
each = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)


def problems(operation: Operation) -> dict[str, dict[str, Any]]:
    """The problems that an operation may answer with, by status."""
    contents = {status: answer.get("content", {}) for status, answer in operation.definition["responses"].items()}
    return {status: content[PROBLEM] for status, content in contents.items() if PROBLEM in content}


def codes(schema: dict[str, Any]) -> list[str]:
    """The codes that a problem's schema allows."""
    found: list[str] = resolve(DOCUMENT, schema)["allOf"][1]["properties"]["code"]["enum"]
    return found


def example(operation_id: str, status: int, code: str) -> Any:
    """The documented example of a problem."""
    return problems(OPERATION[operation_id])[str(status)]["examples"][code]["value"]


class TestDocumentedProblems:
    @each
    async def test_every_code_has_a_valid_example(self, operation: Operation) -> None:
        for status, content in problems(operation).items():
            assert list(content["examples"]) == codes(content["schema"])
            for code, shown in content["examples"].items():
                assert (shown["value"]["code"], str(shown["value"]["status"])) == (code, status)
                assert list(faults(DOCUMENT, content["schema"], shown["value"])) == []

    @each
    async def test_problem_example_of_different_status_is_invalid(self, operation: Operation) -> None:
        for status, content in problems(operation).items():
            others = [other for key, other in problems(operation).items() if key != status]
            shown = [next(iter(other["examples"].values()))["value"] for other in others]
            assert all(list(faults(DOCUMENT, content["schema"], value)) for value in shown)

    @each
    async def test_description_names_every_code(self, operation: Operation) -> None:
        for status, content in problems(operation).items():
            description = operation.definition["responses"][status]["description"]
            assert [code for code in codes(content["schema"]) if f"`{code}`" not in description] == []

    @each
    async def test_refusals_of_the_connection_are_documented(self, operation: Operation) -> None:
        for status in (400, 408, 414, 431, 500, 501, 503):
            code = msgspec.json.decode(problem(status))["code"]
            assert code in codes(problems(operation)[str(status)]["schema"])

    async def test_refusals_of_unknown_paths_and_methods_are_documented(self, client: httpx.AsyncClient) -> None:
        for component, answer in (
            ("NotFound", await client.get("/nowhere")),
            ("MethodNotAllowed", await client.delete("/profile")),
        ):
            content = COMPONENTS["responses"][component]["content"][PROBLEM]
            assert list(faults(DOCUMENT, content["schema"], answer.json())) == []
            assert answer.json() == next(iter(content["examples"].values()))["value"]

    async def test_method_not_allowed_documents_allow_header(self, client: httpx.AsyncClient) -> None:
        assert list(COMPONENTS["responses"]["MethodNotAllowed"]["headers"]) == ["Allow"]
        assert "PUT" in (await client.delete("/profile")).headers["allow"]


BODIES = [operation for operation in OPERATIONS if operation.body_schema is not None and "400" in problems(operation)]


class TestProblemExamples:
    @pytest.mark.parametrize("operation", BODIES, ids=lambda operation: operation.id)
    async def test_invalid_field_is_answered_as_shown(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation
    ) -> None:
        shown = problems(operation)["400"]["examples"]["validation_failed"]["value"]
        body: dict[str, Any] = {}
        if shown["errors"] and operation.id != "storeSecret":
            fault = shown["errors"][0]
            required = schema_of(operation).get("required", [])
            # The other fields are sent: a response names all invalid fields.
            body = {name: value for name, value in good_body(operation).items() if name in required}
            body.pop(fault["field"], None)
            if fault["code"] == "wrong_type":
                body[fault["field"]] = "text" if fault["message"].endswith("got string") else 1
        answer = await client.request(operation.method, operation.url(), headers=ada.headers, json=body)
        if operation.id == "storeSecret":
            # Its body is refused as no envelope, whatever is wrong with it.
            assert answer.status_code == 422
        else:
            assert answer.json() == shown

    @pytest.mark.parametrize(
        "operation", [each for each in BODIES if each.id != "storeSecret"], ids=lambda operation: operation.id
    )
    async def test_unknown_field_is_answered_as_shown(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation
    ) -> None:
        body = {**good_body(operation), "nickname": "x"}
        answer = await client.request(operation.method, operation.url(), headers=ada.headers, json=body)
        assert answer.json() == example(operation.id, 400, "unknown_field")

    @pytest.mark.parametrize("operation_id", ["listContacts", "listConversations", "listDevices", "sync", "getHistory"])
    async def test_invalid_parameter_is_answered_as_shown(
        self, client: httpx.AsyncClient, ada: Person, operation_id: str
    ) -> None:
        shown = example(operation_id, 400, "validation_failed")
        (fault,) = shown["errors"]
        operation, zero = OPERATION[operation_id], {fault["field"]: 0}
        is_in_path = fault["field"] in operation.parameters("path")
        url = operation.url(**zero) if is_in_path else operation.url()
        answer = await client.get(url, headers=ada.headers, params={} if is_in_path else zero)
        assert answer.json() == shown

    async def test_missing_token_is_answered_as_shown(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/profile")).json() == example("getProfile", 401, "unauthenticated")

    async def test_common_password_is_answered_as_shown(self, client: httpx.AsyncClient) -> None:
        body = {"username": "grace", "name": "Grace", "password": "passwordpassword"}
        answer = await client.post("/register", json=body)
        shown = example("register", 422, "password_weak")
        assert (answer.json()["code"], answer.json()["errors"][0].keys()) == (shown["code"], shown["errors"][0].keys())


class TestDocumentedHeaders:
    @each
    async def test_status_documents_headers_used_by_clients(self, operation: Operation) -> None:
        for status, names in (
            ("401", ["WWW-Authenticate"]),
            ("426", ["Upgrade"]),
            ("429", ["Retry-After", "RateLimit", "RateLimit-Policy"]),
            ("503", ["Retry-After"]),
            ("507", ["Retry-After"]),
        ):
            if status in operation.definition["responses"]:
                assert list(operation.definition["responses"][status].get("headers", ())) == names

    @pytest.mark.parametrize("name", ["getProfile", "updateProfile", "getSecret", "storeSecret", "getAvatar"])
    async def test_versioned_resource_has_an_entity_tag(self, name: str) -> None:
        successes = [answer for status, answer in OPERATION[name].definition["responses"].items() if status < "300"]
        assert ["ETag" in answer["headers"] for answer in successes] == [True]

    async def test_every_header_is_described_and_used(self) -> None:
        answers = [answer for each in OPERATIONS for answer in each.definition["responses"].values()]
        answers += COMPONENTS["responses"].values()
        assert {name for answer in answers for name in answer.get("headers", ())} == set(COMPONENTS["headers"])
        assert all(header["description"] and header["schema"] for header in COMPONENTS["headers"].values())


class TestAnswerDescriptions:
    @each
    async def test_answer_description_is_specific(self, operation: Operation) -> None:
        descriptions = [answer["description"] for answer in operation.definition["responses"].values()]
        assert [text for text in descriptions if "document follows" in text or "URL follows" in text] == []
