"""The demo as two people use it: two browsers, one server."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
from playwright.async_api import expect

from messenger.testing.factories import PASSWORD
from tests.browser._tab import Account
from tests.browser.conftest import Sit
from tests.support.images import encoded, plain

Make = Callable[..., Awaitable[Account]]


class TestSigningIn:
    async def test_registration_errors_appear_at_fields(self, sit: Sit, account: Make) -> None:
        taken = await account("Ada")
        tab = await sit()
        tab.announce("/register")
        errors = tab.page.locator("#register .field-error:not(:empty)")
        await tab.page.get_by_role("tab", name="Create account").click()
        await expect(tab.page.locator("#register .hint")).to_contain_text("At least 15 characters")
        await tab.register("Ada", "12", PASSWORD)
        await expect(errors).to_have_text(["Some of these characters can’t be used here."])
        await expect(tab.page.locator("#register").get_by_label("Username")).to_have_attribute("aria-invalid", "true")
        await tab.register("Ada", "ada.lovelace", "short")
        await expect(errors).to_have_text(["This is too short: at least 15 characters."])
        await tab.register("Ada", taken.username, PASSWORD)
        await expect(errors).to_have_text(["This username is taken. Choose another one."])

    async def test_wrong_password_error_names_no_field(self, sit: Sit) -> None:
        tab = await sit()
        tab.announce("/login")
        await tab.sign_in("nobody.at.all", PASSWORD)
        await expect(tab.page.locator("#sign-in .form-error")).to_have_text("The username or the password is wrong.")

    async def test_contact_request_appears_live_for_both_users(self, sit: Sit) -> None:
        ada, bob, mark = await sit(), await sit(), secrets.token_hex(4)
        await ada.register("Ada Lovelace", f"ada{mark}", PASSWORD)
        await bob.register("Bob Ross", f"bob{mark}", PASSWORD)
        await ada.is_live()
        await bob.is_live()
        bob.announce("/users")
        await bob.button("Add a contact").click()
        form = bob.page.locator("#add-form")
        await form.get_by_label("Username or number").fill("nobody.at.all")
        await bob.button("Send request").click()
        await expect(form.locator(".field-error:not(:empty)")).to_have_text(
            ["There is nobody with this username or number."]
        )
        await form.get_by_label("Username or number").fill(f"ada{mark}")
        await form.get_by_label("A word with it").fill("It's Bob")
        await bob.button("Send request").click()
        await expect(bob.page.locator(".toast")).to_have_text("Request sent to Ada Lovelace")
        await expect(ada.page.locator("#requests small")).to_have_text("It's Bob")
        await expect(bob.page.locator("#requests small")).to_have_text("Waiting for an answer")
        await ada.button("Accept").click()
        await expect(bob.row("Ada Lovelace")).to_be_visible()
        await expect(ada.row("Bob Ross")).to_be_visible()
        await expect(bob.page.locator("#requests-section")).to_be_hidden()
        for tab, other in ((ada, "Bob Ross"), (bob, "Ada Lovelace")):
            await expect(tab.dot(other)).to_have_attribute("data-presence", "online")
        await bob.chat_with("Ada Lovelace")
        await expect(bob.page.locator(".toast")).to_have_count(0)

    async def test_contact_request_by_number_can_be_declined(self, sit: Sit, account: Make) -> None:
        ada, bob = await account("Ada"), await account("Bob")
        hers, his = await sit(ada), await sit(bob)
        await his.button("Add a contact").click()
        await his.page.locator("#add-form").get_by_label("Username or number").fill(str(ada.id))
        await his.button("Send request").click()
        await hers.button("Decline").click()
        await expect(hers.page.locator("#requests-section")).to_be_hidden()
        await expect(his.page.locator("#requests-section")).to_be_hidden()
        await expect(his.page.locator("#nobody")).to_be_visible()

    async def test_signing_out_clears_session_storage(self, sit: Sit, account: Make) -> None:
        tab = await sit(await account("Ada"))
        await tab.open_settings()
        await tab.button("Sign out").click()
        await expect(tab.page.locator("#sign-in")).to_be_visible()
        assert await tab.page.evaluate("sessionStorage.length") == 0


class TestChat:
    async def test_messages_show_sent_delivered_and_read_marks(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        hers = await sit(ada)
        await hers.chat_with("Bob")
        await hers.say("Are you there?")
        await expect(hers.mark("Are you there?")).to_have_attribute("data-mark", "sent")
        his = await sit(bob)
        await expect(his.badge("Ada")).to_have_text("1")
        await expect(his.page).to_have_title("(1) Messenger")
        await expect(hers.mark("Are you there?")).to_have_attribute("data-mark", "delivered")
        await his.chat_with("Ada")
        await expect(his.page.locator(".line.new")).to_have_text("New messages")
        await expect(hers.mark("Are you there?")).to_have_attribute("data-mark", "read")
        await expect(his.page).to_have_title("Messenger")
        await his.say("I am.", "<b>Where else?</b>")
        await expect(hers.bodies).to_have_text(["Are you there?", "I am.", "<b>Where else?</b>"])
        await expect(his.mark("I am.")).to_have_attribute("data-mark", "read")
        await expect(hers.page.locator(".line.day")).to_have_text(["Today"])

    async def test_typing_indicator_appears_and_ends(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        hers, his = await sit(await account("Ada", bob)), await sit(bob)
        await hers.chat_with("Bob")
        await his.chat_with("Ada")
        await his.text.press_sequentially("Well")
        await expect(hers.head).to_have_text("typing…")
        await expect(hers.row("Bob").locator("small")).to_have_text("typing…")
        await his.text.fill("")
        await expect(hers.head).to_have_text("Online")

    async def test_presence_dot_follows_connection(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        hers = await sit(await account("Ada", bob))
        await expect(hers.dot("Bob")).to_have_attribute("data-presence", "offline")
        his = await sit(bob)
        await expect(hers.dot("Bob")).to_have_attribute("data-presence", "online")
        await his.open_settings()
        await his.page.locator("select[name=status]").select_option("busy")
        await his.page.get_by_label("Status text").fill("Painting")
        await his.button("Save").click()
        await expect(hers.dot("Bob")).to_have_attribute("data-presence", "busy")
        await hers.chat_with("Bob")
        await expect(hers.head).to_have_text("Busy · Painting")
        await his.page.context.close()
        await expect(hers.dot("Bob")).to_have_attribute("data-presence", "offline")
        await expect(hers.head).to_have_text("Last seen just now · Painting")

    async def test_edit_and_deletion_appear_live(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        hers, his = await sit(await account("Ada", bob)), await sit(bob)
        await hers.chat_with("Bob")
        await his.chat_with("Ada")
        await hers.say("See you at seven", "Bring the brushes")
        await expect(his.bodies).to_have_text(["See you at seven", "Bring the brushes"])
        await hers.act("See you at seven", "Edit")
        await hers.say("See you at eight")
        await expect(his.bodies).to_have_text(["See you at eight", "Bring the brushes"])
        await expect(his.message("See you at eight").locator(".edited")).to_have_text("edited")
        await hers.act("Bring the brushes", "Delete")
        await hers.page.get_by_role("alertdialog").get_by_role("button", name="Delete").click()
        await expect(his.bodies).to_have_text(["See you at eight", "Message deleted"])
        await expect(hers.bodies).to_have_text(["See you at eight", "Message deleted"])

    async def test_refused_message_shows_reason_and_can_be_discarded(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        await ada.write(bob, "Hello")
        hers = await sit(ada)
        await hers.chat_with("Bob")
        await bob.post("/block", target_id=ada.id)
        await hers.say("Why so silent?")
        rescue = hers.message("Why so silent?").locator(".rescue span")
        await expect(rescue).to_have_text("This person takes messages from contacts only.")
        await hers.button("Discard").click()
        await expect(hers.bodies).to_have_text(["Hello"])

    async def test_messages_are_separated_by_day(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        await (ada := await account("Ada", bob)).write(bob, "Good night")
        his = await sit(blank=True)
        await his.page.clock.set_system_time(datetime.now(UTC) + timedelta(days=1))
        await his.open(bob)
        await his.chat_with(ada.name)
        await expect(his.page.locator(".line.day")).to_have_text(["Yesterday"])

    async def test_scrolling_up_loads_older_messages(self, sit: Sit, account: Make) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        await ada.write(bob, *(f"Number {n}" for n in range(1, 71)))
        his = await sit(bob)
        await his.chat_with("Ada")
        await expect(his.bodies).to_have_count(50)
        await expect(his.message("Number 70")).to_be_in_viewport()
        await his.page.locator("#scroller").evaluate("scroller => scroller.scrollTo(0, 0)")
        await expect(his.bodies).to_have_text([f"Number {n}" for n in range(1, 71)])
        await his.page.get_by_role("button", name="To the latest message").click()
        await expect(his.message("Number 70")).to_be_in_viewport()


class TestAvatar:
    async def test_avatar_appears_for_contact_until_removed(
        self, sit: Sit, account: Make, http: httpx.AsyncClient
    ) -> None:
        bob = await account("Bob")
        hers, his = await sit(await account("Ada", bob)), await sit(bob)
        await hers.open_settings()
        picture = {"name": "me.png", "mimeType": "image/png", "buffer": encoded(plain())}
        await hers.page.locator("#avatar-file").set_input_files(picture)  # type: ignore[arg-type]
        seen = his.row("Ada").locator(".avatar img")
        await expect(seen).to_have_attribute("src", re.compile(r"^http://[^/]+/avatars/.+_thumb$"))
        await expect(seen).to_have_js_property("complete", True)
        assert await seen.evaluate("image => image.naturalWidth") > 0
        await expect(hers.page.locator("#me img")).to_have_attribute("src", re.compile(r"^http://[^/]+/avatars/"))
        await hers.button("Remove").click()
        await expect(seen).to_have_count(0)
        await expect(hers.page.locator("#me img")).to_have_count(0)

    async def test_invalid_image_shows_error(self, sit: Sit, account: Make) -> None:
        tab = await sit(await account("Ada"))
        tab.announce("/avatar/upload", "blob:")
        await tab.open_settings()
        nothing = {"name": "me.png", "mimeType": "image/png", "buffer": b"not a picture"}
        await tab.page.locator("#avatar-file").set_input_files(nothing)  # type: ignore[arg-type]
        await expect(tab.page.locator("#avatar-error")).to_have_text(
            "This is not a whole JPEG, PNG, WebP or GIF picture."
        )


class TestDevices:
    async def test_device_list_signs_out_other_tab(self, sit: Sit, account: Make) -> None:
        ada = await account("Ada")
        first = await sit(ada)
        second = await sit(beside=first)
        await second.sign_in(ada.username, PASSWORD)
        await second.is_live()
        await first.open_settings()
        await expect(first.page.locator("#devices li")).to_have_count(2)
        await first.page.locator("#devices").get_by_role("button", name="Sign out").click()
        await expect(second.page.locator("#welcome-notice")).to_have_text("This device was signed out.")
        await expect(first.page.locator("#devices li")).to_have_count(1)
        await first.is_live()
