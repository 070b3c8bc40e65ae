"""Members of groups in the demo: the list, ranks, mutes, removal, bans, leaving, handing over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from playwright.async_api import expect

from messenger.testing.factories import PASSWORD
from tests.browser._groups import Group, GroupPage, notices, toast
from tests.browser._line import Line
from tests.browser._tab import Account
from tests.browser.conftest import Sit

Make = Callable[..., Awaitable[Account]]


async def of_three(account: Make) -> tuple[Group, Account, Account, Account]:
    """A group of Ada, who owns it, Bob and Carol."""
    bob, carol = await account("Bob"), await account("Carol")
    ada = await account("Ada", bob, carol)
    return await Group.of(ada, bob, carol), ada, bob, carol


def in_order(*members: Account) -> list[str]:
    """The names of members of one rank, as the list has them."""
    return [member.name for member in sorted(members, key=lambda member: member.id)]


class TestMemberList:
    async def test_members_are_listed_by_rank_in_pages_and_searched(self, sit: Sit, account: Make) -> None:
        ada = await account("Ada")
        token = await (group := await Group.of(ada)).link()
        others = [await account(f"Member{number:02}") for number in range(25)]
        for other in others:
            await other.post(f"/links/{token}/join")
        await ada.patch(f"{group.path}/members/{others[-1].id}", role="moderator")
        hers = await sit(ada)
        await hers.chat_with(group.name)
        # The names of all members are known by now, but the list shows a page.
        await expect(notices(hers).last).to_have_text("You made Member24 a moderator")
        page = await GroupPage.of(hers)
        await expect(page.members).to_have_count(20)
        await expect(page.members.nth(0)).to_have_text("Ada (you)")
        await expect(page.members.nth(1)).to_have_text("Member24")
        await expect(page.dialog.locator("#members .chip").nth(1)).to_have_text("Moderator")
        await hers.button("Show more members").click()
        await expect(page.members).to_have_count(26)
        await expect(hers.button("Show more members")).to_be_hidden()
        await page.dialog.get_by_label("Search members").fill("member07")
        await expect(page.members).to_have_text(["Member07"])
        await page.dialog.get_by_label("Search members").fill("nobody")
        await expect(page.dialog.locator("#no-members")).to_be_visible()

    async def test_list_follows_events(self, sit: Sit, account: Make) -> None:
        group, ada, bob, carol = await of_three(account)
        dora = await account("Dora")
        hers = await sit(ada)
        await hers.chat_with(group.name)
        page = await GroupPage.of(hers)
        await expect(page.members).to_have_text(["Ada (you)", *in_order(bob, carol)])
        await dora.post(f"/links/{await group.link()}/join")
        await expect(page.members).to_have_text(["Ada (you)", *in_order(bob, carol, dora)])
        await ada.patch(f"{group.path}/members/{carol.id}", role="admin", title="Librarian")
        await expect(page.members).to_have_text(["Ada (you)", "Carol", *in_order(bob, dora)])
        await expect(page.dialog.locator("#members small").nth(1)).to_have_text(f"@{carol.username} · Librarian")
        await bob.post(f"{group.path}/leave")
        await expect(page.members).to_have_text(["Ada (you)", "Carol", "Dora"])
        await expect(page.dialog.locator("#group-facts")).to_have_text("3 members · You: Owner")

    async def test_list_is_loaded_again_after_resync(self, sit: Sit, account: Make) -> None:
        group, ada, bob, carol = await of_three(account)
        hers = await sit(blank=True)
        line = await Line.under(hers)
        await hers.open(ada)
        await hers.chat_with(group.name)
        page = await GroupPage.of(hers)
        await expect(page.members).to_have_text(["Ada (you)", *in_order(bob, carol)])
        line.to_page = lambda frame: frame["type"] != "event"
        await bob.post(f"{group.path}/leave")
        line.say({"type": "resync", "cursor": "e99"})
        await expect(page.members).to_have_text(["Ada (you)", "Carol"])
        await expect(notices(hers).last).to_have_text("Bob left")

    async def test_group_left_while_events_were_missed_closes(self, sit: Sit, account: Make) -> None:
        group, _, bob, _ = await of_three(account)
        his = await sit(blank=True)
        line = await Line.under(his)
        await his.open(bob)
        await his.chat_with(group.name)
        await GroupPage.of(his)
        line.to_page = lambda frame: frame["type"] != "event"
        await bob.post(f"{group.path}/leave")
        line.say({"type": "resync", "cursor": "e99"})
        await expect(toast(his)).to_have_text("You are no member of “Reading group” any more.")
        await expect(his.page.locator("#open-chat")).to_be_hidden()
        await expect(his.page.locator("dialog[open]")).to_have_count(0)

    async def test_sections_follow_rank_and_permissions(self, sit: Sit, account: Make) -> None:
        group, ada, bob, _ = await of_three(account)
        his = await sit(bob)
        await his.chat_with(group.name)
        page = await GroupPage.of(his)
        sections = page.dialog.locator("summary:visible")
        await expect(sections).to_have_text(["Members", "Invite contacts", "Leave"])
        await group.change(permissions={"invite": "admin"}, settings={"members_visible": "moderators"})
        await expect(sections).to_have_text(["Leave"])
        await ada.patch(f"{group.path}/members/{bob.id}", role="admin")
        await expect(sections).to_have_text(
            [
                *("Members", "Invite contacts", "Links", "Requests to join", "Bans"),
                *("Name, description and picture", "Permissions and settings", "Leave"),
            ]
        )

    async def test_owner_changes_name_and_slow_mode(self, sit: Sit, account: Make) -> None:
        group, ada, bob, _ = await of_three(account)
        hers, his = await sit(ada), await sit(bob)
        await hers.chat_with(group.name)
        await his.chat_with(group.name)
        page = await GroupPage.of(hers, "Name, description")
        form = page.dialog.locator("#group-profile-form")
        await form.get_by_label("Name").fill("Readers")
        await form.get_by_role("button", name="Save").click()
        await expect(his.page.locator("#peer strong")).to_have_text("Readers")
        await page.unfold("Permissions and settings")
        await page.dialog.get_by_label("Slow mode").select_option("1 minute")
        await page.dialog.locator("#rules-form").get_by_role("button", name="Save").click()
        await expect(notices(his).last).to_have_text("Ada set the slow mode to 60 seconds")
        await his.say("One")
        await expect(his.page.locator("#hold-text")).to_have_text("Slow mode: 60 seconds between two messages.")
        await his.text.fill("Two")
        await expect(his.page.locator("#send")).to_be_disabled()
        await his.text.press("Enter")
        await expect(his.bodies).to_have_text(["One"])
        await expect(his.text).to_have_value("Two")
        await group.change(settings={"slow_mode": 0}, permissions={"post": "moderator"})
        await expect(his.page.locator("#hold-text")).to_have_text("Only moderators and above can write here.")
        await expect(his.text).to_be_hidden()


class TestModeration:
    async def test_rank_and_title_are_given(self, sit: Sit, account: Make) -> None:
        group, ada, bob, _ = await of_three(account)
        hers, his = await sit(ada), await sit(bob)
        await hers.chat_with(group.name)
        await his.chat_with(group.name)
        page = await GroupPage.of(hers)
        dialog = await page.open_member("Bob")
        await dialog.get_by_label("Rank").select_option("Moderator")
        await dialog.get_by_label("Title").fill("Librarian")
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog.locator("#member-facts")).to_have_text(f"@{bob.username} · Moderator · Librarian")
        await expect(notices(his).last).to_have_text("Ada made you a moderator")
        await GroupPage.of(his)
        await expect(his.page.locator("#group-facts")).to_have_text("3 members · You: Moderator · Librarian")

    async def test_muted_member_reads_but_cannot_write(self, sit: Sit, account: Make) -> None:
        group, ada, bob, _ = await of_three(account)
        hers, his = await sit(ada), await sit(bob)
        await hers.chat_with(group.name)
        await his.chat_with(group.name)
        dialog = await (await GroupPage.of(hers)).open_member("Bob")
        await hers.button("Mute").click()
        await expect(his.page.locator("#hold-text")).to_contain_text("A moderator has muted you until")
        await expect(his.text).to_be_hidden()
        await expect(notices(his).last).to_contain_text("Ada muted you until")
        await dialog.get_by_role("button", name="Unmute").click()
        await expect(his.page.locator("#hold")).to_be_hidden()
        await his.say("Thank you")
        await expect(hers.bodies).to_have_text(["Thank you"])

    async def test_removal_closes_open_group_and_deletes_messages(self, sit: Sit, account: Make) -> None:
        group, ada, bob, _ = await of_three(account)
        await group.write(bob, "Buy this", "Buy that")
        hers, his = await sit(ada), await sit(bob)
        await hers.chat_with(group.name)
        await his.chat_with(group.name)
        await GroupPage.of(his)
        page = await GroupPage.of(hers)
        dialog = await page.open_member("Bob")
        await dialog.get_by_label("Their messages").select_option("Delete all of them")
        await dialog.get_by_role("button", name="Remove…").click()
        await page.confirm("Remove")
        await expect(toast(his)).to_have_text("You were removed from “Reading group”.")
        await expect(his.page.locator("#open-chat")).to_be_hidden()
        await expect(his.page.locator("dialog[open]")).to_have_count(0)
        await expect(his.row("Reading group")).to_have_count(0)
        await expect(page.member).to_be_hidden()
        await expect(page.members).to_have_text(["Ada (you)", "Carol"])
        await expect(hers.bodies).to_have_text(["Message deleted by a moderator"] * 2)
        await expect(notices(hers).last).to_have_text("You removed Bob")

    async def test_ban_is_listed_and_ended(self, sit: Sit, account: Make) -> None:
        group, ada, bob, _ = await of_three(account)
        hers, his = await sit(ada), await sit(bob)
        await hers.chat_with(group.name)
        page = await GroupPage.of(hers, "Bans")
        dialog = await page.open_member("Bob")
        await dialog.get_by_label("Afterwards").select_option("Banned forever")
        await dialog.get_by_label("Reason of a ban").fill("Advertising")
        await dialog.get_by_role("button", name="Remove…").click()
        await page.confirm("Remove and ban")
        await expect(toast(his)).to_have_text("You were banned from “Reading group”.")
        banned = page.dialog.locator("#bans li")
        await expect(banned.locator("small")).to_have_text("Forever · Advertising")
        await hers.button("Unban Bob").click()
        await expect(banned).to_have_count(0)
        await page.dialog.locator("#ban-form").get_by_label("Username or number").fill(bob.username)
        await page.dialog.locator("#ban-form").get_by_role("button", name="Ban").click()
        await expect(banned.locator("strong")).to_have_text("Bob")

    async def test_moderator_deletes_message_of_lower_rank_only(self, sit: Sit, account: Make) -> None:
        group, ada, bob, carol = await of_three(account)
        await ada.patch(f"{group.path}/members/{bob.id}", role="moderator")
        await group.write(carol, "From Carol")
        await group.write(ada, "From Ada")
        his = await sit(bob)
        await his.chat_with(group.name)
        await his.act("From Carol", "Delete")
        await his.page.get_by_role("alertdialog").get_by_role("button", name="Delete").click()
        await expect(his.bodies).to_have_text(["Message deleted by a moderator", "From Ada"])
        await expect(his.message("From Ada").get_by_role("button", name="Message actions")).to_have_count(0)

    async def test_slow_mode_of_other_device_holds_composer(self, sit: Sit, account: Make) -> None:
        group, _, bob, _ = await of_three(account)
        await group.change(settings={"slow_mode": 3600})
        his = await sit(bob)
        await his.chat_with(group.name)
        await group.write(bob, "From a phone")
        await expect(his.bodies).to_have_text(["From a phone"])
        await expect(his.page.locator("#hold-wait")).to_contain_text("You can write again in")
        await his.page.reload()
        await expect(his.page.locator("#hold-wait")).to_contain_text("You can write again in")


class TestLeaving:
    async def test_member_leaves_group_after_confirmation(self, sit: Sit, account: Make) -> None:
        group, ada, bob, _ = await of_three(account)
        hers, his = await sit(ada), await sit(bob)
        await hers.chat_with(group.name)
        await his.chat_with(group.name)
        page = await GroupPage.of(his, "Leave")
        await his.button("Leave the group").click()
        await page.confirm("Leave")
        await expect(toast(his)).to_have_text("You left “Reading group”.")
        await expect(his.page.locator("#open-chat")).to_be_hidden()
        await expect(notices(hers).last).to_have_text("Bob left")

    async def test_owner_leaves_to_chosen_successor(self, sit: Sit, account: Make) -> None:
        group, ada, _, carol = await of_three(account)
        hers, theirs = await sit(ada), await sit(carol)
        await hers.chat_with(group.name)
        await theirs.chat_with(group.name)
        page = await GroupPage.of(hers, "Leave")
        await page.dialog.get_by_label("The next owner").select_option("Carol")
        await hers.button("Leave the group").click()
        await page.confirm("Leave")
        await expect(hers.row(group.name)).to_have_count(0)
        await expect(notices(theirs).filter(has_text="owner")).to_have_text(["You are the owner now"])

    async def test_group_is_handed_over_and_deleted_with_password(self, sit: Sit, account: Make) -> None:
        group, ada, bob, _ = await of_three(account)
        hers, his = await sit(ada), await sit(bob)
        hers.announce("/transfer")
        await hers.chat_with(group.name)
        await his.chat_with(group.name)
        page = await GroupPage.of(hers, "Leave")
        form = page.dialog.locator("#transfer-form")
        await form.get_by_label("New owner").select_option("Bob")
        await form.get_by_label("Your password").fill("not my password at all")
        await hers.button("Hand over").click()
        await expect(form.locator(".field-error:not(:empty)")).to_have_text(["The password is wrong."])
        await form.get_by_label("Your password").fill(PASSWORD)
        await hers.button("Hand over").click()
        await expect(page.dialog.locator("#group-facts")).to_have_text("3 members · You: Admin")
        his_page = await GroupPage.of(his, "Leave")
        await his_page.dialog.locator("#delete-form").get_by_label("Your password").fill(PASSWORD)
        await his.button("Delete the group").click()
        await his_page.confirm("Delete")
        for tab in (hers, his):
            await expect(toast(tab)).to_have_text("“Reading group” was deleted.")
            await expect(tab.page.locator("#open-chat")).to_be_hidden()
