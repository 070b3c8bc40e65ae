"""Prometheus metrics of requests, statements, sockets and sweeps."""

from __future__ import annotations

import asyncio
import os

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from messenger.observability.batched_histogram import BatchedHistogram

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_FLUSH_SECONDS = 1.0

_CLOSE_CODES = frozenset({1000, 1001, 1003, 1005, 1006, 1007, 1009, 1011, 1012, 4401, 4408, 4409, 4429})


WORKER_RESTARTS = "messenger_worker_restarts"
WORKER_RESTARTS_HELP = "Workers that ended unexpectedly and were replaced"


class Metrics:
    """The metrics of this process. Several workers share them in the folder `PROMETHEUS_MULTIPROC_DIR`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._statements = BatchedHistogram(
            "messenger_statement_seconds", "Time of a statement", ["name"], buckets=_BUCKETS, registry=self.registry
        )
        self._failures = Counter(
            "messenger_statement_failures", "Statements that failed", ["name"], registry=self.registry
        )
        self._requests = BatchedHistogram(
            "messenger_request_seconds",
            "Time of a request until its response begins",
            ["method", "route", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._sockets = Gauge(
            "messenger_sockets", "Sockets that are open", registry=self.registry, multiprocess_mode="livesum"
        )
        self._closed = Counter("messenger_sockets_closed", "Sockets that ended", ["code"], registry=self.registry)
        self._held = Counter(
            "messenger_sweeps_held", "Sweep passes that were skipped", ["reason"], registry=self.registry
        )
        self._unreadable = Counter(
            "messenger_unreadable_rows",
            "Corrupt rows that were left out of responses",
            ["kind"],
            registry=self.registry,
        )

        # Always 0 with one worker; with several, the supervisor counts (`messenger.server.workers`).
        Counter(WORKER_RESTARTS, WORKER_RESTARTS_HELP, registry=self.registry)

    def socket_opened(self) -> None:
        """Count a socket."""
        self._sockets.inc()

    def socket_closed(self, code: int) -> None:
        """Count a socket that was closed. Codes that only clients use share the label `other`."""
        self._sockets.dec()
        self._closed.labels(str(code) if code in _CLOSE_CODES else "other").inc()

    def unreadable(self, kind: str) -> None:
        """Count a corrupt row."""
        self._unreadable.labels(kind).inc()

    def sweep_held(self, reason: str) -> None:
        """Count a sweep pass that was skipped because of the clock, or because it would have removed too much."""
        self._held.labels(reason).inc()

    def statement(self, name: str, seconds: float, failed: bool) -> None:
        """Count a statement."""
        self._statements.observe(seconds, name)
        if failed:
            self._failures.labels(name).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. `route`: the pattern of the path, so that ids do not become labels."""
        self._requests.observe(seconds, method, route, str(status))

    def flush(self) -> None:
        """Flush the histograms, so that other workers see their values."""
        self._statements.flush()
        self._requests.flush()

    async def flush_regularly(self) -> None:
        """Flush once a second, until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            self.flush()

    def render(self) -> bytes:
        """The metrics in the text format of Prometheus."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self.registry)
        self.flush()
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
