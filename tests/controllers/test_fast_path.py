"""The fast path answers like the framework, and leaves every doubtful request to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, cast

import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar, get

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.testing import Factory, Person
from messenger.web.application import Application
from messenger.web.fast_path import _Route
from messenger.web.parameters import PageLimit
from messenger.web.request import WireRequest
from tests.support.http import client_of
from tests.support.served import served


class Ways(NamedTuple):
    """Two applications over the same services; `framework`: the paths that the fast one passed on to Litestar."""

    fast: httpx.AsyncClient
    slow: httpx.AsyncClient
    framework: list[str]


@pytest.fixture(scope="module")
def slow(container: Container) -> Litestar:
    app = create_app(container)
    cast(Application, app).fast_path = None
    return app


@pytest.fixture
def framework(app: Litestar, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that reached Litestar."""
    asked: list[str] = []
    original = Litestar.__call__

    async def called(self: Litestar, scope: Any, receive: Any, send: Any) -> None:
        if self is app:
            asked.append(scope["path"])
        await original(self, scope, receive, send)

    monkeypatch.setattr(Litestar, "__call__", called)
    return asked


@pytest_asyncio.fixture(params=["in process", "over the wire"], loop_scope="session")
async def ways(
    request: pytest.FixtureRequest, app: Litestar, slow: Litestar, framework: list[str]
) -> AsyncIterator[Ways]:
    """Behind the server program the fast application passes on complete responses, which a client must not notice."""
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "in process":
            clients = [client_of(each) for each in (app, slow)]
        else:
            ports = [await stack.enter_async_context(served(each, date_header=False)) for each in (app, slow)]
            clients = [httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") for port in ports]
        one, other = [await stack.enter_async_context(client) for client in clients]
        yield Ways(one, other, framework)


class Pair(NamedTuple):
    """Contacts who have exchanged messages."""

    ada: Person
    bob: Person


@pytest_asyncio.fixture(loop_scope="session")
async def pair(container: Container) -> Pair:
    make = Factory(container)
    ada, bob = await make.friends()
    for number in range(4):
        await make.message(ada, bob, f"Number {number}, with “quotes” and 🎈")
    return Pair(ada, bob)


GETS = {
    "GET /profile": "/profile",
    "GET /contacts": "/contacts?limit=7&state=mutual",
    "GET /statuses": "/statuses",
    "GET /history/{target_id}": "/history/{bob}?limit=2&before=4",
    "GET /conversations": "/conversations?limit=1",
    "GET /sync": "/sync?cursor=e0&limit=3",
}


def _shown(response: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    return response.status_code, sorted(response.headers.multi_items()), response.content


async def _both(ways: Ways, method: str, url: str, **options: Any) -> httpx.Response:
    """The response of the fast application, which must equal the other one's."""
    fast = await ways.fast.request(method, url, **options)
    slow = await ways.slow.request(method, url, **options)
    assert _shown(fast) == _shown(slow)
    return fast


def test_every_fast_route_is_tested(app: Litestar) -> None:
    fast_path = cast(Application, app).fast_path
    assert fast_path is not None
    assert {f"{method} {pattern}" for method, pattern in fast_path.patterns} == {*GETS, "POST /messages"}


class TestFastRequests:
    @pytest.mark.parametrize(
        "accept", ["*/*", "application/msgpack", "application/msgpack;q=0, */*", "application/json;q=0.1, */*;q=0.2"]
    )
    @pytest.mark.parametrize("what", GETS)
    async def test_fast_read_equals_framework_answer(self, ways: Ways, pair: Pair, what: str, accept: str) -> None:
        url = GETS[what].format(bob=pair.bob.id)
        answer = await _both(ways, "GET", url, headers={**pair.ada.headers, "Accept": accept})
        assert (answer.status_code, ways.framework) == (200, [])

    async def test_message_is_accepted_by_fast_path(self, ways: Ways, pair: Pair) -> None:
        draft = {"target_id": pair.bob.id, "client_id": "one", "body": "Hello"}
        first = await ways.fast.post("/messages", json=draft, headers=pair.ada.headers)
        again = await _both(ways, "POST", "/messages", json=draft, headers=pair.ada.headers)
        assert (first.status_code, again.status_code, ways.framework) == (201, 200, [])
        assert first.json() == again.json()

    async def test_fast_message_has_same_headers_as_framework_message(self, ways: Ways, pair: Pair) -> None:
        answers = [
            await way.post(
                "/messages",
                json={"target_id": pair.bob.id, "client_id": name, "body": "Hello"},
                headers=pair.ada.headers,
            )
            for way, name in ((ways.fast, "c1"), (ways.slow, "c2"))
        ]
        assert sorted(answers[0].headers.items()) == sorted(answers[1].headers.items())
        assert answers[0].json().keys() == answers[1].json().keys()

    @pytest.mark.parametrize("url", ["/history/1", "/history/9007199254740991", "/sync?cursor=e999"])
    async def test_service_refusal_equals_framework_answer(self, ways: Ways, pair: Pair, url: str) -> None:
        answer = await _both(ways, "GET", url, headers=pair.ada.headers)
        assert (answer.status_code >= 400, ways.framework) == (True, [])

    async def test_wrong_token_equals_framework_answer(self, ways: Ways) -> None:
        answer = await _both(ways, "GET", "/profile", headers={"Authorization": "Bearer nobody"})
        assert (answer.status_code, ways.framework) == (401, [])

    async def test_server_error_equals_framework_answer(
        self, ways: Ways, pair: Pair, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: object) -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(container.services.profiles, "get", broken)
        answer = await _both(ways, "GET", "/profile", headers=pair.ada.headers)
        assert (answer.status_code, answer.json()["code"], ways.framework) == (500, "internal_error", [])

    async def test_fast_request_is_counted_like_framework_request(
        self, ways: Ways, pair: Pair, container: Container
    ) -> None:
        def count() -> float:
            labels = {"method": "GET", "route": "/history/{target_id}", "status": "200"}
            return container.metrics.registry.get_sample_value("messenger_request_seconds_count", labels) or 0.0

        before = count()
        await _both(ways, "GET", f"/history/{pair.bob.id}", headers=pair.ada.headers)
        assert count() == before + 2


async def _need(request: WireRequest, number: PageLimit) -> None:
    """A handler with a required query parameter."""


def test_missing_required_query_falls_back() -> None:
    needing = Litestar([get("/need", opt={"fast": True})(_need)], request_class=WireRequest)
    route = _Route("/need", cast(Any, needing.routes[0]).route_handlers[0])
    assert (route.read("", b""), route.read("", b"number=5")) == (None, {"number": 5})


class TestFallback:
    @pytest.mark.parametrize(
        "url",
        [
            "/profile/",
            "/history/0",
            "/history/abc",
            "/history/-5",
            "/history/+5",
            "/history/007",
            "/history/",
            "/history/99999999999999999999",
            "/history/{bob}/",
            "/history/{bob}?limit=0",
            "/history/{bob}?limit=201",
            "/history/{bob}?limit=",
            "/history/{bob}?limit=5&limit=6",
            "/history/{bob}?limit=five",
            "/history/{bob}?before=1&after=2&target_id=5",
            "/history/{bob}?unknown=1",
            "/history/{bob}?limit=%35",
            "/history/{bob}?&",
            "/contacts?state=enemies",
            "/contacts?cursor=x",
            "/sync?cursor=abc",
            "/sync?wait=31",
            "/sync?wait=-1",
            "/sync?wait=nan",
        ],
    )
    async def test_unusual_path_or_query_falls_back(self, ways: Ways, pair: Pair, url: str) -> None:
        await _both(ways, "GET", url.format(bob=pair.bob.id), headers=pair.ada.headers)
        assert len(ways.framework) == 1

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "PATCH"])
    async def test_other_methods_fall_back(self, ways: Ways, pair: Pair, method: str) -> None:
        fast = await ways.fast.request(method, "/profile", headers=pair.ada.headers)
        slow = await ways.slow.request(method, "/profile", headers=pair.ada.headers)
        assert (fast.status_code, fast.content, len(ways.framework)) == (slow.status_code, slow.content, 1)

    async def test_missing_token_falls_back(self, ways: Ways) -> None:
        assert (await _both(ways, "GET", "/profile")).status_code == 401
        assert len(ways.framework) == 1

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (b"", "application/json"),
            (b"{", "application/json"),
            (b"[]", "application/json"),
            (b'{"target_id": 1, "client_id": "x", "body": "y", "more": 1}', "application/json"),
            (b'{"target_id": 1, "client_id": "x", "body": "\xff"}', "application/json"),
            (b"[" * 5000, "application/json"),
            (b'{"target_id": 1, "client_id": "x", "body": "' + b"y" * 1048576 + b'"}', "application/json"),
            (msgspec.msgpack.encode({"target_id": 1, "client_id": "x", "body": "y"}), "application/msgpack"),
            (b"{}", "text/plain"),
        ],
    )
    async def test_unusual_body_falls_back(self, ways: Ways, pair: Pair, content: bytes, kind: str) -> None:
        headers = {**pair.ada.headers, "Content-Type": kind}
        await _both(ways, "POST", "/messages", content=content, headers=headers)
        assert len(ways.framework) == 1

    async def test_encoded_body_falls_back(self, ways: Ways, pair: Pair) -> None:
        headers = {**pair.ada.headers, "Content-Encoding": "gzip"}
        draft = {"target_id": pair.bob.id, "client_id": "coded", "body": "Hello"}
        assert (await _both(ways, "POST", "/messages", json=draft, headers=headers)).status_code == 415
        assert len(ways.framework) == 1

    async def test_chunked_body_falls_back(self, ways: Ways, pair: Pair) -> None:
        draft = json.dumps({"target_id": pair.bob.id, "client_id": "chunked", "body": "Hello"}).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield draft[:10]
            yield draft[10:]

        headers = {**pair.ada.headers, "Content-Type": "application/json"}
        answer = await ways.fast.post("/messages", content=chunks(), headers=headers)
        assert (answer.status_code, len(ways.framework)) == (201, 1)

    async def test_configured_origin_falls_back(self, settings: Settings, container: Container, pair: Pair) -> None:
        origin = "https://app.example"
        container_of = msgspec.structs.replace(settings, cors_origins=(origin,))
        other = Container(container_of, engine=container.engine, clock=container.clock)
        async with client_of(create_app(other)) as client:
            answer = await client.get("/profile", headers={**pair.ada.headers, "Origin": origin})
        await other.close()
        assert answer.headers["access-control-allow-origin"] == origin


