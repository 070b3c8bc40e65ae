"""HEAD is answered like GET, without a body (RFC 9110 section 9.3.2)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.testing import Factory, Person
from messenger.web.head import without_body
from tests.support.http import OPERATIONS, Operation, assert_problem, client_of
from tests.support.images import encoded, plain
from tests.support.served import served

GETS = [operation for operation in OPERATIONS if operation.method == "GET"]
WITHOUT_GET = sorted({each.path for each in OPERATIONS} - {each.path for each in GETS})
PAGES = [
    "/",
    "/docs",
    "/docs/start.js",
    "/docs/swagger-ui.css",
    "/docs/none",
    "/openapi.json",
    "/demo",
    "/demo/main.js",
]


def _shown(answer: httpx.Response) -> tuple[int, dict[str, str]]:
    return answer.status_code, dict(answer.headers)


async def _assert_head_is_get(client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> httpx.Response:
    """The response to HEAD, whose status and headers must equal those of GET."""
    get = await client.get(url, headers=headers)
    head = await client.head(url, headers=headers)
    assert (_shown(head), head.content) == (_shown(get), b"")
    return head


class TestHead:
    @pytest.mark.parametrize("operation", GETS, ids=lambda operation: operation.id)
    async def test_operation_is_answered_as_by_get(
        self, client: httpx.AsyncClient, make: Factory, operation: Operation
    ) -> None:
        ada = await make.person()
        await _assert_head_is_get(client, operation.url(), ada.headers)

    @pytest.mark.parametrize("path", [*PAGES, "/nowhere", "/history/abc", "/profile/"])
    async def test_page_is_answered_as_by_get(self, client: httpx.AsyncClient, ada: Person, path: str) -> None:
        await _assert_head_is_get(client, path, ada.headers)

    @pytest.mark.parametrize("query", ["limit=0", "limit=1", "unknown=1"])
    async def test_query_is_answered_as_by_get(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, query: str
    ) -> None:
        await _assert_head_is_get(client, f"/history/{bob.id}?{query}", ada.headers)

    async def test_token_is_needed_as_by_get(self, client: httpx.AsyncClient) -> None:
        assert (await _assert_head_is_get(client, "/profile", {})).status_code == 401

    async def test_head_of_avatar_has_length_and_etag(self, client: httpx.AsyncClient, ada: Person) -> None:
        file = {"file": ("a.png", encoded(plain()))}
        avatar = (await client.post("/avatar/upload", headers=ada.headers, files=file)).json()["avatar"]
        answer = await _assert_head_is_get(client, avatar["url"], {})
        assert (answer.status_code, int(answer.headers["content-length"]) > 0) == (200, True)

    async def test_known_page_is_304(self, client: httpx.AsyncClient) -> None:
        tag = (await client.head("/demo")).headers["etag"]
        assert (await _assert_head_is_get(client, "/demo", {"If-None-Match": tag})).status_code == 304

    @pytest.mark.parametrize("path", WITHOUT_GET)
    async def test_path_without_get_is_405(self, client: httpx.AsyncClient, ada: Person, path: str) -> None:
        operation = next(each for each in OPERATIONS if each.path == path)
        answer = await _assert_head_is_get(client, operation.url(), ada.headers)
        assert (answer.status_code, "HEAD" in answer.headers["allow"]) == (405, False)

    @pytest.mark.parametrize("path", ["/docs", "/demo", "/openapi.json", "/health/live"])
    async def test_page_lists_head_among_allowed_methods(self, client: httpx.AsyncClient, path: str) -> None:
        answers = [await client.options(path), await client.request("FOO", path)]
        assert [answer.headers["allow"] for answer in answers] == ["GET, HEAD, OPTIONS"] * 2
        assert_problem(answers[1], 405, "method_not_allowed")

    async def test_head_request_is_counted_by_method(self, client: httpx.AsyncClient, container: Container) -> None:
        def count(method: str) -> float:
            labels = {"method": method, "route": "/health/live", "status": "200"}
            return container.metrics.registry.get_sample_value("messenger_request_seconds_count", labels) or 0.0

        before = count("HEAD"), count("GET")
        await client.head("/health/live")
        assert (count("HEAD"), count("GET")) == (before[0] + 1, before[1])

    @pytest.mark.parametrize("chunks", [[b"whole"], [b"in ", b"", b"chunks"], [b""]])
    async def test_head_response_has_no_body_for_server(self, chunks: list[bytes]) -> None:
        """Whether or not the server program drops the body by itself."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        send_head, start = without_body(send), {"type": "http.response.start", "status": 200, "headers": []}
        await send_head(start)
        for number, chunk in enumerate(chunks, 1):
            await send_head({"type": "http.response.body", "body": chunk, "more_body": number < len(chunks)})
        assert sent == [start, {"type": "http.response.body", "body": b"", "more_body": False}]


class TestServed:
    @pytest.mark.parametrize("path", ["/profile", "/devices", "/account/export", "/docs", "/health/ready", "/nowhere"])
    async def test_response_after_head_is_not_delayed(self, app: Litestar, ada: Person, path: str) -> None:
        """Over one connection: a body sent by mistake would be read as the next response."""
        ask = f"HEAD {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {ada.headers['Authorization']}\r\n\r\n"
        last = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        async with served(app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{ask}{ask}{last}".encode())
            answers = (await reader.read()).decode().split("HTTP/1.1 ")[1:]
            writer.close()
        assert [answer.partition("\r\n\r\n")[2] for answer in answers] == ["", "", '{"status":"ok"}']


class TestPreflight:
    @pytest_asyncio.fixture(loop_scope="session")
    async def listed(self, settings: Settings, container: Container) -> Litestar:
        changed = msgspec.structs.replace(settings, cors_origins=("https://app.example",))
        other = Container(changed, engine=container.engine, clock=container.clock)
        return create_app(other)

    @pytest.mark.parametrize("path", ["/profile", "/docs"])
    async def test_preflight_of_head_matches_served_method(self, listed: Litestar, ada: Person, path: str) -> None:
        headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "HEAD"}
        async with client_of(listed) as client:
            allowed = (await client.options(path, headers=headers)).headers["access-control-allow-methods"]
            answer = await client.head(path, headers={**ada.headers, "Origin": "https://app.example"})
        assert "HEAD" in allowed.split(", ")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://app.example")
