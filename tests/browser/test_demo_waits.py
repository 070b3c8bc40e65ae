"""The page always waits for the time that a refusal requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from playwright.async_api import Route, expect

from tests.browser._line import Line
from tests.browser._tab import Account, Tab
from tests.browser.conftest import Sit

Make = Callable[..., Awaitable[Account]]

TOO_MANY = "the server responded with a status of 429"


async def on_a_slow_line(sit: Sit, account: Account) -> tuple[Tab, Line]:
    """A signed-in tab whose frames and clock the test controls."""
    tab = await sit(blank=True)
    line = await Line.under(tab)
    await tab.page.clock.install()
    await tab.open(account)
    return tab, line


async def reached(line: Line, method: str, count: int) -> None:
    """Wait until the page has made this many requests."""
    async with asyncio.timeout(15):
        while len(line.requests(method)) < count:
            await line.frame_sent.wait()
            line.frame_sent.clear()


async def probed(tab: Tab, line: Line) -> None:
    """Wait until the page has sent a ping: frames are in order, so all requests before it have arrived."""
    pings = len(line.requests("ping"))
    await tab.page.evaluate("dispatchEvent(new Event('online'))")
    await reached(line, "ping", pings + 1)


class TestRateLimitedRequest:
    async def test_message_is_sent_again_after_retry_after(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        tab, line = await on_a_slow_line(sit, await account("Ada", bob))
        await tab.chat_with("Bob")
        line.refuse("message.send", 30)
        await tab.say("One", "Two")
        await reached(line, "message.send", 1)
        await tab.page.clock.fast_forward(26_000)
        await probed(tab, line)
        assert len(line.requests("message.send")) == 1
        await expect(tab.mark("One")).to_have_attribute("data-mark", "waiting")
        line.accept()
        await tab.page.clock.fast_forward(5_000)
        await expect(tab.mark("Two")).to_have_attribute("data-mark", "sent")
        await expect(tab.bodies).to_have_text(["One", "Two"])

    async def test_reconnecting_does_not_shorten_the_wait(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        tab, line = await on_a_slow_line(sit, await account("Ada", bob))
        await tab.chat_with("Bob")
        line.refuse("message.send", 300)
        await tab.say("One")
        await reached(line, "message.send", 1)
        await line.close(4408)
        await expect(tab.page.locator("#connection")).not_to_have_attribute("data-state", "live")
        await tab.is_live()
        await probed(tab, line)
        assert len(line.requests("message.send")) == 1

    async def test_receipt_is_sent_again_after_retry_after(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        await bob.write(ada, "One")
        tab, line = await on_a_slow_line(sit, ada)
        line.refuse("receipt.set", 30)
        await tab.chat_with("Bob")
        await reached(line, "receipt.set", 1)
        await bob.write(ada, "Two")
        await expect(tab.bodies).to_have_text(["One", "Two"])
        await tab.page.clock.fast_forward(20_000)
        await probed(tab, line)
        assert len(line.requests("receipt.set")) == 1
        line.accept()
        await tab.page.clock.fast_forward(11_000)
        await reached(line, "receipt.set", 2)
        assert line.requests("receipt.set")[-1]["data"] == {"target_id": bob.id, "read_seq": 2}

    async def test_typing_is_not_repeated_before_retry_after(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        tab, line = await on_a_slow_line(sit, await account("Ada", bob))
        await tab.chat_with("Bob")
        line.refuse("typing", 30)
        await tab.text.press_sequentially("W")
        await reached(line, "typing", 1)
        await tab.page.clock.fast_forward(20_000)
        await tab.text.press_sequentially("e")
        await tab.page.clock.run_for(100)
        await probed(tab, line)
        assert len(line.requests("typing")) == 1
        await tab.page.clock.fast_forward(11_000)
        await reached(line, "typing", 2)


class TestRateLimitedLoad:
    async def test_statuses_are_loaded_again_after_retry_after(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        await sit(bob)
        tab = await sit(blank=True)
        tab.announce(TOO_MANY)
        line = await Line.under(tab)
        asked: list[str] = []

        async def refuse(route: Route) -> None:
            asked.append(route.request.url)
            await route.fulfill(status=429, headers={"Retry-After": "30"}, json={"status": 429, "code": "rate_limited"})

        await tab.page.route("**/statuses*", refuse)
        await tab.page.clock.install()
        await tab.open(ada)
        await expect(tab.row("Bob")).to_be_visible()
        await tab.page.clock.fast_forward(25_000)
        await probed(tab, line)
        assert len(asked) == 1
        await tab.page.unroute("**/statuses*")
        await tab.page.clock.fast_forward(10_000)
        await expect(tab.dot("Bob")).to_have_attribute("data-presence", "online")
