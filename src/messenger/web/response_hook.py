"""Completes every response, including those of unknown paths: security headers, metrics, the access log."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Any

from litestar.types import Message, Scope

from messenger.observability.metrics import Metrics
from messenger.web.head import ORIGINAL_METHOD

logger = logging.getLogger("messenger.access")

_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # The client chooses JSON or MessagePack.
    (b"vary", b"accept"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)
_UNLESS_SAID_OTHERWISE = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

FILE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""The content security policy of uploaded files and archives: opened directly, they run no scripts and have no
origin.
"""

HEADERS = (*_SECURITY, *_UNLESS_SAID_OTHERWISE)
"""The default headers of a response."""


class ResponseHook:
    """Litestar's `before_send` hook."""

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
        context: dict[str, Any] = scope  # type: ignore[assignment]
        # Some servers accept any word as a method: clients must not create metric labels.
        method = context["method"] if context["method"] in _METHODS else "OTHER"
        if ORIGINAL_METHOD in context:
            method = context[ORIGINAL_METHOD]
        self.record(method, context.get("path_template") or "unknown", message["status"], context.get("started"))

    def record(self, method: str, route: str, status: int, started: float | None) -> None:
        """Count and log a response; `route` is the pattern of the path, `started` a value of `perf_counter`."""
        seconds = 0.0 if started is None else perf_counter() - started
        self._metrics.request(method, route, status, seconds)
        if self._access_log:
            logger.info("%s %s %d %.1fms", method, route, status, seconds * 1000)
