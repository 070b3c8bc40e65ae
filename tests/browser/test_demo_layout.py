"""The layout of the demo: screenshots for review, and checks that a program can make."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from playwright.async_api import Page, expect

from tests.browser._tab import Account
from tests.browser.conftest import Sit
from tests.support.images import encoded

Make = Callable[..., Awaitable[Account]]

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
# Run in the page: elements beyond the window's edge, and controls without a name.
TOO_WIDE = "() => document.documentElement.scrollWidth - innerWidth"
NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, a")]
  .filter((element) => element.getClientRects().length > 0)
  .filter((element) => !(element.getAttribute("aria-label") || element.textContent.trim() || element.labels?.length))
  .map((element) => element.outerHTML)"""


def portrait(dark: str, light: str) -> bytes:
    """A picture with some depth."""
    return encoded(ImageOps.colorize(Image.radial_gradient("L"), light, dark), "PNG")


async def scene(account: Make) -> tuple[Account, Account]:
    """Ada, Bob, Ada's other contacts, and their messages."""
    grace, alan = await account("Grace Hopper"), await account("Alan Turing")
    bob = await account("Bob Ross")
    ada = await account("Ada Lovelace", grace, alan, bob)
    await bob.show(portrait("#16324f", "#f2b880"))
    await ada.show(portrait("#3d1a5b", "#ff9a8b"))
    await (await account("Marie Curie")).post(
        "/subscribe", target_id=ada.id, message="We met at the academy. Shall we?"
    )
    await alan.write(ada, "Could a machine write poetry?")
    await ada.write(alan, "It might compose elaborate pieces of music, of any degree of complexity.")
    await grace.write(ada, "Found the bug.", "It was a moth.", "I have taped it into the logbook.")
    await ada.write(
        bob, "Hello Bob!", "Did the painting dry in time? I would love to see it before Thursday’s opening."
    )
    await bob.write(ada, "Almost. I added one more tree.", "Every tree needs a friend.")
    await ada.write(bob, "Then it was worth the wait. See you at eight?")
    return ada, bob


async def is_sound(page: Page) -> None:
    assert await page.evaluate(TOO_WIDE) <= 0
    assert await page.evaluate(NAMELESS) == []


async def in_both_themes(page: Page, folder: Path, name: str) -> None:
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        await page.screenshot(path=folder / f"{name}-{theme}.png")


class TestDesktopLayout:
    async def test_desktop_pages_render_without_layout_faults(self, sit: Sit, account: Make, artifacts: Path) -> None:
        tab = await sit()
        await is_sound(tab.page)
        await in_both_themes(tab.page, artifacts, "welcome")
        ada, bob = await scene(account)
        await sit(bob)
        await tab.open(ada)
        await tab.chat_with("Bob Ross")
        await expect(tab.bodies).to_have_count(5)
        await expect(tab.head).to_have_text("Online")
        await tab.say("I’ll bring the *brushes*, and a little cake.")
        await expect(tab.mark("I’ll bring the *brushes*, and a little cake.")).to_have_attribute(
            "data-mark", "delivered"
        )
        await in_both_themes(tab.page, artifacts, "chat")
        await is_sound(tab.page)
        await tab.open_settings()
        await expect(tab.page.locator("#devices li")).to_have_count(1)
        await in_both_themes(tab.page, artifacts, "settings")

    async def test_chat_works_with_keyboard_only(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        tab = await sit(ada)
        keys = tab.page.keyboard
        await tab.row("Bob").focus()
        await keys.press("Enter")
        await expect(tab.text).to_be_focused()
        await keys.type("Hello")
        await keys.press("Enter")
        await expect(tab.mark("Hello")).to_have_attribute("data-mark", "sent")
        await keys.press("ArrowUp")
        await expect(tab.text).to_have_value("Hello")
        await keys.type(" there")
        await keys.press("Enter")
        await expect(tab.bodies).to_have_text(["Hello there"])
        await tab.page.get_by_role("button", name="Message actions").focus()
        await keys.press("Enter")
        await expect(tab.page.get_by_role("menuitem", name="Edit")).to_be_focused()
        await keys.press("ArrowDown")
        await keys.press("Escape")
        await expect(tab.page.get_by_role("button", name="Message actions")).to_be_focused()


class TestPhoneLayout:
    async def test_phone_shows_single_pane(self, sit: Sit, account: Make, artifacts: Path) -> None:
        tab = await sit(**PHONE)
        await is_sound(tab.page)
        await tab.page.screenshot(path=artifacts / "phone-welcome.png")
        ada, _ = await scene(account)
        await tab.open(ada)
        await expect(tab.page.locator("#requests li")).to_have_count(1)
        await expect(tab.badge("Grace Hopper")).to_have_text("3")
        await expect(tab.page.locator("#open-chat")).to_be_hidden()
        await tab.page.screenshot(path=artifacts / "phone-list.png")
        await tab.chat_with("Bob Ross")
        await expect(tab.bodies).to_have_count(5)
        await expect(tab.row("Bob Ross")).to_be_hidden()
        await tab.page.screenshot(path=artifacts / "phone-chat.png")
        await is_sound(tab.page)
        await tab.page.get_by_role("link", name="Back to the list").click()
        await expect(tab.row("Bob Ross")).to_be_visible()
        await tab.open_settings()
        await tab.page.screenshot(path=artifacts / "phone-settings.png")
        await is_sound(tab.page)
