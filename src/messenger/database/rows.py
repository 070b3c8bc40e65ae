"""Rows of statements as structs. A field may be a struct itself, which takes as many columns as it has fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

Row = TypeVar("Row", bound=msgspec.Struct)


def columns_of(row: type[msgspec.Struct]) -> tuple[str, ...]:
    """The columns of a row in order, with those of its nested structs in their places."""
    return tuple(
        column
        for name, (nested, _) in _fields(row).items()
        for column in (columns_of(nested) if nested is not None else (name,))
    )


def decoders(row: type[Row], start: int) -> tuple[Callable[[Sequence[Any]], list[Row]], Callable[[Any], Row]]:
    """Two functions that create `row` structs, for several records and for one, from the columns at `start` and after.

    An optional nested struct is None if its first column is NULL. The functions are generated, like those of
    dataclasses are: a page has many rows, and a generated function calls nothing but the structs.
    """
    structs: dict[str, Any] = {}
    expression, end = _expression(row, start, structs)
    # Unpacking a record at once is faster than slicing it for each struct.
    columns = "".join(f"c{at}, " for at in range(end))
    exec(  # noqa: S102
        f"def many(records):\n    return [{expression} for {columns} in records]\n"
        f"def one(record):\n    {columns} = record\n    return {expression}\n",
        structs,
    )
    return structs["many"], structs["one"]


def _expression(row: type[msgspec.Struct], start: int, structs: dict[str, Any]) -> tuple[str, int]:
    """The expression that creates a `row` from columns `c…`, and the column after its last one."""
    name = f"struct{len(structs)}"
    structs[name] = row
    arguments: list[str] = []
    at = start
    for nested, nullable in _fields(row).values():
        first = at
        if nested is None:
            arguments.append(f"c{at}")
            at += 1
            continue
        made, at = _expression(nested, at, structs)
        arguments.append(f"None if c{first} is None else {made}" if nullable else made)
    return f"{name}({', '.join(arguments)})", at


def _fields(row: type[msgspec.Struct]) -> dict[str, tuple[type[msgspec.Struct] | None, bool]]:
    """For each field, its struct, if it is one, and whether the field may be None."""
    hints = get_type_hints(row)
    return {name: _nested(hints[name]) for name in row.__struct_fields__}


def _nested(hint: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    structs = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    return (structs[0] if structs else None), type(None) in options
