"""The page's connection when the network, the server or a token fails."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Request, expect

from tests.browser._line import Frame, Line
from tests.browser._tab import Account, Tab
from tests.browser.conftest import Sit

Make = Callable[..., Awaitable[Account]]

# What Chromium itself writes to the console.
OFFLINE = ("ERR_INTERNET_DISCONNECTED", "WebSocket connection to")
REFUSED = "the server responded with a status of 401"


@pytest.fixture
def friends(account: Make) -> Callable[[], Awaitable[tuple[Account, Account]]]:
    """Ada and Bob."""

    async def make() -> tuple[Account, Account]:
        bob = await account("Bob")
        return await account("Ada", bob), bob

    return make


Friends = Callable[[], Awaitable[tuple[Account, Account]]]


async def on_a_line(sit: Sit, account: Account) -> tuple[Tab, Line]:
    """A signed-in tab whose connection the test controls."""
    tab = await sit(blank=True)
    line = await Line.under(tab)
    await tab.open(account)
    return tab, line


def watched(tab: Tab, path: str) -> list[Request]:
    """Requests to a path, as they are made."""
    made: list[Request] = []
    tab.page.on("request", lambda request: made.append(request) if path in request.url else None)
    return made


class TestLostConnection:
    async def test_missed_messages_arrive_in_order_and_once(self, sit: Sit, friends: Friends) -> None:
        ada, bob = await friends()
        hers, his = await sit(ada), await sit(bob)
        his.announce(*OFFLINE)
        await hers.chat_with("Bob")
        await his.chat_with("Ada")
        await hers.say("Before")
        await expect(his.bodies).to_have_text(["Before"])
        await his.page.context.set_offline(True)
        await expect(his.page.locator("#banner")).to_be_visible()
        await hers.say("One", "Two", "Three")
        await expect(hers.mark("Three")).to_have_attribute("data-mark", "sent")
        await his.say("Four", "Five")
        await expect(his.mark("Five")).to_have_attribute("data-mark", "waiting")
        await his.page.context.set_offline(False)
        await his.is_live()
        await expect(his.page.locator("#banner")).to_be_hidden()
        for tab in (hers, his):
            await expect(tab.bodies).to_have_text(["Before", "One", "Two", "Three", "Four", "Five"])
        await expect(hers.mark("Three")).to_have_attribute("data-mark", "read")

    async def test_reconnect_resumes_from_cursor_without_reloading(self, sit: Sit, friends: Friends) -> None:
        ada, bob = await friends()
        hers, line = await on_a_line(sit, ada)
        await hers.chat_with("Bob")
        await bob.write(ada, "One")
        await expect(hers.bodies).to_have_text(["One"])
        loads = watched(hers, "/conversations")
        await line.close(4408)
        await bob.write(ada, "Two")
        await expect(hers.bodies).to_have_text(["One", "Two"])
        given = [frame["cursor"] for frame in line.received if frame["type"] == "welcome"]
        assert given[1] in {frame["cursor"] for frame in line.received if frame["type"] != "welcome"}
        assert loads == []

    async def test_silent_connection_is_detected_by_ping(self, sit: Sit, friends: Friends) -> None:
        ada, _ = await friends()
        tab = await sit(blank=True)
        line = await Line.under(tab)
        await tab.page.clock.install()
        await tab.open(ada)
        line.to_server = line.to_page = lambda _: False
        await tab.page.clock.fast_forward(60_000)
        await tab.page.clock.fast_forward(15_000)
        await expect(tab.page.locator("#connection")).not_to_have_attribute("data-state", "live")
        line.to_server = line.to_page = lambda _: True
        await tab.is_live()
        assert line.requests("ping")


class TestSending:
    async def test_lost_reply_causes_no_duplicate_message(self, sit: Sit, friends: Friends) -> None:
        ada, bob = await friends()
        hers, line = await on_a_line(sit, ada)
        await hers.chat_with("Bob")
        line.to_page = lambda _: False
        repeats = watched(hers, "/messages")
        await hers.say("Once")
        # The server has the message; the page does not know.
        his = await sit(bob)
        await his.chat_with("Ada")
        await expect(his.bodies).to_have_text(["Once"])
        await expect(hers.mark("Once")).to_have_attribute("data-mark", "waiting")
        line.to_page = lambda _: True
        await line.close(1011)
        await expect(hers.mark("Once")).to_have_attribute("data-mark", "read")
        assert [json.loads(each.post_data or "")["client_id"] for each in repeats] == [
            each["data"]["client_id"] for each in line.requests("message.send")
        ]
        history = await ada.get(f"/history/{bob.id}")
        assert [message["body"] for message in history["items"]] == ["Once"]
        await expect(hers.bodies).to_have_text(["Once"])

    async def test_unsent_messages_survive_page_reload(self, sit: Sit, friends: Friends) -> None:
        ada, bob = await friends()
        hers, line = await on_a_line(sit, ada)
        hers.announce("ERR_FAILED")
        await hers.chat_with("Bob")
        line.to_server = lambda _: False
        await hers.page.route("**/messages", lambda route: route.abort())
        await hers.say("One", "Two")
        await line.close(1011)
        await hers.is_live()
        await expect(hers.mark("Two")).to_have_attribute("data-mark", "waiting")
        line.to_server = lambda _: True
        await hers.page.unroute("**/messages")
        await hers.page.reload()
        await expect(hers.mark("Two")).to_have_attribute("data-mark", "sent")
        history = await bob.get(f"/history/{ada.id}")
        assert [message["body"] for message in history["items"]] == ["One", "Two"]


class TestFrames:
    async def test_duplicate_event_and_older_unread_count_are_ignored(self, sit: Sit, friends: Friends) -> None:
        ada, bob = await friends()
        hers, line = await on_a_line(sit, ada)
        await bob.write(ada, "One", "Two")
        await expect(hers.badge("Bob")).to_have_text("2")
        event = line.events("message.created")[-1]
        again: Frame = {**event, "data": {**event["data"], "id": "another", "body": "Never", "seq": 9}}
        line.say(again)
        receipt = line.events("receipt.updated")[-1]
        line.say({**receipt, "cursor": "e99999", "data": {**receipt["data"], "unread": 7, "version": 0}})
        line.say({"type": "of a later server"})
        await hers.chat_with("Bob")
        await expect(hers.bodies).to_have_text(["One", "Two"])
        await expect(hers.badge("Bob")).to_have_text("")

    async def test_resync_reloads_state(self, sit: Sit, friends: Friends) -> None:
        ada, bob = await friends()
        hers, line = await on_a_line(sit, ada)
        await hers.chat_with("Bob")
        await bob.write(ada, "One")
        await expect(hers.bodies).to_have_text(["One"])
        loads = [watched(hers, path) for path in ("/conversations", "/contacts", "/history")]
        line.to_page = lambda frame: frame["type"] != "event"
        await bob.write(ada, "Two")
        line.say({"type": "resync", "cursor": "e99"})
        await expect(hers.bodies).to_have_text(["One", "Two"])
        line.to_page = lambda _: True
        await bob.write(ada, "Three")
        await expect(hers.bodies).to_have_text(["One", "Two", "Three"])
        assert [len(made) for made in loads] == [1, 1, 1]
        assert len(line.sockets) == 2


class TestCloseCodes:
    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (1003, "The server couldn’t make sense of what this page sent."),
            (4409, "This session goes on in another tab."),
        ],
    )
    async def test_fatal_close_code_waits_for_user(self, sit: Sit, account: Make, code: int, words: str) -> None:
        tab, line = await on_a_line(sit, await account("Ada"))
        await line.close(code)
        await expect(tab.page.locator("#banner-text")).to_have_text(words)
        assert len(line.sockets) == 1
        await tab.page.locator("#banner-action").click()
        await tab.is_live()

    @pytest.mark.parametrize(("code", "reason", "seconds"), [(1012, "retry_after=17.4", 17), (4429, "", 60)])
    async def test_reconnect_waits_for_requested_time(
        self, sit: Sit, account: Make, code: int, reason: str, seconds: int
    ) -> None:
        tab = await sit(blank=True)
        line = await Line.under(tab)
        await tab.page.clock.install()
        await tab.open(await account("Ada"))
        await line.close(code, reason)
        await expect(tab.page.locator("#connection-text")).to_have_text(re.compile(r"Reconnecting in \d+ s"))
        await tab.page.evaluate("dispatchEvent(new Event('online'))")
        await tab.page.clock.fast_forward((seconds - 4) * 1000)
        await expect(tab.page.locator("#banner-action")).to_be_hidden()
        assert len(line.sockets) == 1
        await tab.page.clock.fast_forward(8_000)
        await tab.is_live()

    async def test_transient_close_code_reconnects_automatically(self, sit: Sit, account: Make) -> None:
        tab, line = await on_a_line(sit, await account("Ada"))
        for times, code in enumerate([4408, 1006, 1011], start=1):
            await line.close(code)
            await expect(tab.page.locator("#connection")).not_to_have_attribute("data-state", "live")
            await tab.is_live()
            assert len(line.sockets) == 1 + times

    async def test_duplicated_tab_takes_over_session(self, sit: Sit, account: Make) -> None:
        ada = await account("Ada")
        first = await sit(ada)
        second = await sit(ada, beside=first)
        await expect(first.page.locator("#banner-text")).to_have_text("This session goes on in another tab.")
        await first.button("Use it here").click()
        await first.is_live()
        await expect(second.page.locator("#banner-text")).to_have_text("This session goes on in another tab.")


REQUESTS_AT_ONCE = """async () => {
  const { Api } = await import("/demo/api.js");
  const { session } = await import("/demo/session.js");
  session.renew({ ...session.tokens, access_token: "expired" });
  const api = new Api(session);
  return (await Promise.all(Array.from({ length: 6 }, () => api.get("/profile")))).map(({ id }) => id);
}"""


class TestTokens:
    async def test_concurrent_requests_refresh_token_once(self, sit: Sit, account: Make) -> None:
        ada = await account("Ada")
        tab = await sit(ada)
        tab.announce(REFUSED)
        refreshed = watched(tab, "/token/refresh")
        assert await tab.page.evaluate(REQUESTS_AT_ONCE) == [ada.id] * 6
        assert len(refreshed) == 1

    async def test_signed_out_device_shows_notice(self, sit: Sit, account: Make) -> None:
        ada = await account("Ada")
        tab = await sit(ada)
        tab.announce(REFUSED)
        await tab.page.goto("about:blank")
        await ada.post("/logout")
        await tab.page.goto("/demo")
        await expect(tab.page.locator("#welcome-notice")).to_have_text("This device was signed out.")
