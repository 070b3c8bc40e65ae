"""The clock that all workers share follows the database's clock, not the hosts' clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from messenger import clock
from messenger.clock import SharedClock
from messenger.config import Settings
from messenger.container import Container

DAY = timedelta(days=1)


def learn(shared: SharedClock, off: timedelta, *, way: float = 0.0) -> datetime:
    """Tell it the offset of the database's clock; `way`: seconds of the round trip."""
    asked = time.monotonic()
    theirs = datetime.now(UTC) + off
    shared.learn(theirs, asked=asked - way / 2, answered=asked + way / 2)
    return theirs


def test_clock_uses_host_time_before_first_sync() -> None:
    assert abs(SharedClock().now() - datetime.now(UTC)) < timedelta(seconds=1)


def test_clock_uses_database_time_after_sync() -> None:
    shared = SharedClock()
    theirs = learn(shared, DAY)
    assert abs(shared.now() - theirs) < timedelta(seconds=1)


def test_setting_host_clock_does_not_change_shared_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedClock()
    theirs = learn(shared, DAY)
    monkeypatch.setattr(clock, "time", lambda: 0.0)
    assert abs(shared.now() - theirs) < timedelta(seconds=1)


@pytest.mark.parametrize(("off", "follows"), [(timedelta(seconds=1), False), (timedelta(seconds=9), True)])
def test_difference_within_round_trip_is_ignored(off: timedelta, follows: bool) -> None:
    shared = SharedClock()
    before = learn(shared, DAY)
    learn(shared, DAY + off, way=4.0)
    assert (shared.now() - before > timedelta(seconds=0.5)) is follows


def test_clock_returns_whole_milliseconds() -> None:
    shared = SharedClock()
    learn(shared, timedelta(microseconds=123_456))
    assert all(shared.now().microsecond % 1000 == 0 for _ in range(1000))
    assert shared.now().tzinfo is UTC


async def test_worker_heartbeat_synchronizes_clock(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "time", lambda: time.time() + DAY.total_seconds())
    container = Container(settings)
    assert container.clock.now() - datetime.now(UTC) > DAY / 2
    await container.services.presence.renew(uuid4())
    connection = await asyncpg.connect(settings.database_url)
    theirs: datetime = await connection.fetchval("SELECT clock_timestamp()")
    await connection.close()
    assert abs(container.clock.now() - theirs) < timedelta(seconds=2)
    await container.close()
