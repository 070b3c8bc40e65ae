"""The part of JSON Schema (2020-12) that our OpenAPI document uses; an unknown keyword is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_ANNOTATIONS = frozenset(
    {
        "title",
        "description",
        "examples",
        "default",
        "format",
        "contentMediaType",
        "deprecated",
        "const",
        "discriminator",
    }
)
_CHECKED = frozenset(
    {
        "$ref",
        "type",
        "enum",
        "oneOf",
        "anyOf",
        "allOf",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "maxItems",
        "minItems",
        "pattern",
    }
)


def is_type(value: Any, name: str) -> bool:
    """Whether a value has one of JSON Schema's types; a bool is no integer, an integer is a number."""
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "boolean": (bool,),
        "null": (type(None),),
        "array": (list,),
        "object": (dict,),
        "integer": (int,),
        "number": (int, float),
    }
    return isinstance(value, kinds[name]) and (name == "boolean" or not isinstance(value, bool))


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a `$ref` points to, or the schema itself."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def faults(document: dict[str, Any], schema: dict[str, Any], value: Any, at: str = "$") -> Iterator[str]:
    """Where a value does not match its schema. An object with a key that the schema does not name is a fault, too."""
    schema = _combined(document, resolve(document, schema))
    unknown = set(schema) - _ANNOTATIONS - _CHECKED
    assert not unknown, f"teach the validator {unknown}"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: none of {schema['enum']}"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(is_type(value, name) for name in types):
        yield f"{at}: {type(value).__name__}, not {types}"
        return
    yield from _of_combinations(document, schema, value, at)
    if isinstance(value, dict):
        yield from _of_object(document, schema, value, at)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from faults(document, schema.get("items", {}), item, f"{at}[{index}]")
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{at}: too many items"
    else:
        yield from _of_scalar(schema, value, at)


def _combined(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The objects of an `allOf` as one: each names only some of the properties, and limits of a property add up."""
    parts = [resolve(document, part) for part in schema.get("allOf", ())]
    if not parts or not all("properties" in part for part in parts):
        return schema
    names = dict.fromkeys(name for part in parts for name in part["properties"])
    found = {name: [part["properties"][name] for part in parts if name in part["properties"]] for name in names}
    return {
        "type": "object",
        "properties": {name: limits[0] if len(limits) == 1 else {"allOf": limits} for name, limits in found.items()},
        "required": [name for part in parts for name in part.get("required", ())],
        "additionalProperties": all(part.get("additionalProperties", True) for part in parts),
    }


def _of_combinations(document: dict[str, Any], schema: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    for part in schema.get("allOf", ()):
        yield from faults(document, part, value, at)
    for keyword in ("oneOf", "anyOf"):
        if keyword not in schema:
            continue
        results = [list(faults(document, part, value, at)) for part in schema[keyword]]
        fitting = sum(not result for result in results)
        if not fitting or (keyword == "oneOf" and fitting > 1):
            yield f"{at}: fits {fitting} of {keyword}: {[fault for result in results for fault in result][:3]}"


def _of_object(document: dict[str, Any], schema: dict[str, Any], value: dict[str, Any], at: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}.{name}: missing"
    others = schema.get("additionalProperties")
    for name, item in value.items():
        if name in schema.get("properties", {}):
            yield from faults(document, schema["properties"][name], item, f"{at}.{name}")
        elif isinstance(others, dict):
            yield from faults(document, others, item, f"{at}.{name}")
        elif "properties" in schema:
            yield f"{at}.{name}: not documented"


def _of_scalar(schema: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{at}: a length of {len(value)}"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{at}: doesn't match {schema['pattern']}"
    elif is_type(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value} is out of bounds"


def sample(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """A valid value, made of the schema's own examples."""
    schema = resolve(document, schema)
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for keyword in ("allOf", "oneOf", "anyOf"):
        if keyword in schema:
            return sample(document, schema[keyword][0])
    if schema.get("type") == "object":
        return {name: sample(document, part) for name, part in schema.get("properties", {}).items()}
    kind = schema["type"]
    samples = {"boolean": True, "array": [], "integer": 1, "string": "text"}
    return samples[kind if isinstance(kind, str) else next(each for each in kind if each in samples)]


def accepted_types(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """The JSON types that a schema accepts."""
    schema = resolve(document, schema)
    parts = [part for keyword in ("oneOf", "anyOf", "allOf") for part in schema.get(keyword, ())]
    types = schema.get("type", [])
    return set([types] if isinstance(types, str) else types).union(*(accepted_types(document, part) for part in parts))
