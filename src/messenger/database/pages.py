"""Pages of rows that can be read around corrupt rows.

A row that is damaged on disk, or that holds a value which Python cannot represent, fails the whole statement. The page
is then read again in halves, until each corrupt row is on its own. A page without a corrupt row costs nothing more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import asyncpg
import msgspec

from messenger.database.rows import Row
from messenger.database.statements import Statement


class Corrupt(msgspec.Struct, frozen=True, gc=False):
    """Represents a row that cannot be read; its fields are those of the row that are known, with the same names."""


Place = TypeVar("Place", bound=Corrupt)

_DATA_EXCEPTION, _DATA_CORRUPTED = "22", "XX001"


@dataclass(frozen=True, slots=True)
class Page(Generic[Row, Place]):
    """A statement that returns a page, and the means to read the page around corrupt rows.

    `places` has the same parameters, and returns a place for each row, in the same order, without reading columns that
    may be corrupt. `part` returns the parameters with which `rows` returns the rows of consecutive places. `key`
    identifies a row, and its place.
    """

    rows: Statement[Row]
    places: Statement[Place]
    part: Callable[[Sequence[Place]], dict[str, Any]]
    key: Callable[[Any], Any]


def is_corrupt(error: Exception) -> bool:
    """Whether a row's content causes the error. Any other error would be raised for every row."""
    if isinstance(error, asyncpg.PostgresError):
        state: str = error.sqlstate or ""
        return state.startswith(_DATA_EXCEPTION) or state == _DATA_CORRUPTED
    # Raised by asyncpg's decoders: for a time outside of the calendar, for text that is not UTF-8.
    return isinstance(error, (ArithmeticError, ValueError))


async def read_around(
    places: Sequence[Place], read: Callable[[Sequence[Place]], Awaitable[Sequence[Row]]]
) -> list[Row | Place]:
    """The rows at these places, and the place itself of a row that cannot be read; about 2 log n reads for each."""
    if not places:
        return []
    try:
        return [*await read(places)]
    except Exception as error:
        if not is_corrupt(error):
            raise
    if len(places) == 1:
        return [places[0]]
    half = len(places) // 2
    return [*await read_around(places[:half], read), *await read_around(places[half:], read)]
