"""The server behind nginx under a path prefix: pages, document, images, WebSocket, with and without the setting."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from PIL import Image
from websockets.sync.client import connect
from websockets.typing import Origin

from messenger.testing.factories import PASSWORD
from messenger.testing.folders import memory_folder
from messenger.testing.servers import free_port
from tests.end_to_end._nginx import Nginx
from tests.support.server import Server, launch

CHEAP = {"password_time_cost": 1, "password_memory_cost": 32, "rate_limits": "off"}


class Site:
    """What clients see: the URL of the prefix, and an account."""

    def __init__(self, url: str, origin: str) -> None:
        self.url = url
        self.origin = origin
        self.http = httpx.Client(timeout=20)
        draft = {"username": "ada", "password": PASSWORD, "name": "Ada"}
        answer = self.http.post(f"{url}/register", json=draft)
        if answer.status_code == 409:
            answer = self.http.post(f"{url}/login", json={"login": "ada", "password": PASSWORD})
        self.headers = {"Authorization": f"Bearer {answer.json()['tokens']['access_token']}"}

    def close(self) -> None:
        self.http.close()

    def upload(self) -> dict[str, str]:
        """Upload an avatar; return its description."""
        file = io.BytesIO()
        Image.new("RGB", (32, 32), (200, 30, 90)).save(file, "PNG")
        files = {"file": ("ada.png", file.getvalue())}
        answer = self.http.post(f"{self.url}/avatar/upload", files=files, headers=self.headers)
        avatar: dict[str, str] = answer.json()["avatar"]
        return avatar


@contextmanager
def _site(public: bool) -> Iterator[Site]:
    with memory_folder("prefix") as folder, _serving(folder, public) as site:
        yield site


@contextmanager
def _serving(folder: Path, public: bool) -> Iterator[Site]:
    port = free_port()
    nginx = Nginx(folder, port)
    settings = {**CHEAP, **({"public_url": f"{nginx.url}/"} if public else {})}
    process = launch(folder, port, folder / "server.log", settings)
    try:
        Server(process, f"http://127.0.0.1:{port}", folder / "server.log").await_ready()
        with nginx, closing(Site(nginx.url, f"http://127.0.0.1:{nginx.port}")) as site:
            yield site
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module", params=[True, False], ids=["public_url", "no_public_url"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with _site(request.param) as site:
        yield site


@pytest.fixture(scope="module")
def public_site() -> Iterator[Site]:
    with _site(True) as site:
        yield site


class TestPrefixedPages:
    @pytest.mark.parametrize("page", ["/docs", "/docs/", "/demo", "/demo/"])
    def test_page_resources_are_served_under_prefix(self, site: Site, page: str) -> None:
        answer = site.http.get(site.url + page)
        assert answer.status_code == 200
        named = re.findall(r'(?:src|href)="([^"#]+)"', answer.text)
        assert named
        loaded = {each: site.http.get(urljoin(site.url + page, each)).status_code for each in named}
        assert set(loaded.values()) == {200}, loaded


class TestPublicUrl:
    def test_document_names_public_url(self, public_site: Site) -> None:
        document = public_site.http.get(f"{public_site.url}/openapi.json").json()
        assert document["servers"] == [{"url": public_site.url}]

    def test_avatar_urls_resolve_under_prefix(self, public_site: Site) -> None:
        avatar = public_site.upload()
        for url in (avatar["url"], avatar["thumb_url"]):
            assert url.startswith(f"{public_site.url}/avatars/")
            assert public_site.http.get(url, headers=public_site.headers).status_code == 200
        profile = public_site.http.get(f"{public_site.url}/profile", headers=public_site.headers).json()
        assert profile["avatar"]["url"] == avatar["url"]

    def test_page_policy_allows_avatars(self, public_site: Site) -> None:
        policy = public_site.http.get(f"{public_site.url}/demo").headers["content-security-policy"]
        assert f"img-src 'self' {public_site.origin} data:" in policy

    def test_page_of_public_origin_opens_socket(self, public_site: Site) -> None:
        # nginx sends the name of the upstream as `Host`, which differs from the page's origin.
        url = public_site.url.replace("http", "ws", 1) + "/ws"
        ticket = public_site.http.post(f"{public_site.url}/ws/ticket", headers=public_site.headers).json()["ticket"]
        with connect(f"{url}?ticket={ticket}", origin=Origin(public_site.origin)) as socket:
            assert '"welcome"' in str(socket.recv(timeout=10))

    def test_page_of_other_origin_opens_no_socket(self, public_site: Site) -> None:
        parts = urlsplit(public_site.url)
        url = f"ws://{parts.netloc}{parts.path}/ws"
        with pytest.raises(Exception, match="403"), connect(url, origin=Origin("http://127.0.0.1:1")):
            pass


class TestWithoutPublicUrl:
    def test_docs_page_loads_document_by_relative_url(self, site: Site) -> None:
        script = site.http.get(f"{site.url}/docs/start.js").text
        assert 'new URL("..", document.currentScript.src)' in script
        assert site.http.get(urljoin(f"{site.url}/docs/start.js", "../openapi.json")).status_code == 200
