"""Server errors: reported without a traceback, logged with one."""

from __future__ import annotations

import logging
from typing import NoReturn

import httpx
import pytest
from litestar.exceptions import InternalServerException

from messenger.container import Container
from messenger.testing import Person
from tests.support.http import CANARY, PROBLEM_KEYS, SECURITY_HEADERS


class _Broken(RuntimeError):
    """An error that no code expects."""


@pytest.fixture
def broken(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile service with a bug."""

    async def fail(*_: object) -> NoReturn:
        raise _Broken(CANARY)

    monkeypatch.setattr(container.services.profiles, "get", fail)


@pytest.mark.usefixtures("broken")
class TestUnhandledError:
    async def test_unhandled_error_is_500_problem(self, unwatched: httpx.AsyncClient, ada: Person) -> None:
        answer = await unwatched.get("/profile", headers=ada.headers)
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert (set(answer.json()), answer.json()["code"]) == (PROBLEM_KEYS, "internal_error")

    async def test_unhandled_error_hides_cause(self, unwatched: httpx.AsyncClient, ada: Person) -> None:
        answer = await unwatched.get("/profile", headers=ada.headers)
        assert not [word for word in (CANARY, "_Broken", "Traceback", ".py", "RuntimeError") if word in answer.text]

    async def test_unhandled_error_has_security_headers(self, unwatched: httpx.AsyncClient, ada: Person) -> None:
        answer = await unwatched.get("/profile", headers=ada.headers)
        assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert answer.headers["cache-control"] == "no-store"

    async def test_unhandled_error_is_logged_once_with_traceback(
        self, unwatched: httpx.AsyncClient, ada: Person, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            await unwatched.get("/profile", headers=ada.headers)
        assert [(record.levelname, bool(record.exc_info)) for record in caplog.records] == [("ERROR", True)]

    async def test_log_of_unhandled_error_contains_no_token(
        self, unwatched: httpx.AsyncClient, ada: Person, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            await unwatched.get("/profile", headers=ada.headers)
        assert ada.access_token not in caplog.text

    async def test_request_after_unhandled_error_is_served(self, unwatched: httpx.AsyncClient, ada: Person) -> None:
        await unwatched.get("/profile", headers=ada.headers)
        assert (await unwatched.get("/devices", headers=ada.headers)).status_code == 200


async def test_framework_error_is_reported_as_problem(
    unwatched: httpx.AsyncClient, ada: Person, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> NoReturn:
        raise InternalServerException(CANARY)

    monkeypatch.setattr(container.services.profiles, "get", fail)
    answer = await unwatched.get("/profile", headers=ada.headers)
    assert (answer.status_code, answer.json()["code"], CANARY in answer.text) == (500, "internal_error", False)


async def test_refusal_is_not_logged_as_a_fault(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await client.get("/profile")
        await client.get("/nowhere")
    assert caplog.records == []
