"""Metrics in Prometheus' form: statements, requests, the pool."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_CLOSE_CODES = frozenset({1000, 1001, 1003, 1005, 1006, 1007, 1009, 1011, 1012, 4401, 4408, 4409, 4429})


class Metrics:
    """What this process counts; several workers share a folder of counts where `PROMETHEUS_MULTIPROC_DIR` is set."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._statements = Histogram(
            "messenger_statement_seconds", "Time of a statement", ["name"], buckets=_BUCKETS, registry=self.registry
        )
        self._failures = Counter(
            "messenger_statement_failures", "Statements that failed", ["name"], registry=self.registry
        )
        self._requests = Histogram(
            "messenger_request_seconds",
            "Time of a request until its answer begins",
            ["method", "route", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

        self._sockets = Gauge(
            "messenger_sockets", "Sockets that are open", registry=self.registry, multiprocess_mode="livesum"
        )
        # Finding a label's own counts by name costs more than counting.
        self._of_statement: dict[str, Histogram] = {}
        self._of_request: dict[tuple[str, str, int], Histogram] = {}
        self._closed = Counter("messenger_sockets_closed", "Sockets that ended", ["code"], registry=self.registry)

    def socket_opened(self) -> None:
        """One more socket."""
        self._sockets.inc()

    def socket_closed(self, code: int) -> None:
        """One socket less; `code` is a close code, and a client's own ones are one label."""
        self._sockets.dec()
        self._closed.labels(str(code) if code in _CLOSE_CODES else "other").inc()

    def statement(self, name: str, seconds: float, failed: bool) -> None:
        """One more statement."""
        counts = self._of_statement.get(name)
        if counts is None:
            counts = self._of_statement[name] = self._statements.labels(name)
        counts.observe(seconds)
        if failed:
            self._failures.labels(name).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One more request; `route` is the path's pattern, so that no id becomes a label."""
        key = (method, route, status)
        counts = self._of_request.get(key)
        if counts is None:
            counts = self._of_request[key] = self._requests.labels(method, route, str(status))
        counts.observe(seconds)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self.registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
