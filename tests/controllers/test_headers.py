"""Headers of every response, and CORS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple
from unittest.mock import AsyncMock

import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.controllers.demo import PAGE_POLICY as DEMO_POLICY
from messenger.controllers.documents import PAGE_POLICY as DOCS_POLICY
from messenger.controllers.home import PAGE_POLICY as HOME_POLICY
from messenger.errors import DatabaseUnavailable, StorageFull
from messenger.testing import Person
from messenger.web.response_hook import FILE_POLICY
from tests.support.http import OPERATIONS, SECURITY_HEADERS, Operation, client_of
from tests.support.images import encoded, plain
from tests.support.inventory import handlers

POLICY = "default-src 'none'; frame-ancestors 'none'"
ALLOWED = "https://app.example"
ELSEWHERE = [
    "https://evil.example",
    "https://app.example.evil",
    "http://app.example",
    "https://app.example:8443",
    "null",
]
UNDOCUMENTED = {
    "/": "/",
    "/openapi.json": "/openapi.json",
    "/docs": "/docs",
    "/docs/{name}": "/docs/swagger-ui.css",
    "/demo": "/demo",
    "/demo/{name}": "/demo/icon.svg",
}
"""Pages for people by their routes, each with an address."""

# What a cache may store: pages, which it revalidates, and images, forever.
MAY_BE_KEPT = {"/openapi.json": "no-cache", "/demo": "no-cache", "/avatars": "public, max-age=31536000, immutable"}


class Refusal(NamedTuple):
    """A request that is refused before or after routing, and how."""

    status: int
    method: str
    path: str
    headers: dict[str, str] = {}  # noqa: RUF012
    content: bytes = b""

    def __str__(self) -> str:
        return f"{self.status} {self.method} {self.path}"


JSON = {"Content-Type": "application/json"}
REFUSALS = [
    Refusal(404, "GET", "/nowhere"),
    Refusal(404, "POST", "/nowhere"),
    Refusal(404, "GET", "/docs/nothing.js"),
    Refusal(404, "GET", "/demo/nothing.js"),
    Refusal(404, "GET", "/demo/..%2f..%2fconfig.py"),
    Refusal(404, "GET", "/openapi-unused/swagger"),
    Refusal(404, "GET", "/avatars/nothing"),
    Refusal(404, "GET", "/users/nobody"),
    Refusal(405, "PATCH", "/profile"),
    Refusal(405, "POST", "/docs"),
    Refusal(405, "DELETE", "/demo"),
    Refusal(405, "POST", "/"),
    Refusal(405, "PUT", "/avatars/nothing"),
    Refusal(400, "POST", "/messages", JSON, b"{"),
    Refusal(400, "GET", "/history/12345678?limit=none"),
    Refusal(413, "PUT", "/profile", JSON, b'"' + b"x" * 1_100_000),
    Refusal(415, "PUT", "/profile", {"Content-Type": "text/html"}, b"<p>"),
    Refusal(415, "POST", "/avatar/upload", JSON, b"{}"),
    Refusal(422, "POST", "/register", JSON, b'{"username": "ada-lovelace", "password": "short", "name": "Ada"}'),
    Refusal(422, "POST", "/e2e/secret_key", JSON, b'{"d": "secret"}'),
    Refusal(426, "GET", "/ws"),
]


def faults_of(answer: httpx.Response) -> list[str]:
    """What is wrong with the headers of a response."""
    headers = answer.headers
    found = [name for name, value in SECURITY_HEADERS.items() if headers.get_list(name) != [value]]
    path = answer.request.url.path
    kept = next((how for prefix, how in MAY_BE_KEPT.items() if path.startswith(prefix)), "no-store")
    if headers.get_list("cache-control") != [kept] and headers.get_list("cache-control") != ["no-store"]:
        found.append("cache-control")
    policies = [POLICY, FILE_POLICY, DOCS_POLICY, DEMO_POLICY, HOME_POLICY]
    if len(headers.get_list("content-security-policy")) != 1 or headers["content-security-policy"] not in policies:
        found.append("content-security-policy")
    if "accept" not in headers.get("vary", "").lower():
        found.append("vary")
    if answer.content and "content-type" not in headers:
        found.append("content-type")
    # Tokens are never in cookies, so that no page can send them unintentionally.
    found += [name for name in headers if name == "set-cookie" or name.startswith("access-control-")]
    return found


class TestSecurityHeaders:
    """Security headers are on every response: to any caller, of any route, successful or refused."""

    def test_every_route_is_tested_for_security_headers(self, app: Litestar) -> None:
        looked_at = {(operation.method, operation.path.rstrip("/")) for operation in OPERATIONS}
        looked_at |= {("GET", path) for path in UNDOCUMENTED}
        assert {route for route, _ in handlers(app)} == looked_at

    @pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
    @pytest.mark.parametrize("who", ["signed in", "anonymous", "forged"])
    async def test_route_has_security_headers(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, who: str
    ) -> None:
        forged = {"Authorization": "Bearer never-given-to-anybody"}
        headers = {"signed in": ada.headers, "anonymous": {}, "forged": forged}[who]
        answer = await client.request(operation.method, operation.url(), headers=headers)
        assert faults_of(answer) == []
        if operation.needs_token:
            assert answer.headers.get_list("cache-control") == ["no-store"]

    @pytest.mark.parametrize("path", UNDOCUMENTED.values())
    async def test_page_has_security_headers(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.get(path)
        assert (answer.status_code, faults_of(answer)) == (200, [])

    @pytest.mark.parametrize("path", ["/docs", "/demo"])
    async def test_page_policy_allows_only_own_scripts(self, client: httpx.AsyncClient, path: str) -> None:
        policy = (await client.get(path)).headers["content-security-policy"]
        said = dict(part.split(" ", 1) for part in policy.split("; "))
        assert (said["default-src"], said["script-src"], said["frame-ancestors"]) == ("'none'", "'self'", "'none'")

    @pytest.mark.parametrize("refusal", REFUSALS, ids=str)
    async def test_refusal_has_security_headers(
        self, unwatched: httpx.AsyncClient, ada: Person, refusal: Refusal
    ) -> None:
        headers = {**ada.headers, **refusal.headers}
        answer = await unwatched.request(refusal.method, refusal.path, headers=headers, content=refusal.content)
        assert (answer.status_code, faults_of(answer)) == (refusal.status, [])
        assert answer.headers.get_list("cache-control") == ["no-store"]
        assert answer.headers["content-type"] == "application/problem+json"

    async def test_server_error_has_security_headers(
        self, unwatched: httpx.AsyncClient, ada: Person, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for fault, status in ((RuntimeError(), 500), (DatabaseUnavailable(), 503), (StorageFull(), 507)):
            monkeypatch.setattr(container.services.profiles, "get", AsyncMock(side_effect=fault))
            for accept in ("application/json", "application/msgpack"):
                answer = await unwatched.get("/profile", headers={**ada.headers, "Accept": accept})
                assert (answer.status_code, faults_of(answer)) == (status, [])
                assert answer.headers.get_list("cache-control") == ["no-store"]

    async def test_options_response_has_security_headers(self, unwatched: httpx.AsyncClient) -> None:
        answer = await unwatched.options("/profile")
        assert (answer.status_code, faults_of(answer)) == (204, [])

    async def test_not_modified_page_has_security_headers(self, unwatched: httpx.AsyncClient) -> None:
        tag = (await unwatched.get("/demo")).headers["etag"]
        answer = await unwatched.get("/demo", headers={"If-None-Match": tag})
        assert (answer.status_code, faults_of(answer)) == (304, [])

    async def test_response_has_no_server_header(self, client: httpx.AsyncClient) -> None:
        assert {"server", "x-powered-by", "via"} & set((await client.get("/health/live")).headers) == set()


class TestFileHeaders:
    """An uploaded file runs no script and has no origin when a browser opens it."""

    @pytest.mark.parametrize("kind", ["url", "thumb_url"])
    async def test_avatar_is_sandboxed_and_immutable(self, client: httpx.AsyncClient, ada: Person, kind: str) -> None:
        files = {"file": ("page.html", encoded(plain()), "text/html")}
        avatar = (await client.post("/avatar/upload", headers=ada.headers, files=files)).json()["avatar"]
        answer = await client.get(avatar[kind])
        assert (answer.status_code, faults_of(answer)) == (200, [])
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers.get_list("content-security-policy") == [FILE_POLICY]
        assert answer.headers.get_list("cache-control") == ["public, max-age=31536000, immutable"]

    async def test_missing_avatar_is_not_cached(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/avatars/" + "0" * 64)).headers["cache-control"] == "no-store"

    async def test_archive_is_sandboxed_and_saved(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.get("/account/export", headers=ada.headers)
        assert (answer.status_code, faults_of(answer)) == (200, [])
        assert answer.headers["content-disposition"] == 'attachment; filename="account.zip"'
        assert answer.headers.get_list("content-security-policy") == [FILE_POLICY]


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

    async def test_error_can_be_read_by_allowed_page(self, browser: httpx.AsyncClient) -> None:
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
        assert {"authorization", "idempotency-key", "if-match"} <= {name.strip() for name in granted.split(",")}

    async def test_cors_exposes_headers_needed_by_clients(self, browser: httpx.AsyncClient) -> None:
        answer = await browser.get("/health/live", headers={"Origin": ALLOWED})
        exposed = {name.strip().lower() for name in answer.headers.get("access-control-expose-headers", "").split(",")}
        assert {"etag", "retry-after"} <= exposed

    @pytest.mark.parametrize("origin", ELSEWHERE)
    @pytest.mark.parametrize("method", ["GET", "OPTIONS"])
    async def test_unlisted_origin_is_not_allowed(self, browser: httpx.AsyncClient, origin: str, method: str) -> None:
        headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        answer = await browser.request(method, "/health/live", headers=headers)
        assert answer.headers.get("access-control-allow-origin") is None

    async def test_cors_never_allows_credentials(self, browser: httpx.AsyncClient) -> None:
        answer = await browser.get("/health/live", headers={"Origin": ALLOWED})
        assert "access-control-allow-credentials" not in answer.headers
