"""Failures of other projects with parsers: numbers, ranges, paths, origins; each input is answered quickly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import unquote

import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine
from websockets.exceptions import InvalidStatus

from messenger.config import Settings
from messenger.container import Container
from messenger.testing import Factory, Person
from tests.known_failures._timed import QUICK, timed
from tests.support.images import encoded, plain
from tests.support.served import serving
from tests.support.sockets import Realtime

# --- numbers --------------------------------------------------------------------------------------

_DIGITS = "9" * 10_000
NUMBERS = ["1e400", "-1e400", _DIGITS, f"-{_DIGITS}", f"1e{_DIGITS[:300]}", f"0.{_DIGITS}", "NaN", "Infinity", "-0"]
TIMES = ["inf", "infinity", "-infinity", "nan", "1e400", _DIGITS, "9999-12-31T23:59:60Z", "0000-00-00T00:00:00Z"]


@pytest.mark.parametrize("number", [*NUMBERS, *(f'"{text}"' for text in TIMES)])
async def test_cve_2021_29510_infinite_numbers_and_times_are_refused_quickly(
    client: httpx.AsyncClient, make: Factory, number: str
) -> None:
    """pydantic: an infinite time was converted in an endless loop."""
    one, other = await make.friends()
    bodies = [
        ("PUT", f"/conversations/{other.id}", '{"muted_until": %s}'),
        ("PUT", f"/conversations/{other.id}", '{"expire_after": %s}'),
        ("POST", "/receipts", f'{{"target_id": {other.id}, "read_seq": %s}}'),
        ("POST", "/messages", '{"target_id": %s, "client_id": "x", "body": "x"}'),
    ]
    for method, path, template in bodies:
        headers = {**one.headers, "Content-Type": "application/json"}
        answer, seconds = await timed(client, method, path, headers=headers, content=template % number)
        # -0 is a valid position; it is 404 because nothing has been sent in this conversation.
        valid = (path, number) == ("/receipts", "-0")
        assert answer.status_code == (404 if valid else 400), path
        assert seconds < QUICK


@pytest.mark.parametrize(
    "packed",
    [b"\xcb\x7f\xf0" + bytes(6), b"\xcb\x7f\xf8" + bytes(6), b"\xc7\x0c\xff" + b"\xff" * 12, b"\xd7\xff" + b"\xff" * 8],
    ids=["inf", "nan", "time far out", "time with too many nanoseconds"],
)
async def test_cve_2021_29510_infinite_numbers_in_messagepack_are_refused_quickly(
    client: httpx.AsyncClient, make: Factory, packed: bytes
) -> None:
    one, other = await make.friends()
    headers = {**one.headers, "Content-Type": "application/msgpack"}
    content = b"\x81" + msgspec.msgpack.encode("muted_until") + packed
    path = f"/conversations/{other.id}"
    answer, seconds = await timed(client, "PUT", path, headers=headers, content=content)
    assert (answer.status_code, seconds < QUICK) == (400, True)


# --- ranges ---------------------------------------------------------------------------------------


async def test_cve_2025_62727_cve_2023_30798_ten_thousand_ranges_are_ignored_quickly(
    client: httpx.AsyncClient, ada: Person
) -> None:
    """Starlette: ranges were merged in quadratic time. Here files are served whole."""
    uploaded = await client.post("/avatar/upload", headers=ada.headers, files={"file": encoded(plain())})
    url = uploaded.json()["avatar"]["url"]
    whole = (await client.get(url)).content
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(10_000))
    for path in (url, "/openapi.json", "/demo/main.js", "/docs/swagger-ui.css"):
        await client.get(path)
        answer, seconds = await timed(client, "GET", path, headers={"Range": ranges})
        assert (answer.status_code, seconds < QUICK) == (200, True)
    assert (await client.get(url, headers={"Range": ranges})).content == whole


# --- paths ----------------------------------------------------------------------------------------

_UP = 12
CLIMBS = [
    b"../config.py",
    b"..%2fconfig.py",
    b"main.js/../../config.py",
    b"../" * _UP + b"etc/passwd",
    b"..%2f" * _UP + b"etc%2fpasswd",
    b"%2e%2e/" * _UP + b"etc/passwd",
    b"..%252f" * _UP + b"etc%252fpasswd",
    b"..%5c" * _UP + b"etc%5cpasswd",
    b"..%c0%af" * _UP + b"etc%c0%afpasswd",
    b"....//" * _UP + b"etc/passwd",
    b"%00/etc/passwd",
    b"/etc/passwd",
    b"swagger-ui.css%00.png",
]


@pytest.mark.parametrize("climb", CLIMBS)
@pytest.mark.parametrize("folder", [b"/demo/", b"/docs/", b"/avatars/", b"/"])
async def test_cve_2024_32982_path_traversal_is_404(app: Litestar, folder: bytes, climb: bytes) -> None:
    """Litestar: static files were served from outside their folder. Sent as raw bytes, since clients normalise such
    paths.
    """
    status, body = await _raw(app, folder + climb, unquote((folder + climb).decode("latin-1")))
    assert status == 404
    assert b"root:" not in body
    assert b"import" not in body


async def _raw(app: Litestar, raw_path: bytes, path: str) -> tuple[int, bytes]:
    """Request this path byte for byte; return the status and the body."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": raw_path,
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"messenger.test")],
        "client": ("192.0.2.1", 1),
        "server": ("messenger.test", 80),
        "state": {},
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await cast(Any, app)(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


# --- origins and hosts ----------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def listed(settings: Settings, engine: AsyncEngine) -> AsyncIterator[tuple[Realtime, Factory]]:
    """A server with one listed origin."""
    changed = msgspec.structs.replace(settings, cors_origins=("https://app.example.com",))
    container = Container(changed, engine=engine)
    async with container.realtime.running(), serving(container) as (_, port):
        yield Realtime(port), Factory(container)
    await container.close()


NEARLY = [
    "https://appXexample.com",
    "https://app.exampleXcom",
    "https://app.example.com.evil.example",
    "https://evil.example/https://app.example.com",
    "https://app.example.com:8443",
    "http://app.example.com",
    "https://APP.example.com@evil.example",
    "null",
]


@pytest.mark.parametrize("origin", NEARLY)
async def test_cve_2026_25479_origin_is_compared_literally(listed: tuple[Realtime, Factory], origin: str) -> None:
    """Litestar: the dot of an allowed host matched any character. Here whole strings are compared, for CORS and
    sockets.
    """
    realtime, make = listed
    ada = await make.person()
    async with httpx.AsyncClient(base_url=realtime.http) as http:
        answer = await http.get("/health/live", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers
        good = await http.get("/health/live", headers={"Origin": "https://app.example.com"})
        assert good.headers["access-control-allow-origin"] == "https://app.example.com"
    with pytest.raises(InvalidStatus) as refused:
        async with realtime.wire(ada, live=False, headers={"Origin": origin}):
            pass
    assert refused.value.response.status_code == 403
    for good_origin in ("https://app.example.com", "https://app.example.com:443"):
        async with realtime.wire(ada, headers={"Origin": good_origin}):
            pass
