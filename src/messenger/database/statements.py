"""Statements: declared once with a name, and compiled to asyncpg's form at import.

A statement authenticates its own caller, so that authentication costs no round trip: it begins with the CTE `<<actor>>`
and selects `<<actor_columns>>` first. It returns no row if the caller is not authenticated. A statement that returns a
long page selects `<<page_actor_columns>>` instead, which are NULL unless an activity stamp is due. A statement for
several callers begins with `<<actors>>` and selects `<<actors_columns>>`; it returns no row for an unauthenticated one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Generic

import msgspec

from messenger.actor import Bearer, Caller
from messenger.database.rows import Row, columns_of, decoders

# An actor is stale if its stamp is due: the last activity is too old, or the access token is used for the first time.
_BY_TOKEN = """actor AS (
    SELECT d.user_id, d.id AS device_id,
        d.last_activity < :stale_before OR d.used_access_hash IS DISTINCT FROM d.access_hash AS stale
    FROM devices AS d WHERE d.access_hash = :token_hash AND d.access_expires_at > :now
)"""
_BY_DEVICE = """actor AS (
    SELECT d.user_id, d.id AS device_id, d.last_activity < :stale_before AS stale
    FROM devices AS d WHERE d.id = :device_id AND d.user_id = :user_id
)"""
_MANY_BY_TOKEN = """actors AS MATERIALIZED (
    SELECT g.n, d.user_id, d.id AS device_id,
        d.last_activity < :stale_before OR d.used_access_hash IS DISTINCT FROM d.access_hash AS stale
    FROM unnest(:token_hashes::bytea[]) WITH ORDINALITY AS g (access_hash, n)
        JOIN devices AS d ON d.access_hash = g.access_hash AND d.access_expires_at > :now
)"""
_MANY_BY_DEVICE = """actors AS MATERIALIZED (
    SELECT g.n, d.user_id, d.id AS device_id, d.last_activity < :stale_before AS stale
    FROM unnest(:user_ids::bigint[], :device_ids::uuid[]) WITH ORDINALITY AS g (user_id, device_id, n)
        JOIN devices AS d ON d.id = g.device_id AND d.user_id = g.user_id
)"""
_ACTOR_COLUMNS = "actor.user_id AS actor_user_id, actor.device_id AS actor_device_id, actor.stale AS actor_stale"
_PAGE_ACTOR_COLUMNS = """CASE WHEN actor.stale THEN actor.user_id END AS actor_user_id,
    CASE WHEN actor.stale THEN actor.device_id END AS actor_device_id, actor.stale AS actor_stale"""
ACTOR_WIDTH = 3
_ACTORS_COLUMNS = f"{_ACTOR_COLUMNS.replace('actor.', 'actors.')}, actors.n"
ACTORS_WIDTH = 4
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)(?!\w|::)|(?<![:\w]):([a-z_]+)(?=::)")
# In a SELECT list PostgreSQL takes a parameter for text, so the parameters of all statements are cast.
_TYPES = {"now": "::timestamptz", "stale_before": "::timestamptz", "user_id": "::bigint", "device_id": "::uuid"}


class _Compiled(msgspec.Struct, frozen=True):
    """SQL with the placeholders `$1 …`, and the names of their values."""

    sql: str
    parameters: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> _Compiled:
        names: list[str] = []

        def number(match: re.Match[str]) -> str:
            bare, cast = match[1], match[2]
            name = bare or cast
            if name not in names:
                names.append(name)
            return f"${names.index(name) + 1}{_TYPES.get(bare, '') if bare else ''}"

        return cls(_PARAMETER.sub(number, text), tuple(names))


class Statement(Generic[Row]):
    """A named SQL statement, and the struct of its rows: see `messenger.database.rows`.

    `writes=False` promises that it changes nothing; a read-only unit of work runs no other.
    """

    def __init__(self, name: str, text: str, row: type[Row] | None = None, *, writes: bool) -> None:
        self.name = name
        self.row = row
        self.writes = writes
        self.text = text
        self.authenticates = "<<actor>>" in text
        # The number of columns before those of the row: the caller, and in a batch the caller's place.
        self.skip = ACTOR_WIDTH if self.authenticates else ACTORS_WIDTH if "<<actors>>" in text else 0
        # Make the structs of several records, or of one.
        self.build: Callable[[Sequence[Any]], list[Row]] = self._build_first
        self.build_one: Callable[[Any], Row] = self._build_one_first
        filled = (
            text.replace("<<actor_columns>>", _ACTOR_COLUMNS)
            .replace("<<page_actor_columns>>", _PAGE_ACTOR_COLUMNS)
            .replace("<<actors_columns>>", _ACTORS_COLUMNS)
        )
        self._by_token = _Compiled.of(filled.replace("<<actor>>", _BY_TOKEN).replace("<<actors>>", _MANY_BY_TOKEN))
        self._by_device = _Compiled.of(filled.replace("<<actor>>", _BY_DEVICE).replace("<<actors>>", _MANY_BY_DEVICE))
        STATEMENTS[name] = self

    def compiled_for(self, caller: Caller | None) -> _Compiled:
        """The form for this kind of caller."""
        return self._by_token if isinstance(caller, Bearer) else self._by_device

    def _build_first(self, records: Sequence[Any]) -> list[Row]:
        if not records:
            return []
        self._prepare(records[0])
        return self.build(records)

    def _build_one_first(self, record: Any) -> Row:
        self._prepare(record)
        return self.build_one(record)

    def _prepare(self, record: Any) -> None:
        """Check that the columns are the fields of the row in the same order, and make the decoders."""
        assert self.row is not None
        columns, expected = tuple(record.keys())[self.skip :], columns_of(self.row)
        if columns != expected:
            raise TypeError(f"statement {self.name}: columns {columns} are not {expected}")
        self.build, self.build_one = decoders(self.row, self.skip)


STATEMENTS: dict[str, Statement[Any]] = {}
"""Every statement of the process by name, for metrics and tests."""
