"""Bodies and parameters in the document, where the decoder knows more than the framework."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http import DOCUMENT, OPERATION, OPERATIONS, WITH_JSON, Operation
from tests.support.openapi_schema import resolve

each = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
with_json = pytest.mark.parametrize("operation", WITH_JSON, ids=lambda operation: operation.id)


class TestDocumentedBodies:
    @with_json
    async def test_schema_refuses_unknown_field(self, operation: Operation) -> None:
        assert [schema["title"] for schema in _objects(operation.body_schema) if _is_open(schema)] == []

    async def test_list_items_are_documented_with_bounds(self) -> None:
        draft = resolve(DOCUMENT, OPERATION["sendMessage"].body_schema or {})
        assert draft["properties"]["mentions"]["items"]["minimum"] == 1

    @each
    async def test_idempotency_key_is_documented_with_pattern(self, operation: Operation) -> None:
        for parameter in operation.definition.get("parameters", ()):
            if parameter["name"] == "Idempotency-Key":
                assert re.fullmatch(parameter["schema"]["pattern"], "a-key")
                assert not re.fullmatch(parameter["schema"]["pattern"], "two words")


class TestDocumentedParameters:
    async def test_bound_of_zero_is_documented(self) -> None:
        bounds = {
            parameter["name"]: parameter["schema"] for parameter in OPERATION["getHistory"].definition["parameters"]
        }
        assert (bounds["before"]["minimum"], bounds["after"]["minimum"]) == (0, 0)


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """All objects of a schema, including those behind references."""
    if isinstance(schema, dict):
        found = resolve(DOCUMENT, schema)
        if "properties" in found:
            yield found
        for part in found.values():
            yield from _objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _objects(part)


def _is_open(schema: dict[str, Any]) -> bool:
    return schema.get("additionalProperties") is not False
