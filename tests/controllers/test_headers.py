"""Headers of every answer, and CORS."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.testing import Person
from tests.controllers._wire import GUARDED, OPERATIONS, SECURITY_HEADERS, Operation
from tests.controllers.conftest import client_of
from tests.media.images import encoded, plain

POLICY = "default-src 'none'; frame-ancestors 'none'"
ALLOWED = "https://app.example"
ELSEWHERE = [
    "https://evil.example",
    "https://app.example.evil",
    "http://app.example",
    "https://app.example:8443",
    "null",
]
OTHERS = ["/nowhere", "/docs", "/docs/start.js", "/docs/swagger-ui.css", "/openapi.json"]


class TestSafeHeaders:
    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
    async def test_are_on_every_answer(self, client: httpx.AsyncClient, ada: Person, operation: Operation) -> None:
        answer = await client.request(operation.method, operation.url(), headers=ada.headers)
        assert {name: answer.headers.get_list(name) for name in SECURITY_HEADERS} == {
            name: [value] for name, value in SECURITY_HEADERS.items()
        }

    @pytest.mark.parametrize("path", OTHERS)
    async def test_are_on_what_is_not_documented(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.get(path)
        assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS

    @pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.id)
    @pytest.mark.parametrize("signed_in", [True, False])
    async def test_nothing_of_an_account_is_stored_by_a_cache(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, signed_in: bool
    ) -> None:
        headers = ada.headers if signed_in else {}
        answer = await client.request(operation.method, operation.url(), headers=headers)
        assert answer.headers.get_list("cache-control") == ["no-store"]

    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
    async def test_content_may_load_nothing(self, client: httpx.AsyncClient, ada: Person, operation: Operation) -> None:
        answer = await client.request(operation.method, operation.url(), headers=ada.headers)
        assert answer.headers.get_list("content-security-policy") == [POLICY]

    async def test_avatar_is_immutable(self, client: httpx.AsyncClient, ada: Person) -> None:
        files = {"file": encoded(plain())}
        avatar = (await client.post("/avatar/upload", headers=ada.headers, files=files)).json()["avatar"]
        answer = await client.get(avatar["url"])
        assert answer.headers.get_list("cache-control") == ["public, max-age=31536000, immutable"]

    async def test_avatar_that_is_not_there_is_not_cached(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/avatars/" + "0" * 64)).headers["cache-control"] == "no-store"

    async def test_server_says_nothing_of_itself(self, client: httpx.AsyncClient) -> None:
        assert {"server", "x-powered-by", "via"} & set((await client.get("/health/live")).headers) == set()


class TestWithoutCors:
    @pytest.mark.parametrize("method", ["GET", "OPTIONS"])
    async def test_no_origin_is_allowed(self, client: httpx.AsyncClient, ada: Person, method: str) -> None:
        headers = {**ada.headers, "Origin": ALLOWED, "Access-Control-Request-Method": "GET"}
        answer = await client.request(method, "/profile", headers=headers)
        assert [name for name in answer.headers if name.startswith("access-control")] == []


@pytest_asyncio.fixture(loop_scope="session")
async def browser(settings: Settings, engine: AsyncEngine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with an allow-list."""
    container = Container(msgspec.structs.replace(settings, cors_origins=(ALLOWED,)), engine=engine)
    async with client_of(create_app(container)) as client:
        yield client
    await container.close()


class TestCors:
    async def test_origin_of_the_list_is_allowed_by_name(self, browser: httpx.AsyncClient) -> None:
        answer = await browser.get("/health/live", headers={"Origin": ALLOWED})
        assert answer.headers.get("access-control-allow-origin") == ALLOWED

    async def test_error_may_be_read_by_the_page_too(self, browser: httpx.AsyncClient) -> None:
        answer = await browser.get("/profile", headers={"Origin": ALLOWED})
        assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (401, ALLOWED)

    async def test_answer_varies_by_origin(self, browser: httpx.AsyncClient) -> None:
        answer = await browser.get("/health/live", headers={"Origin": ALLOWED})
        assert "origin" in answer.headers.get("vary", "").lower()

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "POST"])
    async def test_preflight_of_the_list_is_allowed(self, browser: httpx.AsyncClient, method: str) -> None:
        headers = {
            "Origin": ALLOWED,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, if-match",
        }
        answer = await browser.options("/profile", headers=headers)
        assert (answer.is_success, answer.headers.get("access-control-allow-origin")) == (True, ALLOWED)
        granted = answer.headers["access-control-allow-headers"].lower()
        assert granted == "*" or {"authorization", "idempotency-key", "if-match"} <= {
            n.strip() for n in granted.split(",")
        }

    async def test_page_may_read_the_headers_that_clients_need(self, browser: httpx.AsyncClient) -> None:
        answer = await browser.get("/health/live", headers={"Origin": ALLOWED})
        exposed = {name.strip().lower() for name in answer.headers.get("access-control-expose-headers", "").split(",")}
        assert {"etag", "retry-after"} <= exposed

    @pytest.mark.parametrize("origin", ELSEWHERE)
    @pytest.mark.parametrize("method", ["GET", "OPTIONS"])
    async def test_any_other_origin_is_not(self, browser: httpx.AsyncClient, origin: str, method: str) -> None:
        headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        answer = await browser.request(method, "/health/live", headers=headers)
        assert answer.headers.get("access-control-allow-origin") is None

    async def test_credentials_are_never_asked_of_a_browser(self, browser: httpx.AsyncClient) -> None:
        answer = await browser.get("/health/live", headers={"Origin": ALLOWED})
        assert "access-control-allow-credentials" not in answer.headers
