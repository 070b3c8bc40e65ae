"""Request durations in the log and in the metrics, refused requests included."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.errors import InvalidCredentials, PeerNotFound, UnsupportedImage
from messenger.testing import Person
from messenger.web import application, fast_path, response_hook
from tests.support.http import client_of
from tests.support.images import encoded, plain

SECONDS = 7.5


class Stopwatch:
    """A clock that is advanced manually."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def refusing(self, error: Exception) -> Any:
        """A service method that takes `SECONDS` and refuses."""

        async def method(*_: Any, **__: Any) -> Any:
            self.now += SECONDS
            raise error

        return method


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    stopwatch = Stopwatch()
    for module in (application, fast_path, response_hook):
        monkeypatch.setattr(module, "perf_counter", stopwatch)
    return stopwatch


@pytest_asyncio.fixture(loop_scope="session")
async def logging_container(settings: Settings, container: Container) -> AsyncIterator[Container]:
    """A container whose application writes an access log."""
    changed = msgspec.structs.replace(settings, access_log="on")
    other = Container(changed, engine=container.engine, clock=container.clock)
    yield other
    await other.close()


def _seconds(container: Container, method: str, route: str, status: int) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return container.metrics.registry.get_sample_value("messenger_request_seconds_sum", labels) or 0.0


class TestRefusedRequestTime:
    @pytest.mark.parametrize(
        ("service", "name", "error", "method", "route"),
        [
            ("accounts", "login", InvalidCredentials(), "POST", "/login"),
            ("avatars", "upload", UnsupportedImage(), "POST", "/avatar/upload"),
            ("messages", "history", PeerNotFound(), "GET", "/history/{target_id}"),
        ],
    )
    async def test_refused_request_reports_full_duration(
        self,
        ada: Person,
        logging_container: Container,
        stopwatch: Stopwatch,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        service: str,
        name: str,
        error: Any,
        method: str,
        route: str,
    ) -> None:
        monkeypatch.setattr(getattr(logging_container.services, service), name, stopwatch.refusing(error))
        before = _seconds(logging_container, method, route, error.status)
        sent: dict[str, Any] = {"files": {"file": encoded(plain())}} if service == "avatars" else {}
        if name == "login":
            sent["json"] = {"login": "nobody", "password": "x"}
        async with client_of(create_app(logging_container)) as client:
            caplog.set_level(logging.INFO, "messenger.access")
            await client.request(method, route.format(target_id=ada.id), headers=ada.headers, **sent)
        assert _seconds(logging_container, method, route, error.status) == before + SECONDS
        assert f"{method} {route} {error.status} 7500.0ms" in caplog.messages

    async def test_unknown_path_reports_no_duration(
        self, client: httpx.AsyncClient, container: Container, stopwatch: Stopwatch
    ) -> None:
        before = _seconds(container, "GET", "unknown", 404)
        assert (await client.get("/nowhere")).status_code == 404
        assert _seconds(container, "GET", "unknown", 404) == before
