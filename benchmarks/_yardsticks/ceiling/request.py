"""A request to the ceiling: its caller, time and parameters."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

from _yardsticks.ceiling import sql
from _yardsticks.ceiling.pool import Pool

HEADERS = (
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"accept"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
Answer = tuple[int, bytes, tuple[tuple[bytes, bytes], ...]]
_NO_QUERY: dict[str, str] = {}


class Refused(Exception):
    """A status, and the code of the problem."""

    def __init__(self, status: int, code: str) -> None:
        self.status, self.code = status, code


class Request:
    """The caller, the time and the parameters of a request."""

    __slots__ = ("body", "now", "path", "pool", "query", "token")

    def __init__(self, pool: Pool, scope: Any, body: bytes) -> None:
        self.pool = pool
        self.body = body
        self.path: str = scope["path"]
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                self.token = sha256(value[7:]).digest()
                break
        else:
            raise Refused(401, "unauthenticated")
        now = datetime.now(UTC)
        self.now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        query = scope["query_string"]
        self.query = dict(parse_qsl(query.decode())) if query else _NO_QUERY

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """The rows of the statement, at least one; writes the activity stamp if it is due."""
        rows: list[Any] = await self.pool.fetch(statement, self.token, self.now, *values)
        if not rows:
            raise Refused(401, "unauthenticated")
        if rows[0][0]:
            await self.pool.fetch(sql.STAMP, self.token, self.now)
        return rows

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A number of the query."""
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isdigit() or not low <= int(text) <= high:
            raise Refused(400, "validation_failed")
        return int(text)

    @property
    def limit(self) -> int:
        return self.number("limit", 50, 1, 200)
