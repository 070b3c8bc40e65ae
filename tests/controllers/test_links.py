"""The links of the document lead to existing operations, from values that responses contain."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.http import DOCUMENT, OPERATION
from tests.support.openapi_schema import resolve

LINKS = [
    pytest.param(operation, status, link, id=f"{operation.id}-{status}-{link['operationId']}")
    for operation in OPERATION.values()
    for status, response in operation.definition["responses"].items()
    for link in response.get("links", {}).values()
]


def _has(schema: dict[str, Any], pointer: list[str]) -> bool:
    """Whether a value of this schema may contain what a JSON pointer names."""
    schema = resolve(DOCUMENT, schema)
    if not pointer:
        return True
    if any(_has(part, pointer) for part in (*schema.get("oneOf", ()), *schema.get("anyOf", ()))):
        return True
    if pointer[0].isdigit():
        return "items" in schema and _has(schema["items"], pointer[1:])
    return pointer[0] in schema.get("properties", {}) and _has(schema["properties"][pointer[0]], pointer[1:])


def _is_told(operation: Any, status: str, expression: str) -> bool:
    """Whether a runtime expression (OpenAPI 3.1, section 4.8.20.3) names something that the document describes."""
    if expression.startswith("$response.body#/"):
        (schema, *_) = (body["schema"] for body in operation.definition["responses"][status]["content"].values())
        return _has(schema, expression.removeprefix("$response.body#/").split("/"))
    if expression.startswith("$request.path."):
        return expression.removeprefix("$request.path.") in operation.parameters("path")
    return expression == "$response.header.ETag"


@pytest.mark.parametrize(("operation", "status", "link"), LINKS)
class TestDocumentLinks:
    async def test_link_names_existing_parameters(self, operation: Any, status: str, link: Any) -> None:
        documented = {parameter["name"] for parameter in OPERATION[link["operationId"]].definition["parameters"]}
        assert set(link["parameters"]) <= documented

    async def test_link_expression_resolves_in_response(self, operation: Any, status: str, link: Any) -> None:
        assert all(_is_told(operation, status, expression) for expression in link["parameters"].values())
