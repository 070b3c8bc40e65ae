"""Times in requests."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)


class Moment(datetime):
    """A time in UTC within the range of PostgreSQL and of the wire format; times outside the range are clamped.

    The database driver treats the ends of the calendar as infinity, and converting them to another time zone overflows.
    """


def plain(at: Moment) -> datetime:
    """The same time as a `datetime`: msgspec does not encode subclasses."""
    return datetime.combine(at.date(), at.timetz())


EARLIEST = Moment(1970, 1, 1, tzinfo=UTC)
LATEST = Moment(9998, 12, 31, tzinfo=UTC)


def moment(value: datetime | str) -> Moment:
    """A datetime with a time zone, or RFC 3339 text with any number of digits after the second.

    Raises `ValueError`.
    """
    if isinstance(value, datetime):
        value = value.isoformat()
    found = _RFC3339.fullmatch(value)
    if found is None:
        raise ValueError("Invalid time")
    date, minute, second, fraction, sign, hours, minutes = found.groups("")
    try:
        local = Moment.fromisoformat(f"{date}T{minute}:{second}.{fraction[:6]:0<6}+00:00")
    except ValueError:
        # Python's message describes the invalid part; the API has its own message.
        raise ValueError("Invalid time") from None
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        at = local - offset
    except OverflowError:
        return EARLIEST if local < EARLIEST else LATEST
    return min(max(at, EARLIEST), LATEST)


def decode_hook(kind: Any, value: Any) -> Any:
    """Decode types that msgspec does not know. Raises `ValueError`, which msgspec converts to its own error."""
    if kind is not Moment:
        raise NotImplementedError(f"no decoder for {kind}")
    if not isinstance(value, str | datetime):
        raise ValueError(f"Expected `time`, got `{type(value).__name__}`")
    return moment(value)
