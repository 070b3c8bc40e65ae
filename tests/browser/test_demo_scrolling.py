"""Visible messages stay in place while the page changes around them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Locator, expect

from tests.browser._tab import Account, Tab
from tests.browser.conftest import Sit
from tests.browser.test_demo_layout import PHONE

Make = Callable[..., Awaitable[Account]]
LAST = "Number 40"
KEYBOARD = {"width": 390, "height": 500}


@pytest.fixture
def reading(account: Make, sit: Sit) -> Callable[[], Awaitable[tuple[Tab, Account, Account]]]:
    """Ada on her phone, at the end of a long chat with Bob."""

    async def make() -> tuple[Tab, Account, Account]:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        await bob.write(ada, *(f"Number {n}" for n in range(1, 40)))
        await ada.write(bob, LAST)
        tab = await sit(ada, **PHONE)
        await tab.chat_with("Bob")
        await is_in_sight(tab.message(LAST))
        return tab, ada, bob

    return make


Reading = Callable[[], Awaitable[tuple[Tab, Account, Account]]]


async def is_in_sight(message: Locator) -> None:
    # A browser scrolls by whole pixels of the screen.
    await expect(message).to_be_in_viewport(ratio=0.97)


async def bottom_of(message: Locator) -> float:
    """How far above the composer a message ends."""
    edge = "document.getElementById('scroller').getBoundingClientRect().bottom"
    return float(await message.evaluate(f"(row) => {edge} - row.getBoundingClientRect().bottom"))


async def ends_at(message: Locator, bottom: float) -> None:
    """Wait until a message ends this far above the composer: the page scrolls in the frame after a change of size."""
    async with asyncio.timeout(10):
        while abs(await bottom_of(message) - bottom) > 2:
            await message.page.evaluate("() => new Promise(requestAnimationFrame)")


class TestEndOfChat:
    async def test_end_stays_visible_when_keyboard_opens_and_closes(self, reading: Reading) -> None:
        tab, _, _ = await reading()
        await tab.page.set_viewport_size(KEYBOARD)  # type: ignore[arg-type]
        await is_in_sight(tab.message(LAST))
        await tab.page.set_viewport_size(PHONE["viewport"])
        await is_in_sight(tab.message(LAST))

    async def test_end_stays_visible_above_overlaying_keyboard(self, reading: Reading) -> None:
        tab, _, _ = await reading()
        # As in iOS: the window keeps its height.
        await tab.page.evaluate("""() => {
          Object.defineProperty(visualViewport, "height", { configurable: true, get: () => 500 });
          visualViewport.dispatchEvent(new Event("resize"));
        }""")
        await expect(tab.page.locator("#app")).to_have_js_property("clientHeight", 500)
        await is_in_sight(tab.message(LAST))
        await tab.page.evaluate("delete visualViewport.height, visualViewport.dispatchEvent(new Event('resize'))")
        await expect(tab.page.locator("#app")).to_have_js_property("clientHeight", 844)

    async def test_end_stays_visible_below_banner(self, reading: Reading) -> None:
        tab, _, _ = await reading()
        tab.announce("ERR_INTERNET_DISCONNECTED", "WebSocket connection to")
        await tab.page.context.set_offline(True)
        await expect(tab.page.locator("#banner")).to_be_visible()
        await is_in_sight(tab.message(LAST))
        await tab.say("Written offline")
        await is_in_sight(tab.message("Written offline"))

    async def test_end_stays_visible_when_composer_grows(self, reading: Reading) -> None:
        tab, _, _ = await reading()
        await tab.text.fill("\n".join("abcdef"))
        await is_in_sight(tab.message(LAST))

    async def test_end_stays_visible_when_message_is_edited(self, reading: Reading) -> None:
        tab, _, _ = await reading()
        await tab.text.press("ArrowUp")
        await expect(tab.page.locator("#editing")).to_be_visible()
        await is_in_sight(tab.message(LAST))


class TestMiddleOfChat:
    @pytest.fixture
    async def middle(self, reading: Reading) -> tuple[Tab, Account, Account, Locator, float]:
        """Scrolled up: a message near the lower edge, and how far above the edge it ends."""
        tab, ada, bob = await reading()
        await tab.message("Number 20").evaluate("(row) => row.scrollIntoView({ block: 'end' })")
        await expect(tab.button("To the latest message")).to_be_visible()
        message = tab.message("Number 20")
        return tab, ada, bob, message, await bottom_of(message)

    async def test_scroll_position_stays_when_window_is_resized(
        self, middle: tuple[Tab, Account, Account, Locator, float]
    ) -> None:
        tab, _, _, message, bottom = middle
        for size in (KEYBOARD, {"width": 360, "height": 740}):
            await tab.page.set_viewport_size(size)  # type: ignore[arg-type]
            await is_in_sight(message)
            await ends_at(message, bottom)

    async def test_scroll_position_stays_when_messages_arrive_and_change(
        self, middle: tuple[Tab, Account, Account, Locator, float]
    ) -> None:
        tab, ada, bob, message, bottom = middle
        history = await bob.get(f"/history/{ada.id}")
        await bob.patch(f"/messages/{history['items'][9]['id']}", body="Number 10, and\nmuch\nmore\nbesides")
        await expect(tab.page.get_by_text("besides")).to_be_attached()
        await bob.write(ada, "Number 41")
        await expect(tab.message("Number 41")).to_be_attached()
        assert await bottom_of(message) == pytest.approx(bottom, abs=2)
