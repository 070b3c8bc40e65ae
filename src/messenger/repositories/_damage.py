"""Reading round rows that can't be read: a value that Python has no form for, a row that is damaged on disk.

One of them fails its whole statement. Then its page is read by halves, until what is left is that row alone, and a
blank one stands for it: of which nothing but its place is known. A page of sound rows costs nothing more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec

Key = TypeVar("Key")
Row = TypeVar("Row", bound=msgspec.Struct)

_DATA_EXCEPTION, _DATA_CORRUPTED = "22", "XX001"


def is_damage(error: Exception) -> bool:
    """Whether it is of what a row holds. Everything else would be said of each row, and must not pass for this."""
    if isinstance(error, asyncpg.PostgresError):
        state: str = error.sqlstate or ""
        return state.startswith(_DATA_EXCEPTION) or state == _DATA_CORRUPTED
    # asyncpg's decoders: a time outside of the calendar, text that is no UTF-8.
    return isinstance(error, (ArithmeticError, ValueError))


async def read_round(
    keys: Sequence[Key], read: Callable[[Sequence[Key]], Awaitable[list[Row]]], blank: Callable[[Key], Row]
) -> list[Row]:
    """The rows of these keys, in their order; a blank one for each that can't be read. Some 2 log n reads for one."""
    if not keys:
        return []
    try:
        return await read(keys)
    except Exception as error:
        if not is_damage(error):
            raise
    if len(keys) == 1:
        return [blank(keys[0])]
    half = len(keys) // 2
    return [*await read_round(keys[:half], read, blank), *await read_round(keys[half:], read, blank)]


def blank_row(kind: type[Row], **known: Any) -> Row:
    """A row of which only this is known; all else is None, whatever its type says."""
    return kind(**{**dict.fromkeys(kind.__struct_fields__), **known})
