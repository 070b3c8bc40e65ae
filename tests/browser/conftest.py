"""A real server, a real browser, and tabs for users."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from messenger.testing.factories import PASSWORD
from messenger.testing.folders import memory_folder
from tests.browser._oldest import AS_OLDEST_BROWSER
from tests.browser._tab import Account, Tab
from tests.support.server import Server, running

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
USUAL = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "reduced_motion": "reduce"}
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
SETTINGS = {"password_time_cost": 1, "password_memory_cost": 32, "rate_limits": "off", "demo": "on"}
# The machine may be busy with other tests.
expect.set_options(timeout=15_000)

Sit = Callable[..., Awaitable[Tab]]


@pytest.fixture(scope="session", autouse=True)
def _chromium() -> None:
    """Skip or fail without a browser, as configured."""
    if Path(CHROMIUM).is_file():
        return
    why = "no Chromium: the demo was NOT tried in a browser (apt-get install --no-install-recommends chromium)"
    if os.environ.get("MESSENGER_TEST_REQUIRE_SERVERS"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """The folder of the screenshots."""
    folder = Path(os.environ.get("MESSENGER_ARTIFACTS") or Path(__file__).parents[2] / "build" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server for these tests, with a PostgreSQL of its own."""
    with memory_folder("demo") as folder, running(folder, **SETTINGS) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def http(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client beside the browser, for what a test needs but does not test."""
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client


@pytest.fixture
def account(http: httpx.AsyncClient) -> Callable[..., Awaitable[Account]]:
    """Create an account; the given accounts become its mutual contacts."""

    async def make(name: str, *contacts: Account) -> Account:
        username = f"{name.split()[0].lower()}{secrets.token_hex(4)}"
        draft = {"username": username, "password": PASSWORD, "name": name, "device_name": f"{name.split()[0]}’s laptop"}
        answer = await http.post("/register", json=draft)
        made = Account.of(answer.json(), http)
        for other in contacts:
            await made.post("/subscribe", target_id=other.id)
            await other.post("/confirm_subscribe", target_id=made.id)
        return made

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def sit(browser: Browser, server: Server) -> AsyncIterator[Sit]:
    """Open the page in a browser context of its own, signed in if an account is given; `blank`: stay on an empty page.
    At the end, no tab may have written to its console anything that the test did not announce.
    """
    tabs: list[Tab] = []

    async def open_tab(
        account: Account | None = None, *, beside: Tab | None = None, blank: bool = False, **options: object
    ) -> Tab:
        if beside is None:
            options = {**USUAL, **options}
            context = await browser.new_context(base_url=server.url, **options)  # type: ignore[arg-type]
            await context.add_init_script(AS_OLDEST_BROWSER)
        else:
            context = beside.page.context
        tab = Tab(await context.new_page())
        tabs.append(tab)
        if not blank:
            await tab.open(account)
        return tab

    yield open_tab
    for context in {tab.page.context for tab in tabs}:
        await context.close()
    assert [fault for tab in tabs for fault in tab.faults] == []
