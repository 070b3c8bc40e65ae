"""How much of a body is read before the token is verified."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

import httpx
import pytest
from litestar import Litestar

from messenger.container import Container
from messenger.limits import LIMITS
from messenger.schemas.messages import MAX_BODY_BYTES
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person
from messenger.web.bodies import TRUSTED_BYTES
from messenger.web.route_options import MAX_PUBLIC_BYTES
from tests.support.http import assert_problem

PIECE = bytes(4096)
PIECES = 256


class Outcome(NamedTuple):
    """A status, and how many parts of the body the application read."""

    status: int
    read: int


async def _send(app: Litestar, method: str, path: str, *headers: tuple[bytes, bytes]) -> Outcome:
    """A request with a body of 1 MiB that arrives in parts."""
    read = 0
    statuses: list[int] = []

    async def receive() -> Any:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": PIECE, "more_body": read < PIECES}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope: Any = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"messenger.test"), *headers],
        "client": ("192.0.2.7", 1),
        "server": ("messenger.test", 80),
        "state": {},
    }
    await app(scope, receive, send)
    return Outcome(statuses[0], read)


LENGTH = (b"content-length", b"%d" % (len(PIECE) * PIECES))
JSON = (b"content-type", b"application/json")
MSGPACK = (b"content-type", b"application/msgpack")
NONSENSE = (b"authorization", b"Bearer nonsense")


class TestUnknownToken:
    @pytest.mark.parametrize("path", ["/messages", "/profile", "/e2e/secret_key"])
    @pytest.mark.parametrize("kind", [JSON, MSGPACK], ids=["JSON", "MessagePack"])
    @pytest.mark.parametrize("framing", [(LENGTH,), ()], ids=["sized", "chunked"])
    async def test_unknown_token_is_refused_before_body_is_read(
        self, app: Litestar, path: str, kind: tuple[bytes, bytes], framing: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        method = "PUT" if path == "/profile" else "POST"
        outcome = await _send(app, method, path, NONSENSE, kind, *framing)
        assert (outcome.status, outcome.read <= TRUSTED_BYTES // len(PIECE) + 1) == (401, True)

    async def test_upload_with_unknown_token_reads_no_body(self, app: Litestar) -> None:
        kind = (b"content-type", b"multipart/form-data; boundary=x")
        assert await _send(app, "POST", "/avatar/upload", NONSENSE, kind, LENGTH) == (401, 0)


class TestPublicRoutes:
    @pytest.mark.parametrize("path", ["/login", "/register", "/token/refresh"])
    async def test_public_routes_accept_only_short_bodies(self, app: Litestar, path: str) -> None:
        assert await _send(app, "POST", path, JSON, LENGTH) == (413, 0)
        outcome = await _send(app, "POST", path, JSON)
        assert (outcome.status, outcome.read <= MAX_PUBLIC_BYTES // len(PIECE) + 1) == (413, True)


class TestKnownToken:
    async def test_long_message_is_accepted_with_known_token(
        self, client: httpx.AsyncClient, ada: Person, bob: Person
    ) -> None:
        draft = {"target_id": bob.id, "client_id": secrets.token_hex(8), "body": "x" * MAX_BODY_BYTES}
        answer = await client.post("/messages", headers=ada.headers, json=draft)
        assert (answer.status_code, len(answer.json()["body"])) == (201, MAX_BODY_BYTES)


class TestUploadLimits:
    async def test_upload_limit_refuses_before_file_is_read(
        self, app: Litestar, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada = await make.person()
        limiter = RateLimiter(container.uow, enabled=True)
        monkeypatch.setattr(container.services.avatars, "_limiter", limiter)
        for _ in range(LIMITS["avatar"].burst):
            await container.services.avatars.count_upload(ada.actor, announced=1)
        token = (b"authorization", ada.headers["Authorization"].encode())
        kind = (b"content-type", b"multipart/form-data; boundary=x")
        assert await _send(app, "POST", "/avatar/upload", token, kind, LENGTH) == (429, 0)

    async def test_announced_bytes_are_counted(
        self, app: Litestar, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada = await make.person()
        monkeypatch.setattr(container.services.avatars, "_limiter", RateLimiter(container.uow, enabled=True))
        await container.services.avatars.count_upload(
            ada.actor, announced=LIMITS["avatar_mib"].burst * 1024 * 1024 - 1000
        )
        token = (b"authorization", ada.headers["Authorization"].encode())
        kind = (b"content-type", b"multipart/form-data; boundary=x")
        assert await _send(app, "POST", "/avatar/upload", token, kind, LENGTH) == (429, 0)

    async def test_file_announced_as_too_large_is_not_read(self, client: httpx.AsyncClient, ada: Person) -> None:
        headers = {**ada.headers, "Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(2**40)}
        answer = await client.post("/avatar/upload", headers=headers, content=b"--x")
        assert_problem(answer, 413, "file_too_large")
