"""Timestamps in the API have milliseconds and a Z, whatever time zone and fraction they come from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from messenger.schemas.types import timestamp

AT = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (AT, "2026-11-22T10:15:30.000Z"),
        (AT.replace(microsecond=123_000), "2026-11-22T10:15:30.123Z"),
        (AT.replace(microsecond=1), "2026-11-22T10:15:30.000Z"),
        (AT.replace(microsecond=999_999), "2026-11-22T10:15:30.999Z"),
        (AT.replace(year=1), "0001-11-22T10:15:30.000Z"),
        (AT.astimezone(timezone(timedelta(hours=2))), "2026-11-22T10:15:30.000Z"),
        (
            AT.replace(microsecond=5_000).astimezone(timezone(-timedelta(hours=9, minutes=30))),
            "2026-11-22T10:15:30.005Z",
        ),
    ],
)
def test_timestamp_shows_milliseconds_and_z(at: datetime, shown: str) -> None:
    assert timestamp(at) == shown
