"""The page at `GET /`."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.controllers.home import PAGE_POLICY
from tests.support.http import client_of


def links(page: str) -> list[str]:
    return re.findall(r'<a href="([^"]+)"', page)


class TestHomePage:
    async def test_home_page_links_served_pages(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert links(answer.text) == ["docs", "openapi.json", "demo"]
        assert [(await client.get(f"/{link}")).status_code for link in links(answer.text)] == [200] * 3
        assert "messaging server" in answer.text

    async def test_home_page_loads_no_resources(self, client: httpx.AsyncClient) -> None:
        page = (await client.get("/")).text
        assert not re.search(r"<script|<img|\bsrc=|url\(|@import|https?:|//", page)
        assert re.findall(r'<link [^>]*href="([^"]*)"', page) == ["data:,"]
        assert len(page) < 4_000

    async def test_home_page_policy_allows_only_own_styles(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/")
        (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert answer.headers.get_list("content-security-policy") == [PAGE_POLICY]
        assert f"style-src 'sha256-{digest}';" in PAGE_POLICY
        assert PAGE_POLICY.startswith("default-src 'none';")
        assert "unsafe" not in PAGE_POLICY

    async def test_home_page_fits_phones_and_follows_theme(self, client: httpx.AsyncClient) -> None:
        page = (await client.get("/")).text
        assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
        assert "prefers-color-scheme: dark" in page

    @pytest.mark.parametrize(("demo", "environment"), [("off", "development"), ("auto", "production")])
    async def test_home_page_omits_disabled_demo(
        self, settings: Settings, engine: AsyncEngine, demo: str, environment: str
    ) -> None:
        changed = msgspec.structs.replace(settings, demo=demo, environment=environment)
        container = Container(changed, engine=engine)
        async with client_of(create_app(container)) as client:
            page = (await client.get("/")).text
        await container.close()
        assert links(page) == ["docs", "openapi.json"]
        assert "demo" not in page.lower()
