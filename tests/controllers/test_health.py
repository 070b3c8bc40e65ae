"""Health and metrics over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.testing import Factory, Person
from tests.support.http import Witness, assert_problem, client_of

TOKEN = "a token that prometheus knows"


@pytest_asyncio.fixture(loop_scope="session")
async def cut_off(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server without a database: port 1 refuses connections."""
    container = Container(msgspec.structs.replace(settings, database_url="postgresql://nobody@127.0.0.1:1/none"))
    witness = Witness()
    async with client_of(create_app(container), event_hooks={"response": [witness.see]}) as client:
        yield client
    await container.close()
    assert witness.faults == []


@pytest_asyncio.fixture(loop_scope="session")
async def measured(settings: Settings, engine: AsyncEngine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that serves its metrics."""
    container = Container(msgspec.structs.replace(settings, metrics_token=TOKEN), engine=engine)
    witness = Witness()
    async with client_of(create_app(container), event_hooks={"response": [witness.see]}) as client:
        yield client
    await container.close()
    assert witness.faults == []


async def metrics(client: httpx.AsyncClient) -> str:
    """What Prometheus reads."""
    return (await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})).text


class TestLiveness:
    async def test_liveness_is_200(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/health/live")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    async def test_liveness_is_200_without_database(self, cut_off: httpx.AsyncClient) -> None:
        assert (await cut_off.get("/health/live")).status_code == 200


class TestReadiness:
    async def test_readiness_is_200_with_checks(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (
            200,
            {"status": "ok", "checks": {"database": "ok", "migrations": "ok", "bus": "ok", "process": "ok"}},
        )

    async def test_readiness_without_bus_is_200_and_reports_bus(
        self, client: httpx.AsyncClient, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(container.bus, "connected", False)
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (
            200,
            {"status": "ok", "checks": {"database": "ok", "migrations": "ok", "bus": "away", "process": "ok"}},
        )

    async def test_readiness_without_bus_still_fails_when_draining(
        self, client: httpx.AsyncClient, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(container.bus, "connected", False)
        monkeypatch.setattr(container.services.health, "draining", True)
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")

    async def test_readiness_without_database_is_503_with_retry_after(self, cut_off: httpx.AsyncClient) -> None:
        answer = await cut_off.get("/health/ready")
        assert (answer.status_code, answer.headers["retry-after"], answer.json()["status"]) == (503, "1", "unavailable")

    async def test_readiness_names_failed_check_without_location(self, cut_off: httpx.AsyncClient) -> None:
        answer = await cut_off.get("/health/ready")
        assert answer.json()["checks"]["database"] == "database_unavailable"
        assert "127.0.0.1" not in answer.text

    async def test_draining_process_is_503(
        self, client: httpx.AsyncClient, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(container.services.health, "draining", True)
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["checks"]["process"]) == (503, "draining")

    async def test_readiness_is_200_with_exhausted_pool(self, settings: Settings) -> None:
        container = Container(msgspec.structs.replace(settings, pool_size=1, pool_timeout=0.1))
        async with client_of(create_app(container)) as client:
            taken = await container.uow.pool.acquire()
            assert_problem(await client.get("/profile", headers={"Authorization": "Bearer x"}), 503, "overloaded")
            assert (await client.get("/health/ready")).status_code == 200
            taken.release()
        await container.close()


class TestDatabaseAway:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/profile", None),
            ("GET", "/history/12345678", None),
            ("POST", "/messages", {"target_id": 12345678, "client_id": "1", "body": "x"}),
            ("POST", "/login", {"login": "ada", "password": "x"}),
            ("POST", "/logout", None),
            ("GET", "/sync?cursor=e0&wait=30", None),
            ("POST", "/ws/ticket", None),
            ("GET", "/ws", None),
        ],
    )
    async def test_request_without_database_is_503_with_retry_after(
        self, cut_off: httpx.AsyncClient, method: str, path: str, body: Any
    ) -> None:
        answer = await cut_off.request(method, path, headers={"Authorization": "Bearer x"}, json=body)
        assert_problem(answer, 503, "database_unavailable")
        assert answer.headers["retry-after"] == "1"


class TestMetrics:
    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"}])
    async def test_metrics_are_404_without_configured_token(
        self, client: httpx.AsyncClient, headers: dict[str, str]
    ) -> None:
        assert_problem(await client.get("/metrics", headers=headers), 404, "not_found")

    @pytest.mark.parametrize(
        "given", ["", "Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}"]
    )
    async def test_metrics_with_wrong_token_are_401(self, measured: httpx.AsyncClient, given: str) -> None:
        answer = await measured.get("/metrics", headers={"Authorization": given})
        assert_problem(answer, 401, "unauthenticated")

    async def test_metrics_without_token_are_401(self, measured: httpx.AsyncClient) -> None:
        assert_problem(await measured.get("/metrics"), 401, "unauthenticated")

    async def test_metrics_with_access_token_of_user_are_401(self, measured: httpx.AsyncClient, ada: Person) -> None:
        assert_problem(await measured.get("/metrics", headers=ada.headers), 401, "unauthenticated")

    async def test_metrics_with_right_token_are_200_in_prometheus_format(self, measured: httpx.AsyncClient) -> None:
        answer = await measured.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
        assert "# TYPE messenger_request_seconds histogram" in answer.text

    async def test_labels_are_patterns_of_routes(self, measured: httpx.AsyncClient, make: Factory) -> None:
        ada = await make.person()
        for path in (f"/users/{ada.id}", f"/history/{ada.id}", f"/devices/{ada.actor.device_id}", f"/nowhere/{ada.id}"):
            await measured.get(path, headers=ada.headers)
        text = await metrics(measured)
        assert 'route="/users/{user_id' in text
        assert str(ada.id) not in text
        assert str(ada.actor.device_id) not in text

    async def test_unknown_methods_share_metric_label(self, measured: httpx.AsyncClient) -> None:
        for method in ("AAA", "BBB"):
            await measured.request(method, "/profile")
        text = await metrics(measured)
        assert 'method="OTHER"' in text
        assert "AAA" not in text
