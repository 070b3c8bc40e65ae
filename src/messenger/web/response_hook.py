"""The last touch on every answer, those that no route made included: safe headers, a metric, a line of log."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Any

from litestar.types import Message, Scope

from messenger.observability.metrics import Metrics
from messenger.web.head import ASKED_METHOD

logger = logging.getLogger("messenger.access")

_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # JSON or MessagePack, as the client asks.
    (b"vary", b"accept"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)
_UNLESS_SAID_OTHERWISE = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

FILE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""For what somebody uploaded, and for archives: opened by itself it runs nothing, and is of no origin."""

HEADERS = (*_SECURITY, *_UNLESS_SAID_OTHERWISE)
"""Of an answer that says nothing else itself."""


class Finish:
    """A hook for `before_send`."""

    def __init__(self, metrics: Metrics, *, access_log: bool) -> None:
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        headers = list(message.get("headers", ()))
        present = {name.lower() for name, _ in headers}
        headers.extend(_SECURITY)
        headers.extend(each for each in _UNLESS_SAID_OTHERWISE if each[0] not in present)
        message["headers"] = headers
        told: dict[str, Any] = scope  # type: ignore[assignment]
        # Some server programs pass on any word as a method: no client makes labels.
        method = told["method"] if told["method"] in _METHODS else "OTHER"
        if ASKED_METHOD in told:
            method = told[ASKED_METHOD]
        self.note(method, told.get("path_template") or "unknown", message["status"], told.get("started"))

    def note(self, method: str, route: str, status: int, started: float | None) -> None:
        """Count an answer; `route` is a path's pattern, `started` by `perf_counter`."""
        seconds = 0.0 if started is None else perf_counter() - started
        self._metrics.request(method, route, status, seconds)
        if self._access_log:
            logger.info("%s %s %d %.1fms", method, route, status, seconds * 1000)
