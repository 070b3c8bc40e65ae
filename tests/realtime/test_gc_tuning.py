"""A serving worker collects garbage rarely, and restores the settings of the process."""

from __future__ import annotations

import gc

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.config import Settings
from messenger.container import Container
from messenger.server.gc_tuning import THRESHOLDS, tuned_gc


def test_gc_settings_are_restored_at_end() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    with tuned_gc():
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > 10_000
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


async def test_worker_tunes_gc_while_running(settings: Settings, engine: AsyncEngine) -> None:
    container = Container(msgspec.structs.replace(settings, bus_url="local:"), engine=engine)
    async with container.running():
        assert gc.get_threshold() == THRESHOLDS
    assert gc.get_threshold() != THRESHOLDS
