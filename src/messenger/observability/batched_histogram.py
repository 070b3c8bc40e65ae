"""Histograms that are written to thousands of times a second."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class Timings(Collector):
    """A histogram by labels, whose values are noted first and counted later, many at once.

    Counting one costs the library a walk over the buckets under locks, and a write to a mapped file where workers share
    their counts: two of them were a tenth of a small request. Noting one is an `append`. Whatever is noted is counted
    when the registry is read; whoever shares counts with other processes calls `count` now and then.
    """

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str], *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._histogram = _Histogram(name, meaning, labels, buckets=buckets, registry=None)
        self._bounds = sorted(buckets)
        self._noted: dict[tuple[str, ...], list[float]] = {}
        registry.register(self)

    def note(self, seconds: float, *labels: str) -> None:
        """One more value."""
        try:
            self._noted[labels].append(seconds)
        except KeyError:
            self._noted[labels] = [seconds]

    def count(self) -> None:
        """Count what was noted."""
        noted, self._noted = self._noted, {}
        for labels, values in noted.items():
            counts = [0] * (len(self._bounds) + 1)
            for value in values:
                counts[bisect_left(self._bounds, value)] += 1
            self._histogram.labels(*labels).add(counts, sum(values))

    def collect(self) -> Iterable[Metric]:
        self.count()
        return self._histogram.collect()

    def describe(self) -> Iterable[Metric]:
        return self._histogram.describe()


class _Histogram(Histogram):
    def add(self, counts: Sequence[int], total: float) -> None:
        """As many `observe`s as there are `counts`, one for each bucket and one for what lies beyond."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
