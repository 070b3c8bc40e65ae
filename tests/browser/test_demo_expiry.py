"""Expiring messages disappear at `expires_at`, without an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from tests.browser._tab import Account, Tab
from tests.browser.conftest import Sit

Make = Callable[..., Awaitable[Account]]

HOUR = 3_600


@pytest.fixture
def fleeting(account: Make, sit: Sit) -> Callable[[], Awaitable[Tab]]:
    """Ada's tab, in a chat with Bob whose messages expire after an hour; the test controls the tab's clock."""

    async def make() -> Tab:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        await ada.put(f"/conversations/{bob.id}", expire_after=HOUR)
        await bob.write(ada, "From Bob")
        await ada.write(bob, "From Ada")
        tab = await sit(blank=True)
        await tab.page.clock.install(time=datetime.now(UTC))
        await tab.open(ada)
        await tab.chat_with("Bob")
        await expect(tab.bodies).to_have_text(["From Bob", "From Ada"])
        return tab

    return make


Fleeting = Callable[[], Awaitable[Tab]]


async def is_empty(tab: Tab) -> None:
    """The page shows no text of the chat."""
    await expect(tab.bodies).to_have_text(["Message expired", "Message expired"])
    await expect(tab.row("Bob").locator("small")).to_have_text("Message expired")
    await expect(tab.page.get_by_text("From ")).to_have_count(0)


class TestExpiredMessage:
    async def test_expired_message_disappears_at_expires_at(self, fleeting: Fleeting) -> None:
        tab = await fleeting()
        await tab.page.clock.fast_forward((HOUR - 60) * 1000)
        await expect(tab.bodies).to_have_text(["From Bob", "From Ada"])
        await expect(tab.row("Bob").locator("small")).to_have_text("You: From Ada")
        await tab.page.clock.fast_forward(61_000)
        await is_empty(tab)

    async def test_expired_message_disappears_within_a_second_after_sleep(self, fleeting: Fleeting) -> None:
        tab = await fleeting()
        # The clock went on while timers did not.
        await tab.page.clock.set_system_time(datetime.now(UTC) + timedelta(seconds=2 * HOUR))
        await tab.page.clock.run_for(1_000)
        await is_empty(tab)

    async def test_expired_message_disappears_once_page_is_visible(self, fleeting: Fleeting) -> None:
        tab = await fleeting()
        await tab.page.clock.pause_at(datetime.now(UTC) + timedelta(seconds=60))
        await tab.page.clock.set_system_time(datetime.now(UTC) + timedelta(seconds=2 * HOUR))
        await tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        # Changes are rendered together, a moment later.
        await tab.page.clock.run_for(1)
        await is_empty(tab)

    async def test_expired_message_cannot_be_edited(self, fleeting: Fleeting) -> None:
        tab = await fleeting()
        await tab.act("From Ada", "Edit")
        await expect(tab.text).to_have_value("From Ada")
        await tab.page.clock.fast_forward((HOUR + 1) * 1000)
        await is_empty(tab)
        await expect(tab.page.locator("#editing")).to_be_hidden()
        await expect(tab.text).to_have_value("")
        await tab.text.press("ArrowUp")
        await expect(tab.text).to_have_value("")
        await tab.message("Message expired").last.hover()
        await expect(tab.page.get_by_role("button", name="Message actions")).to_be_hidden()

    async def test_expired_message_is_empty_in_chat_opened_later(self, fleeting: Fleeting) -> None:
        tab = await fleeting()
        await tab.page.clock.fast_forward((HOUR + 1) * 1000)
        # The server's clock did not move: it still delivers the texts.
        await tab.page.reload()
        await tab.is_live()
        await is_empty(tab)