class TestBodyInPieces:
    async def test_body_in_pieces_is_assembled(self, app: Litestar, pair: Pair) -> None:
        draft = json.dumps({"target_id": pair.bob.id, "client_id": "pieces", "body": "Hello"}).encode()
        pieces = [draft[:7], b"", draft[7:20], draft[20:]]
        sent = await _ask(app, pair.ada, len(draft), pieces)
        assert sent[0]["status"] == 201

    async def test_disconnect_within_body_sends_no_message(
        self, app: Litestar, pair: Pair, container: Container
    ) -> None:
        draft = json.dumps({"target_id": pair.bob.id, "client_id": "half", "body": "Hello"}).encode()
        assert await _ask(app, pair.ada, len(draft), [draft[:7], None]) == []
        history = await container.services.messages.history(
            pair.ada.actor, pair.bob.id, before=None, after=None, limit=50
        )
        assert "half" not in {message.client_id for message in history.items}


async def _ask(app: Litestar, person: Person, length: int, pieces: Sequence[bytes | None]) -> list[Any]:
    """Send a message as a server program delivers it, piece by piece; None: the client disconnects."""
    headers = [
        (b"authorization", person.headers["Authorization"].encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(length).encode()),
    ]
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/messages",
        "raw_path": b"/messages",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    left, sent = list(pieces), []

    async def receive() -> Any:
        await asyncio.sleep(0)
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, cast(Any, receive), cast(Any, send))
    return sent
