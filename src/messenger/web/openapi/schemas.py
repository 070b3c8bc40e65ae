"""The component schemas of the OpenAPI document, from msgspec, which encodes and decodes the values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

REFERENCE = "#/components/schemas/{name}"
_INT32_MAX = 2**31 - 1
_NULL = {"type": "null"}


def reference(name: str) -> dict[str, Any]:
    """A reference to a component schema."""
    return {"$ref": REFERENCE.format(name=name)}


def schemas_of(kinds: Iterable[Any]) -> dict[str, Any]:
    """The schemas of these structs and of all nested structs, by name."""
    kinds = dict.fromkeys(kinds)
    _, described = msgspec.json.schema_components(list(kinds), ref_template=REFERENCE)
    return dict(described)


def portable(node: Any) -> Any:
    """Rewrite the document in terms that client generators understand.

    Patterns follow ECMA-262, which has no `\\A` and no `\\Z`. Integers that exceed 32 bits have the format `int64`, and
    integer bounds. A nullable value has two types in one schema where possible, and is a `oneOf` otherwise.
    """
    if isinstance(node, list):
        return [portable(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = _nullable(_typed({key: portable(value) for key, value in node.items()}))
    if isinstance(node.get("pattern"), str):
        node["pattern"] = node["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    if has_type(node, "object") and "properties" not in node and not node.get("additionalProperties"):
        # Redundant by the standard, but openapi-typescript would read it as an object without keys.
        node["additionalProperties"] = True
    if has_type(node, "integer"):
        for bound in {"minimum", "maximum"} & node.keys():
            node[bound] = int(node[bound])
        if node.get("maximum", _INT32_MAX + 1) > _INT32_MAX:
            node["format"] = "int64"
    return node


def has_type(schema: dict[str, Any], name: str) -> bool:
    """Whether the schema's own `type` allows this JSON type."""
    kind = schema.get("type")
    return kind == name or (isinstance(kind, list) and name in kind)


def never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without null, for a parameter: an absent parameter is omitted."""
    if has_type(schema, "null"):
        kept = {key: value for key, value in schema.items() if key != "enum"}
        values = {"enum": [value for value in schema["enum"] if value is not None]} if "enum" in schema else {}
        (kind,) = (name for name in schema["type"] if name != "null")
        return {**kept, **values, "type": kind}
    return schema


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """`anyOf: [{"type": "string"}, {"type": "null"}]` as `type: ["string", "null"]`."""
    for keyword in ("anyOf", "oneOf"):
        parts = schema.get(keyword, [])
        if len(parts) != 2 or _NULL not in parts:
            continue
        (other,) = (part for part in parts if part != _NULL)
        rest = {key: value for key, value in schema.items() if key != keyword}
        if not isinstance(other.get("type"), str):
            return {**rest, "oneOf": [other, _NULL]}
        values = {"enum": [*other["enum"], None]} if "enum" in other else {}
        return {**other, **rest, **values, "type": [other["type"], "null"]}
    return schema


def _typed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the type of its values added."""
    values = schema.get("enum")
    if "type" not in schema and isinstance(values, list) and all(isinstance(value, str) for value in values):
        return {"type": "string", **schema}
    return schema
