"""The files of the demo: each served with its type, no others, and none where the demo is switched off."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

import messenger
from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.controllers.demo import PAGE_POLICY
from tests.support.http import SECURITY_HEADERS, assert_problem, client_of

FOLDER = Path(messenger.__file__).parent / "demo"
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.name != "index.html")
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
TRAVERSALS = [
    "/demo/../config.py",
    "/demo/..%2fconfig.py",
    "/demo/..%2Fconfig.py",
    "/demo/%2e%2e/config.py",
    "/demo/%2e%2e%2fconfig.py",
    "/demo/..%5cconfig.py",
    "/demo/%2fetc%2fpasswd",
    "/demo//etc/passwd",
    "/demo/main.js%00.css",
    "/demo/index.html",
    "/demo/MAIN.JS",
    "/demo/nothing.js",
    "/demo/__init__.py",
]


class TestDemoPage:
    @pytest.mark.parametrize("path", ["/demo", "/demo/"])
    async def test_demo_page_is_html_with_own_policy(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers.get_list("content-security-policy") == [PAGE_POLICY]
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS

    async def test_policy_forbids_inline_code_and_foreign_sources(self) -> None:
        assert "unsafe" not in PAGE_POLICY
        assert not re.search(r"https?:|\*", PAGE_POLICY)

    @pytest.mark.parametrize("path", ["/demo", "/demo/"])
    async def test_demo_page_links_served_relative_paths(self, client: httpx.AsyncClient, path: str) -> None:
        page = (await client.get(path)).text
        named = re.findall(r'(?:src|href)="([^"#]+)"', page)
        assert named
        assert not [each for each in named if each.startswith("/")]
        assert [(await client.get(urljoin(path, each))).status_code for each in named] == [200] * len(named)

    async def test_demo_page_contains_no_inline_code(self, client: httpx.AsyncClient) -> None:
        page = (await client.get("/demo")).text
        assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", page)
        assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]

    async def test_demo_page_states_minimum_password_length(self, settings: Settings, engine: AsyncEngine) -> None:
        container = Container(msgspec.structs.replace(settings, password_min_length=21), engine=engine)
        async with client_of(create_app(container)) as client:
            page = (await client.get("/demo")).text
        await container.close()
        assert "At least 21 characters" in page
        assert "{" not in page


class TestDemoFile:
    @pytest.mark.parametrize("name", NAMES)
    async def test_demo_file_is_served_with_matching_type(self, client: httpx.AsyncClient, name: str) -> None:
        answer = await client.get(f"/demo/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(TYPES[Path(name).suffix])
        assert answer.content == (FOLDER / name).read_bytes()
        assert {header: answer.headers[header] for header in SECURITY_HEADERS} == SECURITY_HEADERS

    @pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
    async def test_demo_file_imports_served_files(self, client: httpx.AsyncClient, name: str) -> None:
        for imported in re.findall(r'from "\./([^"]+)"', (FOLDER / name).read_text()):
            assert (await client.get(f"/demo/{imported}")).status_code == 200

    @pytest.mark.parametrize("name", NAMES)
    def test_demo_file_uses_no_html_strings_and_no_foreign_urls(self, name: str) -> None:
        text = (FOLDER / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
        assert set(re.findall(r"https?://[^\s\"'`/]+", text)) <= {"http://www.w3.org"}

    @pytest.mark.parametrize("path", TRAVERSALS)
    async def test_unknown_demo_file_is_404(self, client: httpx.AsyncClient, path: str) -> None:
        assert_problem(await client.get(path), 404, "not_found")


class TestDemoCache:
    @pytest.mark.parametrize("path", ["/demo", "/demo/main.js"])
    async def test_cached_demo_file_is_revalidated_with_304(self, client: httpx.AsyncClient, path: str) -> None:
        first = await client.get(path)
        assert first.headers.get_list("cache-control") == ["no-cache"]
        again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]

    async def test_different_etag_gets_whole_file(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/demo/main.js", headers={"If-None-Match": '"0123"'})
        assert answer.status_code == 200


@pytest_asyncio.fixture(loop_scope="session")
async def without(settings: Settings, engine: AsyncEngine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application without the demo."""
    container = Container(msgspec.structs.replace(settings, demo="off"), engine=engine)
    async with client_of(create_app(container)) as client:
        yield client
    await container.close()


class TestDemoSwitchedOff:
    @pytest.mark.parametrize("path", ["/demo", "/demo/", "/demo/main.js", "/demo/nothing.js"])
    async def test_disabled_demo_is_404(self, without: httpx.AsyncClient, path: str) -> None:
        assert_problem(await without.get(path), 404, "not_found")
