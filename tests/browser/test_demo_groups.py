"""Groups in the demo: creating them, invitations, links, messages and notices."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from playwright.async_api import expect

from messenger.testing.factories import PASSWORD
from tests.browser._groups import Group, GroupPage, notices, toast
from tests.browser._tab import Account
from tests.browser.conftest import Sit

Make = Callable[..., Awaitable[Account]]


class TestCreatingGroups:
    async def test_created_group_is_joined_by_invitation_and_shows_notices(self, sit: Sit, account: Make) -> None:
        bob, carol = await account("Bob"), await account("Carol")
        hers, his = await sit(await account("Ada", bob, carol)), await sit(bob)
        await hers.button("New group").click()
        form = hers.page.locator("#create-form")
        await form.get_by_label("Name").fill("Reading group")
        await form.get_by_label("About").fill("A book a month")
        await form.get_by_label("Bob").check()
        await hers.button("Create group").click()
        await expect(hers.page.locator("#peer strong")).to_have_text("Reading group")
        await expect(notices(hers)).to_have_text(["You created the group"])
        invitation = his.page.locator("#invitations li")
        await expect(invitation).to_contain_text("Ada invites you to this group of 1 member.")
        await invitation.get_by_role("button", name="Accept").click()
        await expect(his.page.locator("#invitations-section")).to_be_hidden()
        await expect(his.page.locator("#peer strong")).to_have_text("Reading group")
        await expect(notices(his)).to_have_text(["You joined"])
        await expect(notices(hers)).to_have_text(["You created the group", "Bob joined"])
        await expect(hers.head).to_have_text("2 members")

    async def test_declined_invitation_disappears(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        await ada.post("/groups", name="Reading group", invite=[bob.id])
        his = await sit(bob)
        await his.page.locator("#invitations").get_by_role("button", name="Decline").click()
        await expect(his.page.locator("#invitations-section")).to_be_hidden()
        await expect(his.row("Reading group")).to_have_count(0)
        assert (await bob.get("/invitations"))["items"] == []

    async def test_withdrawn_invitation_disappears(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        group = Group(ada, (await ada.post("/groups", name="Reading group", invite=[bob.id]))["group"])
        his = await sit(bob)
        await expect(his.page.locator("#invitations li")).to_have_count(1)
        await ada.delete(f"{group.path}/invitations/{bob.id}")
        await expect(his.page.locator("#invitations-section")).to_be_hidden()

    async def test_contacts_are_invited_from_group_page_with_outcomes(self, sit: Sit, account: Make) -> None:
        bob, carol = await account("Bob"), await account("Carol")
        ada = await account("Ada", bob, carol)
        group = await Group.of(ada, bob)
        hers, theirs = await sit(ada), await sit(carol)
        await hers.chat_with(group.name)
        page = await GroupPage.of(hers, "Invite contacts")
        await expect(hers.page.locator("#invitees strong")).to_have_text(["Carol"])
        await hers.button("Invite").click()
        await expect(hers.page.locator("#invite-outcome")).to_have_text("Choose somebody first.")
        await page.dialog.get_by_label("Carol").check()
        await page.dialog.locator("#invite-form").get_by_label("A word with it").fill("Next month: Middlemarch")
        await hers.button("Invite").click()
        await expect(hers.page.locator("#invite-outcome")).to_have_text("Carol: invited")
        await expect(theirs.page.locator("#invitations small")).to_contain_text("“Next month: Middlemarch”")


class TestGroupChat:
    async def test_messages_show_senders_between_notices(self, sit: Sit, account: Make) -> None:
        bob, carol = await account("Bob"), await account("Carol")
        ada = await account("Ada", bob, carol)
        group = await Group.of(ada, bob, carol, settings={"history": "all"})
        await group.write(bob, "Chapter one is long", "Chapter two is longer")
        await group.change(name="Readers")
        await group.write(carol, "I liked it")
        hers, his = await sit(ada), await sit(bob)
        await expect(hers.row("Readers").locator("small")).to_have_text("Carol: I liked it")
        await expect(hers.badge("Readers")).to_have_text("3")
        await hers.chat_with("Readers")
        await his.chat_with("Readers")
        await expect(hers.page.locator(".sender:visible")).to_have_text(["Bob", "Carol"])
        shown = [
            "Chapter one is long",
            "Chapter two is longer",
            "You changed the name to “Readers”",
            "I liked it",
        ]
        await expect(hers.page.locator(".message .body, .line.event").filter(has_not_text="joined")).to_have_text(
            ["You created the group", *shown]
        )
        await hers.say("So did I")
        await expect(his.message("So did I").locator(".sender")).to_have_text("Ada")
        await expect(hers.mark("So did I")).to_have_attribute("data-mark", "sent")

    async def test_notices_follow_setting_of_group(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        group = await Group.of(ada, bob)
        hers = await sit(ada)
        await hers.chat_with(group.name)
        await expect(notices(hers)).to_have_text(["You created the group", "Bob joined"])
        await group.change(settings={"notices": "important"})
        await expect(notices(hers)).to_have_text(["You created the group", "You changed the settings"])
        await group.change(settings={"notices": "none"})
        await expect(notices(hers)).to_have_count(0)

    async def test_typing_user_is_named_while_group_is_open(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        group = await Group.of(ada, bob)
        hers, his = await sit(ada), await sit(bob)
        await hers.chat_with(group.name)
        await his.chat_with(group.name)
        await his.text.press_sequentially("Well")
        await expect(hers.head).to_have_text("Bob is typing…")
        await his.text.fill("")
        await expect(hers.head).to_have_text("2 members")

    async def test_readers_of_own_message_are_listed(self, sit: Sit, account: Make) -> None:
        bob, carol = await account("Bob"), await account("Carol")
        ada = await account("Ada", bob, carol)
        group = await Group.of(ada, bob, carol)
        hers = await sit(ada)
        await hers.chat_with(group.name)
        await hers.say("Have you read it?")
        await expect(hers.mark("Have you read it?")).to_have_attribute("data-mark", "sent")
        await bob.post("/receipts", target_id=group.id, read_seq=1)
        await hers.act("Have you read it?", "Who has read it")
        dialog = hers.page.locator("#readers-dialog")
        await expect(dialog.locator("#readers-text")).to_have_text("Read by 1 of 2, delivered to 1.")
        await expect(dialog.locator("li", has_text="Bob").locator("small")).to_have_text("Has read it")
        await expect(dialog.locator("li", has_text="Carol").locator("small")).to_have_text("Has not received it yet")

    async def test_erased_sender_is_a_deleted_account(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        group = await Group.of(ada, bob)
        await group.write(bob, "Farewell")
        hers = await sit(ada)
        await hers.chat_with(group.name)
        await expect(hers.message("Farewell").locator(".sender")).to_have_text("Bob")
        await bob.delete("/account", password=PASSWORD)
        await expect(notices(hers).filter(has_text="left")).to_have_text(["Deleted account left"])
        await expect(hers.message("Farewell").locator(".sender")).to_have_text("Deleted account")
        hers.announce(f"/users/{bob.id}")
        await hers.page.reload()
        await expect(hers.message("Farewell").locator(".sender")).to_have_text("Deleted account")


class TestLinks:
    async def test_link_with_approval_is_made_copied_and_asked_by(self, sit: Sit, account: Make) -> None:
        ada, bob = await account("Ada"), await account("Bob")
        group = await Group.of(ada, about="A book a month")
        hers, his = await sit(ada), await sit(bob)
        await hers.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await hers.chat_with(group.name)
        page = await GroupPage.of(hers, "Links")
        form = page.dialog.locator("#new-link-form")
        await form.get_by_label("Name").fill("Poster")
        await form.get_by_label("Needs approval").check()
        await hers.button("Make a link").click()
        await expect(page.dialog.locator("#links small")).to_contain_text("0 uses · until")
        await hers.button("Copy: Poster").click()
        await expect(toast(hers)).to_have_text("Copied")
        await form.get_by_label("Name").press("Control+V")
        address = await form.get_by_label("Name").input_value()
        assert address == await page.dialog.get_by_label("Address of Poster").input_value()
        await his.button("Join a group").click()
        dialog = his.page.locator("#join-dialog")
        await dialog.get_by_label("Link").fill(address)
        await his.button("Show the group").click()
        await expect(dialog.locator("#preview-name")).to_have_text("Reading group")
        await expect(dialog.locator("#preview-about")).to_have_text("A book a month")
        await dialog.get_by_label("A word to the moderators").fill("It's Bob")
        await his.button("Ask to join").click()
        await expect(dialog.locator("#preview-state")).to_contain_text("You have asked to join.")
        await his.page.keyboard.press("Escape")
        await expect(page.dialog.locator("#requests-count")).to_have_text("1")
        await page.unfold("Requests to join")
        await expect(page.dialog.locator("#join-requests small")).to_have_text("It's Bob")
        await hers.button("Accept Bob").click()
        await expect(page.dialog.locator("#no-join-requests")).to_be_visible()
        await his.chat_with("Reading group")
        await expect(notices(his)).to_have_text(["You joined by a link"])

    async def test_request_is_declined_or_taken_back(self, sit: Sit, account: Make) -> None:
        ada, bob, carol = await account("Ada"), await account("Bob"), await account("Carol")
        group = await Group.of(ada)
        token = await group.link(approval=True)
        hers, his = await sit(ada), await sit(bob)
        await carol.post(f"/links/{token}/join", message="Me, too")
        await hers.chat_with(group.name)
        about = hers.page.locator("#about")
        await expect(about).to_have_accessible_name("About the group, 1 request to join")
        await his.page.goto(f"/demo#join/{token}")
        await his.button("Ask to join").click()
        await expect(about.locator(".badge")).to_have_text("2")
        await his.button("Take the request back").click()
        await expect(about.locator(".badge")).to_have_text("1")
        await GroupPage.of(hers, "Requests to join")
        await hers.button("Decline Carol").click()
        await expect(about).to_have_attribute("aria-label", "About the group")

    async def test_new_moderator_sees_earlier_requests(self, sit: Sit, account: Make) -> None:
        bob, carol = await account("Bob"), await account("Carol")
        ada = await account("Ada", bob)
        group = await Group.of(ada, bob)
        await carol.post(f"/links/{await group.link(approval=True)}/join")
        his = await sit(bob)
        await his.chat_with(group.name)
        await expect(his.page.locator("#about .badge")).to_have_text("")
        await ada.patch(f"{group.path}/members/{bob.id}", role="moderator")
        await expect(his.page.locator("#about .badge")).to_have_text("1")

    async def test_invalid_number_of_uses_is_refused_at_field(self, sit: Sit, account: Make) -> None:
        ada = await account("Ada")
        group = await Group.of(ada)
        hers = await sit(ada)
        hers.announce(f"{group.path}/links")
        await hers.chat_with(group.name)
        form = (await GroupPage.of(hers, "Links")).dialog.locator("#new-link-form")
        await form.get_by_label("Uses").fill("many")
        await hers.button("Make a link").click()
        await expect(form.get_by_label("Uses")).to_have_attribute("aria-invalid", "true")
        await form.get_by_label("Uses").fill("2")
        await hers.button("Make a link").click()
        await expect(hers.page.locator("#links small")).to_contain_text("0 of 2 uses")

    async def test_opened_link_joins_at_once_after_preview(self, sit: Sit, account: Make) -> None:
        ada, bob = await account("Ada"), await account("Bob")
        token = await (group := await Group.of(ada)).link(max_uses=1)
        his = await sit(bob)
        his.announce("/links/")
        await his.page.evaluate(f"location.hash = 'join/{token}'")
        await his.button("Join").click()
        await expect(his.page.locator("#peer strong")).to_have_text(group.name)
        await expect(his.page).to_have_url(re.compile(rf"/demo#{group.id}$"))
        await his.button("Join a group").click()
        dialog = his.page.locator("#join-dialog")
        await dialog.get_by_label("Link").fill("nothing")
        await his.button("Show the group").click()
        await expect(dialog.locator(".field-error:not(:empty)")).to_have_text(
            ["This link doesn’t work, or doesn’t work any more."]
        )
        await expect(dialog.locator("#join-form")).to_be_hidden()

    async def test_links_are_revoked_singly_and_all_at_once(self, sit: Sit, account: Make) -> None:
        ada = await account("Ada")
        group = await Group.of(ada)
        for name in ("One", "Two", "Three"):
            await group.link(name=name)
        hers = await sit(ada)
        await hers.chat_with(group.name)
        page = await GroupPage.of(hers, "Links")
        names = page.dialog.locator("#links strong")
        await expect(names).to_have_text(["Three", "Two", "One"])
        await hers.button("Revoke: Two").click()
        await expect(names).to_have_text(["Three", "One"])
        await hers.button("Revoke all links").click()
        await page.confirm("Revoke all")
        await expect(names).to_have_count(0)
        assert (await ada.get(f"{group.path}/links"))["items"] == []
