"""Groups: made by a test beside the browser, and the page of a group in it."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Locator, expect

from tests.browser._tab import Account, Tab


class Group:
    """A group that an account has created."""

    def __init__(self, owner: Account, view: dict[str, Any]) -> None:
        self.owner = owner
        self.id: int = view["id"]
        self.name: str = view["name"]
        self.path = f"/groups/{self.id}"

    @classmethod
    async def of(cls, owner: Account, *members: Account, name: str = "Reading group", **draft: Any) -> Group:
        """Create a group; the given contacts of the owner become members."""
        created = await owner.post("/groups", name=name, invite=[member.id for member in members], **draft)
        group = cls(owner, created["group"])
        for member in members:
            await member.post(f"{group.path}/join")
        return group

    async def write(self, sender: Account, *bodies: str) -> None:
        """Send messages, one after the other."""
        for number, body in enumerate(bodies):
            client_id = f"{sender.id}-{number}-{body[:40].encode().hex()}"[:64]
            await sender.post("/messages", target_id=self.id, client_id=client_id, body=body)

    async def link(self, **draft: Any) -> str:
        """The token of a new link."""
        return str((await self.owner.post(f"{self.path}/links", **draft))["token"])

    async def change(self, **fields: Any) -> None:
        await self.owner.patch(self.path, **fields)


class GroupPage:
    """The dialog about the open group."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.dialog = tab.page.locator("#group")
        self.member = tab.page.locator("#member")

    @classmethod
    async def of(cls, tab: Tab, section: str = "") -> GroupPage:
        """Open it from the chat, with a section unfolded."""
        page = cls(tab)
        await tab.page.locator("#about").click()
        await expect(page.dialog).to_be_visible()
        if section:
            await page.unfold(section)
        return page

    async def unfold(self, section: str) -> None:
        await self.dialog.locator("summary", has_text=section).click()

    @property
    def members(self) -> Locator:
        """The names of the listed members, in order."""
        return self.dialog.locator("#members strong")

    async def open_member(self, name: str) -> Locator:
        await self.dialog.locator("#members button", has_text=name).click()
        await expect(self.member).to_be_visible()
        return self.member

    async def confirm(self, action: str) -> None:
        await self.tab.page.get_by_role("alertdialog").get_by_role("button", name=action, exact=True).click()


def notices(tab: Tab) -> Locator:
    """The notices in the open chat, in order."""
    return tab.page.locator(".line.event")


def toast(tab: Tab) -> Locator:
    return tab.page.locator(".toast")
