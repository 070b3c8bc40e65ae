"""Examples of problems, as the server returns them."""

from __future__ import annotations

from typing import Any

import msgspec

from messenger.errors import (
    FieldError,
    MessengerError,
    NotEncrypted,
    PasswordWeak,
    UnknownField,
    ValidationFailed,
    VersionConflict,
)
from messenger.errors.groups import Muted, NotPermitted
from messenger.web.openapi.schemas import has_type
from messenger.web.problems import problem_of

_UNKNOWN = "nickname"


def problem_example(error: type[MessengerError], operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """An example of a problem that this operation can return."""
    if error is UnknownField:
        return _of_field(error, FieldError(_UNKNOWN, "unknown_field", "unknown field"))
    if error is ValidationFailed:
        fault = _fault(operation, schemas)
        return _of_field(error, fault) if fault else _document(error())
    if error is PasswordWeak:
        field = "new_password" if operation["operationId"] == "changePassword" else "password"
        message = "This password is on the lists that attackers try first"
        return _document(PasswordWeak(message, errors=(FieldError(field, "too_common", message),)))
    if error is NotEncrypted:
        fault = FieldError("nonce", "bad_length", "wrong nonce length for this algorithm")
        return _document(NotEncrypted("Only an encrypted envelope can be stored", errors=(fault,)))
    if error is VersionConflict and operation["operationId"] == "storeSecret":
        return _document(VersionConflict(extra={"current_version": 3}))
    if error is NotPermitted:
        return _document(NotPermitted(extra={"permission": "info"}))
    if error is Muted:
        return _document(Muted(extra={"until": "2026-11-22T10:15:30.123Z"}))
    return _document(error())


def _document(error: MessengerError) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(problem_of(error))
    return document


def _of_field(error: type[MessengerError], fault: FieldError) -> dict[str, Any]:
    return _document(error(f"{fault.field}: {fault.message}", errors=(fault,)))


def _fault(operation: dict[str, Any], schemas: dict[str, Any]) -> FieldError | None:
    """An example of an invalid field: of the body, otherwise of the parameters."""
    content = operation.get("requestBody", {}).get("content", {})
    for media_type in content.values():
        schema = schemas[media_type["schema"]["$ref"].rpartition("/")[2]] if "$ref" in media_type["schema"] else {}
        return _fault_of_body(schema)
    for parameter in operation.get("parameters", ()):
        if parameter["in"] != "header" and "minimum" in parameter["schema"]:
            return FieldError(parameter["name"], "too_small", f"at least {parameter['schema']['minimum']}")
        if parameter["in"] == "query" and parameter["required"]:
            return FieldError(parameter["name"], "required", "this parameter is required")
    return None


def _fault_of_body(schema: dict[str, Any]) -> FieldError | None:
    for name in schema.get("required", ()):
        return FieldError(name, "required", "this field is required")
    for name, part in schema.get("properties", {}).items():
        if "type" in part and "format" not in part and not has_type(part, "integer"):
            kinds = [part["type"]] if isinstance(part["type"], str) else part["type"]
            return FieldError(name, "wrong_type", f"expected {' or '.join(kinds)}, got integer")
    for name, part in schema.get("properties", {}).items():
        if has_type(part, "integer"):
            kinds = [part["type"]] if isinstance(part["type"], str) else part["type"]
            return FieldError(name, "wrong_type", f"expected {' or '.join(kinds)}, got string")
    return None
