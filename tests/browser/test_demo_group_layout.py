"""Groups in the demo on a phone, by keyboard alone, in both themes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser._groups import Group, GroupPage, notices
from tests.browser._tab import Account, Tab
from tests.browser.conftest import Sit
from tests.browser.test_demo_accessibility import STRAY_ITEMS, contrast
from tests.browser.test_demo_layout import in_both_themes, is_sound

Make = Callable[..., Awaitable[Account]]

PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
# Run in the page: dialogs whose content is wider than they are.
WIDE_DIALOGS = """() => [...document.querySelectorAll("dialog[open]")]
  .filter((dialog) => dialog.scrollWidth > dialog.clientWidth || dialog.getBoundingClientRect().right > innerWidth)
  .map(({ id }) => id)"""
UNNAMED_DIALOGS = """() => [...document.querySelectorAll("dialog[open]")]
  .filter((dialog) => !document.getElementById(dialog.getAttribute("aria-labelledby"))?.textContent.trim())
  .map(({ id }) => id)"""
SECTIONS = [
    "Invite contacts",
    "Links",
    "Requests to join",
    "Bans",
    "Name, description",
    "Permissions and settings",
    "Leave",
]
HAPPY = "This is a happy little message, which is as wide as a bubble can be on a phone."
LONG = "The Society for the Advancement of Unreasonablyverylongwordswithoutanyspaces"


async def scene(account: Make) -> tuple[Group, Account, Account]:
    """A group with everything in it: messages, notices, links, a request, a ban; Ada owns it, Bob is muted."""
    bob, grace, dora = await account("Bob Ross"), await account("Grace Hopper"), await account("Dora")
    ada = await account("Ada Lovelace", bob, grace, dora)
    group = await Group.of(ada, bob, grace, name=LONG, about="A book a month.\nNew people are welcome.")
    await group.write(bob, "Every tree needs a friend.", HAPPY)
    await ada.patch(f"{group.path}/members/{grace.id}", role="moderator", title="Librarian")
    await group.write(grace, "Found the bug. It was a moth. I have taped it into the logbook.")
    await group.write(ada, "Then the next book is about moths.")
    await group.change(settings={"slow_mode": 30})
    await group.link(name="Poster at the door", max_uses=10)
    token = await group.link(approval=True)
    await (await account("Marie Curie")).post(f"/links/{token}/join", message="We met at the academy. Shall we?")
    await ada.put(f"{group.path}/bans/{(await account('Mallory')).id}", reason="Advertising")
    await ada.patch(f"{group.path}/members/{bob.id}", muted_until="2100-01-01T00:00:00Z")
    return group, ada, bob


async def is_sound_in_dialogs(page: Page) -> None:
    await is_sound(page)
    assert await page.evaluate(WIDE_DIALOGS) == []
    assert await page.evaluate(UNNAMED_DIALOGS) == []
    assert await page.evaluate(STRAY_ITEMS) == 0


async def look_through(tab: Tab, group: Group, folder: Path, name: str) -> None:
    """Open everything about the group, and check and photograph it."""
    await tab.row(group.name).click()
    await expect(tab.bodies).to_have_count(4)
    await expect(tab.page.locator("#about .badge")).to_have_text("1")
    await is_sound(tab.page)
    await in_both_themes(tab.page, folder, f"{name}-group-chat")
    page = await GroupPage.of(tab)
    await expect(page.members).to_have_count(3)
    await is_sound_in_dialogs(tab.page)
    await in_both_themes(tab.page, folder, f"{name}-group")
    await page.open_member("Bob Ross")
    await is_sound_in_dialogs(tab.page)
    await in_both_themes(tab.page, folder, f"{name}-member")
    await page.member.get_by_role("button", name="Close").click()
    await page.unfold("Members")
    for number, section in enumerate(SECTIONS):
        await page.unfold(section)
        await tab.page.wait_for_load_state("networkidle")
        await is_sound_in_dialogs(tab.page)
        await in_both_themes(tab.page, folder, f"{name}-group-{number}")
        await page.unfold(section)


class TestPhone:
    async def test_everything_fits_into_360_pixels(self, sit: Sit, account: Make, artifacts: Path) -> None:
        group, ada, bob = await scene(account)
        tab = await sit(ada, **PHONE)
        await look_through(tab, group, artifacts, "phone")
        await tab.button("Close").click()
        await tab.message(HAPPY).get_by_role("button", name="Message actions").click()
        await expect(tab.page.locator(".menu:visible")).to_be_in_viewport(ratio=1)
        await tab.page.keyboard.press("Escape")
        await tab.act("Then the next book is about moths.", "Who has read it")
        await expect(tab.page.locator("#readers li")).to_have_count(2)
        await is_sound_in_dialogs(tab.page)
        await in_both_themes(tab.page, artifacts, "phone-readers")
        muted = await sit(bob, **PHONE)
        await muted.row(group.name).click()
        await expect(muted.bodies).to_have_count(4)
        await expect(muted.page.locator("#hold-text")).to_contain_text("muted you")
        await is_sound(muted.page)
        await in_both_themes(muted.page, artifacts, "phone-muted")

    async def test_list_and_small_dialogs_fit_into_360_pixels(self, sit: Sit, account: Make, artifacts: Path) -> None:
        bob = await account("Bob Ross")
        ada = await account("Ada Lovelace", bob)
        await ada.post("/groups", name=LONG, invite=[bob.id])
        group = await Group.of(ada, about="A book a month")
        tab = await sit(bob, **PHONE)
        await expect(tab.page.locator("#invitations li")).to_have_count(1)
        await is_sound(tab.page)
        await in_both_themes(tab.page, artifacts, "phone-invitation")
        await tab.button("New group").click()
        await is_sound_in_dialogs(tab.page)
        await in_both_themes(tab.page, artifacts, "phone-create")
        await tab.page.keyboard.press("Escape")
        await tab.button("Join a group").click()
        await tab.page.get_by_label("Link", exact=True).fill(await group.link(approval=True))
        await tab.button("Show the group").click()
        await expect(tab.button("Ask to join")).to_be_focused()
        await is_sound_in_dialogs(tab.page)
        await in_both_themes(tab.page, artifacts, "phone-join")


class TestDesktop:
    async def test_group_pages_render_without_layout_faults(self, sit: Sit, account: Make, artifacts: Path) -> None:
        group, ada, _ = await scene(account)
        await look_through(await sit(ada), group, artifacts, "desktop")

    @pytest.mark.parametrize("theme", ["light", "dark"])
    async def test_small_text_has_contrast(self, sit: Sit, account: Make, theme: str) -> None:
        group, ada, bob = await scene(account)
        tab, muted = await sit(ada), await sit(bob)
        for each in (tab, muted):
            await each.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            await each.row(group.name).click()
        texts = [".sender", ".line.event span", "#about .badge", "#group-facts", "#members small", ".chip"]
        await expect(tab.bodies).to_have_count(4)
        await GroupPage.of(tab)
        await expect(tab.page.locator("#members li")).to_have_count(3)
        measured = {text: await contrast(tab.page.locator(text).first) for text in texts}
        await expect(muted.page.locator("#hold")).to_be_visible()
        measured["#hold"] = await contrast(muted.page.locator("#hold"))
        assert {text: ratio for text, ratio in measured.items() if ratio < 4.5} == {}


class TestKeyboard:
    async def test_group_is_created_and_moderated_with_keyboard_only(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        tab = await sit(await account("Ada", bob))
        keys = tab.page.keyboard
        await tab.button("New group").focus()
        await keys.press("Enter")
        await expect(tab.page.locator("#create-form").get_by_label("Name")).to_be_focused()
        await keys.type("Reading group")
        await keys.press("Tab")
        await keys.press("Tab")
        await keys.press("Space")
        await expect(tab.page.locator("#create-form").get_by_label("Bob")).to_be_checked()
        await keys.press("Enter")
        await expect(tab.text).to_be_focused()
        group_id = int(tab.page.url.rpartition("#")[2])
        await bob.post(f"/groups/{group_id}/join")
        await expect(notices(tab).last).to_have_text("Bob joined")
        await tab.page.locator("#about").focus()
        await keys.press("Enter")
        page = GroupPage(tab)
        await expect(page.dialog.get_by_role("heading", name="Reading group")).to_be_focused()
        await expect(page.members).to_have_count(2)
        member = page.dialog.locator("#members button", has_text="Bob")
        for _ in range(6):
            await keys.press("Tab")
            if await member.evaluate("(button) => button === document.activeElement"):
                break
        await keys.press("Enter")
        await expect(page.member.get_by_role("heading", name="Bob")).to_be_focused()
        await page.member.get_by_role("button", name="Remove…").focus()
        await keys.press("Enter")
        await expect(tab.page.get_by_role("alertdialog")).to_be_visible()
        await keys.press("Tab")
        await keys.press("Enter")
        await expect(page.members).to_have_text(["Ada (you)"])
        # The focus of the row that is gone is at its neighbour.
        await expect(page.dialog.locator("#members button", has_text="Ada")).to_be_focused()
        await keys.press("Escape")
        await expect(tab.page.locator("#about")).to_be_focused()

    async def test_invitation_and_message_menu_work_with_keyboard_only(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        await ada.post("/groups", name="Reading group", invite=[bob.id])
        tab = await sit(bob)
        await tab.page.locator("#invitations").get_by_role("button", name="Accept").focus()
        await tab.page.keyboard.press("Enter")
        await expect(tab.text).to_be_focused()
        await tab.say("Hello")
        await expect(tab.mark("Hello")).to_have_attribute("data-mark", "sent")
        opener = tab.message("Hello").get_by_role("button", name="Message actions")
        await opener.focus()
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.get_by_role("menuitem")).to_have_text(["Edit", "Who has read it", "Delete"])
        await tab.page.keyboard.press("ArrowUp")
        await expect(tab.page.get_by_role("menuitem", name="Delete")).to_be_focused()
        await tab.page.keyboard.press("ArrowUp")
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.locator("#readers-dialog")).to_be_visible()
        await tab.page.keyboard.press("Escape")
        await expect(opener).to_be_focused()
