"""Accessibility and right-to-left text."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Locator, expect

from tests.browser._tab import Account, Tab
from tests.browser.conftest import Sit

Make = Callable[..., Awaitable[Account]]

# WCAG 2 relative luminance; overlapping colours are blended first.
CONTRAST = """(element) => {
  const channels = (color) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return alpha === 0 ? [0, 0, 0, 0] : [red, green, blue, alpha / 255];
  };
  const over = (top, below) => below.map((value, i) => i === 3 ? 1 : top[i] * top[3] + value * (1 - top[3]));
  const behind = (node) => {
    if (!node) return [255, 255, 255, 1];
    const own = channels(getComputedStyle(node).backgroundColor);
    return own[3] === 1 ? own : over(own, behind(node.parentElement));
  };
  const luminance = (color) => color.slice(0, 3).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const background = behind(element);
  const pair = [luminance(over(channels(getComputedStyle(element).color), background)), luminance(background)];
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""
STRAY_ITEMS = """() => [...document.querySelectorAll("li")].filter(({ parentElement: list }) =>
  !["UL", "OL"].includes(list.tagName) || ![null, "list"].includes(list.getAttribute("role"))).length"""


async def contrast(of: Locator) -> float:
    return float(await of.evaluate(CONTRAST))


@pytest.fixture
def chatting(account: Make, sit: Sit) -> Callable[[], Awaitable[tuple[Tab, Account, Account]]]:
    """Ada in a chat with Bob."""

    async def make() -> tuple[Tab, Account, Account]:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        await bob.write(ada, "From Bob")
        await ada.write(bob, "From Ada")
        tab = await sit(ada)
        await tab.chat_with("Bob")
        await expect(tab.bodies).to_have_text(["From Bob", "From Ada"])
        return tab, ada, bob

    return make


Chatting = Callable[[], Awaitable[tuple[Tab, Account, Account]]]


class TestAssistiveTechnology:
    async def test_messages_are_a_list_in_a_log(self, chatting: Chatting) -> None:
        tab, _, _ = await chatting()
        log = tab.page.get_by_role("log", name="Messages")
        await expect(log.get_by_role("list").get_by_role("listitem").filter(has_text="From ")).to_have_count(2)
        assert await tab.page.evaluate(STRAY_ITEMS) == 0

    async def test_chat_row_has_accessible_name(self, chatting: Chatting) -> None:
        tab, ada, bob = await chatting()
        await tab.page.goto("about:blank")
        await bob.write(ada, "Later")
        await tab.page.goto("/demo")
        await expect(tab.row("Bob")).to_have_accessible_name(
            re.compile(r"^Bob Offline Later [\d:]+( [AP]M)? 1 unread$")
        )

    async def test_page_has_single_main_landmark_and_heading(self, chatting: Chatting) -> None:
        tab, _, _ = await chatting()
        await expect(tab.page.get_by_role("main")).to_have_count(1)
        await expect(tab.page.get_by_role("heading", level=1)).to_have_count(1)

    async def test_messages_are_scrolled_by_keyboard(self, chatting: Chatting) -> None:
        tab, ada, bob = await chatting()
        await bob.write(ada, *(f"Number {n}" for n in range(1, 31)))
        await expect(tab.message("Number 30")).to_be_in_viewport()
        await tab.page.get_by_role("link", name="Bob").focus()
        log = tab.page.get_by_role("log", name="Messages")
        for _ in range(3):
            if await log.evaluate("(log) => log === document.activeElement"):
                break
            await tab.page.keyboard.press("Tab")
        await expect(log).to_be_focused()
        await tab.page.keyboard.press("Home")
        await expect(tab.message("From Bob")).to_be_in_viewport()

    @pytest.mark.parametrize("theme", ["light", "dark"])
    async def test_small_text_has_contrast(self, chatting: Chatting, theme: str) -> None:
        tab, _, _ = await chatting()
        await tab.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        texts = [".own time", ".other time", ".line span", "#peer small", ".chat-row small", ".chat-row time"]
        measured = {text: await contrast(tab.page.locator(text).first) for text in texts}
        assert {text: ratio for text, ratio in measured.items() if ratio < 4.5} == {}


class TestRightToLeft:
    @pytest.mark.parametrize(
        ("body", "sides"),
        [
            ("שלום\nמה שלומך היום, ידידי הטוב", ["right", "both"]),
            ("مرحبا", ["right"]),
            ("שלום\nHello there\nand a good morning to you all", ["right", "left", "both"]),
            ("Hello\nthere, my good friend", ["left", "left"]),
        ],
    )
    async def test_each_line_is_aligned_by_text_direction(
        self, chatting: Chatting, body: str, sides: list[str]
    ) -> None:
        tab, ada, bob = await chatting()
        await bob.write(ada, body)
        await expect(tab.bodies).to_have_count(3)
        aligned = await tab.bodies.last.evaluate("""(body) => {
          const [text] = body.childNodes;
          const bubble = body.parentElement.getBoundingClientRect();
          let start = 0;
          return text.data.split("\\n").map((line) => {
            const range = document.createRange();
            range.setStart(text, start);
            range.setEnd(text, start + line.length);
            start += line.length + 1;
            const { left, right } = range.getBoundingClientRect();
            const slack = (left - bubble.left) - (bubble.right - right);
            return Math.abs(slack) < 2 ? "both" : slack > 0 ? "right" : "left";
          });
        }""")
        assert aligned == sides

    async def test_composer_follows_text_direction(self, chatting: Chatting) -> None:
        tab, _, _ = await chatting()
        await tab.text.fill("שלום")
        assert await tab.text.evaluate("(text) => getComputedStyle(text).direction") == "rtl"
