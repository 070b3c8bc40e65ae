"""A real server program on a real port, in this loop, over this test's container."""

from __future__ import annotations

from tests.support.fixtures import hosted, people, realtime

__all__ = ["hosted", "people", "realtime"]
