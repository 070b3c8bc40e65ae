"""One server for the fuzz tests of this process: real processes, a real PostgreSQL, limits off."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psutil
import pytest

from tests.fuzz._budget import REST, timeout
from tests.fuzz._population import Population, gather
from tests.support.server import Server, running

METRICS_TOKEN = "a metrics token for the fuzz tests"
SETTINGS = {
    "password_time_cost": 1,
    "password_memory_cost": 32,
    "access_token_ttl": 86400,
    "max_devices": 1000,
    "metrics_token": METRICS_TOKEN,
    "stun_urls": "stun:stun.example:3478",
    "turn_urls": "turn:turn.example:3478",
    "turn_secret": "a secret shared with nobody",
}
MAY_GROW = 96 * 1024 * 1024
"""Bytes of resident memory: what a process takes when it is used first, and no more however long it runs."""
_FAULT = re.compile(r"^\S+ error +(?! ).*$", re.MULTILINE)
"""A line of log."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server; at the end it must not have logged an error."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with running(folder, rate_limits="off", **SETTINGS) as server:
        yield server
        assert _FAULT.findall(server.log.read_text()) == []


@pytest.fixture(scope="session")
def population(server: Server) -> Population:
    """The users on it."""
    return gather(server.url, metrics_token=METRICS_TOKEN)


def _resident(server: Server) -> int:
    processes = [psutil.Process(server.process.pid), *server.descendants()]
    return sum(each.memory_info().rss for each in processes if "postgres" not in each.name())


@pytest.fixture(autouse=True)
def _stays_well(server: Server) -> Iterator[None]:
    """After each test the server's memory is as before."""
    before = _resident(server)
    yield
    assert _resident(server) < before + MAY_GROW


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the long form each test takes its share of the time."""
    rest = [
        item for item in items if "tests/fuzz" in item.path.as_posix() and item.get_closest_marker("timeout") is None
    ]
    REST.tests = max(1, len(rest))
    for item in rest:
        item.add_marker(pytest.mark.timeout(timeout(REST.of_a_test)))
