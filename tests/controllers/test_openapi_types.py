"""Types in the document, as generators of mobile clients need them: 64-bit integers, dates, absence, limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http import DOCUMENT, OPERATION, OPERATIONS, TIMESTAMP, Operation
from tests.support.openapi_schema import resolve

INT32_MAX = 2**31 - 1
DATES = {"at", "since", "last_activity", "muted_until"}
each = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)


def schemas(node: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document that may be a schema, with its location; examples are values."""
    if isinstance(node, dict):
        yield at, node
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        if key not in {"example", "examples", "mapping"}:
            yield from schemas(child, f"{at}/{key}")


def types_of(schema: dict[str, Any]) -> list[str]:
    """The types that a schema names."""
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else kind


PROPERTIES = [
    (f"{place}/{name}", name, schema)
    for place, owner in schemas(DOCUMENT)
    if isinstance(owner.get("properties"), dict) and "type" in owner
    for name, schema in owner["properties"].items()
]


class TestIntegerTypes:
    def test_integer_beyond_32_bits_has_format_int64(self) -> None:
        integers = [(place, schema) for place, schema in schemas(DOCUMENT) if "integer" in types_of(schema)]
        assert len(integers) > 50
        assert [
            place
            for place, schema in integers
            if schema.get("maximum", INT32_MAX + 1) > INT32_MAX and schema.get("format") != "int64"
        ] == []

    @pytest.mark.parametrize("name", ["id", "target_id", "user_id", "seq", "last_seq", "read_seq", "version"])
    def test_ids_and_message_seqs_have_format_int64(self, name: str) -> None:
        found = [schema for _, each, schema in PROPERTIES if each == name and "integer" in types_of(schema)]
        assert found
        assert {schema["format"] for schema in found} == {"int64"}

    def test_integer_bounds_are_integers(self) -> None:
        bounds = [
            schema[bound]
            for _, schema in schemas(DOCUMENT)
            for bound in ("minimum", "maximum")
            if bound in schema and "integer" in types_of(schema)
        ]
        assert bounds
        assert [bound for bound in bounds if not isinstance(bound, int)] == []


class TestDateTypes:
    def test_date_has_format_date_time(self) -> None:
        dates = [(place, schema) for place, name, schema in PROPERTIES if name in DATES or name.endswith("_at")]
        assert len(dates) > 15
        assert [place for place, schema in dates if schema.get("format") != "date-time"] == []

    def test_property_with_a_time_as_example_is_a_date(self) -> None:
        shown = [
            (place, schema)
            for place, _, schema in PROPERTIES
            if any(isinstance(value, str) and TIMESTAMP.match(value) for value in schema.get("examples", ()))
        ]
        assert shown
        assert [place for place, schema in shown if schema.get("format") != "date-time"] == []


class TestNullability:
    @each
    async def test_parameter_is_optional_and_never_null(self, operation: Operation) -> None:
        for parameter in operation.definition.get("parameters", ()):
            schema = parameter["schema"]
            assert isinstance(schema["type"], str), parameter["name"]
            assert not {"oneOf", "anyOf"} & set(schema), parameter["name"]

    def test_nullable_scalar_is_single_schema_of_two_types(self) -> None:
        nested = [
            place
            for place, schema in schemas(DOCUMENT)
            for keyword in ("oneOf", "anyOf")
            if {"type": "null"} in schema.get(keyword, ())
            and any("type" in part for part in schema[keyword] if part != {"type": "null"})
        ]
        # A number, a text or neither: three types.
        assert {place.split("/")[3] for place in nested} <= {"Kdf"}

    def test_nullable_enum_lists_null(self) -> None:
        choices = [schema["enum"] for _, schema in schemas(DOCUMENT) if "enum" in schema and "null" in types_of(schema)]
        assert choices
        assert all(None in values for values in choices)

    def test_view_requires_all_fields(self) -> None:
        for name, schema in DOCUMENT["components"]["schemas"].items():
            if name.endswith(("View", "Page")):
                assert set(schema["required"]) == set(schema["properties"]), name


class TestDocumentedLimits:
    @pytest.mark.parametrize("name", ["MessageDraft", "MessagePatch"])
    def test_body_of_a_message_is_limited_in_bytes(self, name: str) -> None:
        body = DOCUMENT["components"]["schemas"][name]["properties"]["body"]
        assert (body["minLength"], body["maxLength"]) == (1, 65536)
        assert "65,536 bytes" in body["description"]
        assert ("Required, unless" in body["description"]) == (name == "MessageDraft")

    def test_mentions_are_limited(self) -> None:
        draft = resolve(DOCUMENT, OPERATION["sendMessage"].body_schema or {})
        assert draft["properties"]["mentions"]["maxItems"] == 50

    def test_envelope_is_limited_as_a_whole(self) -> None:
        envelope = DOCUMENT["components"]["schemas"]["SecretEnvelope"]
        assert "64 KiB" in envelope["description"]
        assert envelope["properties"]["ciphertext"]["maxLength"] == 65536
        assert envelope["properties"]["algorithm"]["maxLength"] == 64
        assert all(
            part.get("description") or part.get("pattern") or "$ref" in part for part in envelope["properties"].values()
        )
