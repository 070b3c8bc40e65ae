"""Health: the readiness of a process."""

from __future__ import annotations

import msgspec


class ReadyView(msgspec.Struct, frozen=True):
    status: str
    checks: dict[str, str]
