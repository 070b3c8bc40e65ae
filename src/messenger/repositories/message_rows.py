"""Messages as rows: what a sender requests, what a reader sees, and the SQL of both."""

from __future__ import annotations

from datetime import datetime
from typing import Any, get_type_hints
from uuid import UUID

import msgspec


class MessageRow(msgspec.Struct, frozen=True, gc=False):
    """A message as its reader sees it: without content if it was deleted, has expired, or is hidden from the reader.

    A field is the column of the same name, unless `message_columns` has another expression for it.
    """

    id: UUID
    client_id: str
    target_id: int
    sender_id: int
    sender_device_id: UUID
    seq: int
    kind: str
    body: str | None
    reply_to: UUID | None
    forwarded_from: UUID | None
    mentions: list[int]
    created_at: datetime
    edited_at: datetime | None
    deleted_at: datetime | None
    deleted_by: int | None
    expires_at: datetime | None


class OutgoingMessage(msgspec.Struct, frozen=True, gc=False):
    """What a sender requests. A field is a parameter of the sending statement, and a column of the message."""

    id: UUID
    target_id: int
    client_id: str
    fingerprint: bytes
    kind: str
    body: str | None
    reply_to: UUID | None
    forwarded_from: UUID | None
    mentions: list[int]


_SQL_TYPES: dict[Any, str] = {
    UUID: "uuid",
    int: "bigint",
    str: "text",
    bytes: "bytea",
    list[int]: "bigint[]",
    UUID | None: "uuid",
    str | None: "text",
}

OUTGOING_TYPES = {name: _SQL_TYPES[hint] for name, hint in get_type_hints(OutgoingMessage).items()}
"""The SQL type of each field of an `OutgoingMessage`."""

TIMES = frozenset(name for name, hint in get_type_hints(MessageRow).items() if hint in (datetime, datetime | None))
"""The fields that are times."""

HIDDEN_JOIN = "LEFT JOIN hidden_messages AS hidden ON hidden.user_id = actor.user_id AND hidden.message_id = m.id"

# Whether a reader can see a message. Needs: `m` the message, `hidden` by HIDDEN_JOIN or a similar join.
VISIBLE = "m.deleted_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > :now) AND hidden.at IS NULL"

# The content of a message, and what replaces it once the message is gone.
_CONTENT = {"body": "NULL", "mentions": "'{}'"}

# For an UPDATE that removes the content of a message.
REMOVE_CONTENT = ", ".join(f"{column} = {empty}" for column, empty in _CONTENT.items())

_EXPRESSIONS = {
    "target_id": "me.target_id",
    "deleted_at": f"CASE WHEN NOT ({VISIBLE}) THEN coalesce(m.deleted_at, hidden.at, m.expires_at) END",
} | {column: f"CASE WHEN {VISIBLE} THEN m.{column} ELSE {empty} END" for column, empty in _CONTENT.items()}


def message_expressions(**others: str) -> dict[str, str]:
    """The SQL of each field of a `MessageRow`, some replaced by `others`.

    Needs: `m` the message, `me` the reader's membership, `hidden` by HIDDEN_JOIN or a similar join.
    """
    expressions = _EXPRESSIONS | others
    return {name: expressions.get(name, f"m.{name}") for name in MessageRow.__struct_fields__}


def select(expressions: dict[str, str]) -> str:
    """The expressions as a SELECT list."""
    return ", ".join(f"{expression} AS {name}" for name, expression in expressions.items())


def message_columns(**others: str) -> str:
    """The columns of a `MessageRow`, as `message_expressions`."""
    return select(message_expressions(**others))
