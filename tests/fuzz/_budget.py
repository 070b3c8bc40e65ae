"""Duration and seed: `FUZZ_SECONDS` (absent: the short form, limited in examples) and `FUZZ_SEED`."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
LONG = SECONDS > 0
SEED = int(os.environ.get("FUZZ_SEED", "1"))
OF_THE_OPENAPI, OF_THE_LIMITS, OF_THE_REST = 0.5, 0.05, 0.45
"""Shares of `FUZZ_SECONDS`: of schemathesis' two runs, and of all tests together that run by `fuzz`."""
SLACK = 300.0
"""Seconds that a test in its long form may take beyond its share: to start servers, to shrink an example."""


class Rest:
    """The time left for the remaining tests that run by `fuzz`."""

    tests = 1

    @property
    def of_a_test(self) -> float:
        """The share of each test."""
        return OF_THE_REST / self.tests


REST = Rest()


def timeout(share: float, *, short: float = 120.0) -> float:
    """For `pytest.mark.timeout`."""
    return max(short, SECONDS * share + SLACK) if SECONDS else short


def fuzz(check: Callable[[Any], object], strategy: SearchStrategy[Any], *, examples: int) -> None:
    """Check `examples` values of one seed; in the long form, one seed after the other until the test's share is used
    up.
    """
    deadline = time.monotonic() + SECONDS * REST.of_a_test
    bounds = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )

    def checked(value: Any) -> None:
        check(value)

    for number in itertools.count(SEED):
        try:
            seed(number)(bounds(given(strategy)(checked)))()
        except BaseException as error:
            error.add_note(f"again with FUZZ_SEED={number}")
            raise
        if time.monotonic() >= deadline:
            return
