"""The types of the wire: bounded text, numbers and times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, to_builtins

from messenger.schemas.text import MAX_LENGTH

PRINTABLE = r"\A[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"
"""No control characters except tab, line feed and carriage return: PostgreSQL refuses NUL, and the others are
invisible.
"""

LINES = r"\A[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202d\u202e]*\Z"
"""`PRINTABLE` without bidirectional overrides, which display a text in a different order."""

Timestamp = Annotated[
    str,
    Meta(
        description="UTC with milliseconds (RFC 3339)",
        examples=["2026-11-22T10:15:30.123Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
PeerId = Annotated[int, Meta(ge=1, le=2**53 - 1, description="ID of a user or a group", examples=[26040983])]
Seq = Annotated[int, Meta(ge=0, le=2**53 - 1, description="Sequence number in the conversation", examples=[42])]


def text_meta(limit: int, example: str, *, at_least: int | None = None, pattern: str = LINES) -> Meta:
    """A text of at most `limit` characters in NFC, checked by the service: before composition it may be longer."""
    return Meta(
        min_length=at_least,
        pattern=pattern,
        description=f"At most {limit} characters in Unicode's composed form (NFC)",
        examples=[example],
        extra_json_schema={"maxLength": limit},
    )


Name = Annotated[str, text_meta(MAX_LENGTH, "Ada Lovelace", at_least=1, pattern=PRINTABLE)]
Alias = Annotated[str, text_meta(MAX_LENGTH, "Ada from work", at_least=1, pattern=PRINTABLE)]
Username = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=64,
        pattern=r"\A(?=.*[A-Za-z_])[A-Za-z0-9_][A-Za-z0-9_.-]*\Z",
        description="Letters, digits, `_`, `.` and `-`; not only digits. Case is preserved but not significant.",
        examples=["ada"],
    ),
]
# Password strength is checked by the service, with a separate error (422).
Password = Annotated[str, Meta(min_length=1, max_length=4096, examples=["correct horse battery staple"])]
Token = Annotated[str, Meta(min_length=1, max_length=512, examples=["qrGKWuj5JzLr3hmLGnMrx8cbWxyUMxaEtCS5RZrpRv8"])]
ClientId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=r"\A[\x21-\x7e]+\Z",
        description="The client's ID for the message, unique per account; use a UUID",
        examples=["0b9c1f7e-6f43-4d2a-9d0e-0c1b2a3d4e5f"],
    ),
]
StatusName = Literal["online", "away", "busy", "invisible"]
AudienceName = Literal["everyone", "contacts", "nobody"]
ContactState = Literal["pending_out", "pending_in", "mutual", "blocked"]
AnyContactState = Literal["pending_out", "pending_in", "mutual", "blocked", "none"]


_WITH_FRACTION, _WITHOUT = len("2026-11-22T10:15:30.123000Z"), len("2026-11-22T10:15:30Z")


def timestamp(at: datetime) -> str:
    """An aware datetime as the wire shows it: `2026-11-22T10:15:30.123Z`."""
    # Every item of a page has several; this is several times as fast as `isoformat`.
    text: str = to_builtins(at)
    if len(text) == _WITH_FRACTION:
        return text[:23] + "Z"
    if len(text) == _WITHOUT:
        return text[:19] + ".000Z"
    # The time zone is not UTC.
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def timestamp_or_none(at: datetime | None) -> str | None:
    """`timestamp`, or null."""
    return None if at is None else timestamp(at)


def one_of(*kinds: type) -> dict[str, Any]:
    """The JSON schema of a field that is one of these structs: msgspec has no unions of structs without a tag."""
    return {"oneOf": [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in kinds]}
