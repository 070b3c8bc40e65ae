"""Errors in a body, path or query, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import UnsetType

from messenger.errors import FieldError, UnknownField, ValidationFailed
from messenger.schemas.moments import decode_hook

_MAX_FAULTS = 20
# A longer body is not a filled-in form: its first error is enough.
_MAX_EXAMINED = 64 * 1024
_UNIONS = (Union, UnionType)
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, ValueError)

_FAULTS = (
    (
        re.compile(r"\AObject contains unknown field `(?P<name>.*)`\Z", re.DOTALL),
        "unknown_field",
        "unknown field",
    ),
    (re.compile(r"missing required field `(?P<name>.*)`"), "required", "this field is required"),
    (re.compile(r"`(?P<kind>\w+)[^`]*` of length <= (?P<limit>\d+)"), "too_long", "at most {limit} {unit}"),
    (re.compile(r"`(?P<kind>\w+)[^`]*` of length >= (?P<limit>\d+)"), "too_short", "at least {limit} {unit}"),
    (re.compile(r"(`int`|`float`) >=? (?P<limit>-?\d+)"), "too_small", "at least {limit}"),
    (re.compile(r"(`int`|`float`) <=? (?P<limit>-?\d+)"), "too_large", "at most {limit}"),
    (re.compile(r"matching regex"), "invalid_characters", "contains characters that are not allowed"),
    (re.compile(r"Invalid enum value"), "invalid_choice", "not one of the allowed values"),
    (re.compile(r"out of range"), "too_large", "the number is out of range"),
    (re.compile(r"Invalid time"), "invalid", "expected a time such as 2026-11-22T10:15:30.123Z"),
    (re.compile(r"Expected `(?P<kind>[^`]+)`, got `(?P<got>[^`]+)`"), "wrong_type", "expected {kind}, got {got}"),
)
_UNITS = {"str": "character"}
_JSON_NAMES = {
    "int": "integer",
    "float": "number",
    "str": "string",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}
_TELLING = 400
_PATH = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")


def validation_error(message: str, *, prefix: str = "") -> ValidationFailed:
    """Convert msgspec's message to a field, a code, and a message that contains none of the request's content."""
    if len(message) > 2 * _TELLING:
        # A field name may be a megabyte long: keep the error before it and the path after it.
        message = message[:_TELLING] + message[-_TELLING:]
    place = _PATH.search(message)
    path = (place["path"].strip(".") if place else "").replace("[...]", "[]")
    # The path follows the error; it is not part of an unknown field's name.
    told = message[: place.start()] if place else message
    for pattern, code, words in _FAULTS:
        found = pattern.search(told)
        if found is None:
            continue
        groups = found.groupdict()
        unit = _UNITS.get(groups.get("kind", ""), "item")
        wording = {**groups, "unit": unit if groups.get("limit") == "1" else f"{unit}s"}
        wording |= {name: _json_names(groups[name]) for name in ("kind", "got") if name in groups}
        return _refused((prefix, path, groups.get("name", "")), code, words.format(**wording))
    return _refused((prefix, path), "invalid", "this value is not valid")


def _json_names(types: str) -> str:
    """msgspec's type names, such as `int | null`, in the terms of JSON."""
    return " or ".join(_JSON_NAMES.get(name, name) for name in types.split(" | "))


def _refused(place: tuple[str, ...], code: str, words: str) -> ValidationFailed:
    field = ".".join(part for part in place if part).replace(".[", "[")[:200]
    kind = UnknownField if code == "unknown_field" else ValidationFailed
    return kind(f"{field or 'body'}: {words}", errors=(FieldError(field, code, words),))


# --- all faults of a body -------------------------------------------------------------------------


def body_error(error: msgspec.ValidationError, body: bytes, decoder: Any) -> ValidationFailed:
    """The decoder's first error and those of the other fields, up to twenty."""
    first = validation_error(str(error))
    if len(body) > _MAX_EXAMINED:
        return first
    faults = {fault.field: fault for fault in first.errors}
    is_msgpack = isinstance(decoder, msgspec.msgpack.Decoder)
    for fault in _faults(body, decoder.type, is_msgpack, ""):
        faults.setdefault(fault.field, fault)
        if len(faults) == _MAX_FAULTS:
            break
    return type(first)(first.detail, errors=tuple(faults.values()))


def _faults(body: msgspec.Raw | bytes, struct: Any, is_msgpack: bool, prefix: str) -> Iterator[FieldError]:
    """The first error of each field; nested structs are examined field by field."""
    decode_raw, decoders = _field_decoders(struct, is_msgpack)
    try:
        given = decode_raw(body)
    except _UNREADABLE:
        return
    for name in given.keys() - decoders.keys():
        yield FieldError(f"{prefix}{name}"[:200], UnknownField.code, "unknown field")
    for name, (decoder, nested, is_required) in decoders.items():
        if name not in given:
            if is_required:
                yield FieldError(f"{prefix}{name}", "required", "this field is required")
            continue
        try:
            decoder.decode(given[name])
        except msgspec.ValidationError as error:
            inside = list(_faults(given[name], nested, is_msgpack, f"{prefix}{name}.")) if nested is not None else []
            yield from inside or validation_error(str(error), prefix=f"{prefix}{name}").errors
        except _UNREADABLE:
            return


@cache
def _field_decoders(struct: Any, is_msgpack: bool) -> tuple[Any, dict[str, tuple[Any, Any, bool]]]:
    """A decoder that splits a struct into the raw bytes of its fields, and for each field its decoder, its struct if it
    is one, and whether it is required."""
    kind: Any = msgspec.msgpack.Decoder if is_msgpack else msgspec.json.Decoder
    decoders = {}
    for field in msgspec.structs.fields(struct):
        types = [each for each in _alternatives(field.type) if each is not UnsetType]
        nested = next((each for each in types if isinstance(each, type) and issubclass(each, msgspec.Struct)), None)
        decoders[field.encode_name] = (kind(_union(types), dec_hook=decode_hook), nested, field.required)
    return kind(dict[str, msgspec.Raw]).decode, decoders


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, which may be wrapped in `Annotated`."""
    if get_origin(annotation) is Annotated and get_origin(get_args(annotation)[0]) in _UNIONS:
        annotation = get_args(annotation)[0]
    return get_args(annotation) if get_origin(annotation) in _UNIONS else (annotation,)


def _union(types: list[Any]) -> Any:
    return Union[tuple(types)]  # noqa: UP007
