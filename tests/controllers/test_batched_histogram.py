"""Histograms that count their observations later."""

from __future__ import annotations

from random import Random

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from messenger.observability.batched_histogram import BatchedHistogram

BUCKETS = (0.001, 0.01, 0.1)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def histogram(registry: CollectorRegistry) -> BatchedHistogram:
    return BatchedHistogram("seconds", "Time", ["name"], buckets=BUCKETS, registry=registry)


def sample(registry: CollectorRegistry, kind: str, label: str) -> float | None:
    return registry.get_sample_value(f"seconds_{kind}", {"name": label})


def test_batched_histogram_matches_library_histogram(registry: CollectorRegistry, histogram: BatchedHistogram) -> None:
    chance = Random(4)
    values = [*BUCKETS, 0.0, *(chance.uniform(0, 0.2) for _ in range(200))]
    other = CollectorRegistry()
    plain = Histogram("seconds", "Time", ["name"], buckets=BUCKETS, registry=other)
    for value in values:
        histogram.observe(value, "a")
    histogram.flush()
    for value in values:
        histogram.observe(value, "b")
        for label in ("a", "b"):
            plain.labels(label).observe(value)

    def counted(text: bytes) -> list[str]:
        return [line for line in text.decode().splitlines() if "_bucket" in line or "_count" in line]

    assert counted(generate_latest(registry)) == counted(generate_latest(other))
    assert sample(registry, "sum", "a") == pytest.approx(sum(values))


def test_reading_batched_histogram_counts_once(registry: CollectorRegistry, histogram: BatchedHistogram) -> None:
    histogram.observe(0.5, "a")
    assert [sample(registry, "count", "a") for _ in range(2)] == [1, 1]


def test_observation_after_reading_is_counted(registry: CollectorRegistry, histogram: BatchedHistogram) -> None:
    histogram.observe(0.5, "a")
    generate_latest(registry)
    histogram.observe(0.5, "a")
    assert sample(registry, "count", "a") == 2
