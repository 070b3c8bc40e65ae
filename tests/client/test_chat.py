"""The chat in the terminal, driven by keys, without a terminal."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import httpx

from messenger.chat.composer import Composer
from tests.client.fake import Fake, refused
from tests.client.screen import (
    ONLINE,
    chatting,
    contact_data,
    conversation_data,
    kept_files,
    live,
    screen_of,
    seen,
    serve,
    until,
)
from tests.client.wire import AT, ME, PERSON, THEM, message_data, problem


class TestSigningIn:
    async def test_password_signs_in_and_is_not_stored(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        async with chatting(fake, tmp_path, signed_in=False) as (pilot, app):
            await seen(pilot, app, "Sign in")
            await pilot.press(*"fjord-lantern", "enter")
            await live(fake, pilot, app)
            (asked,) = fake.said("/login")
            assert (asked["login"], asked["password"]) == ("ada", "fjord-lantern")
        (kept,) = kept_files(tmp_path)
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
        assert "fjord" not in kept.read_text()

    async def test_wrong_password_is_shown(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        fake.on("POST", "/login", refused(401, "invalid_credentials"))
        async with chatting(fake, tmp_path, signed_in=False) as (pilot, app):
            await pilot.press(*"wrong", "enter")
            await seen(pilot, app, "Username or password is wrong.")

    async def test_account_is_created(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        fake.on("POST", "/register", fake.handlers["POST", "/login"][0])
        async with chatting(fake, tmp_path, signed_in=False) as (pilot, app):
            await pilot.press("ctrl+s")
            await seen(pilot, app, "Create an account")
            await pilot.press(*"fjord-lantern", "enter", *"Ada", "enter")
            await live(fake, pilot, app)
            assert (fake.said("/register")[0]["username"], fake.said("/register")[0]["name"]) == ("ada", "Ada")

    async def test_stored_tokens_sign_in(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            assert "Ada @ada" in screen_of(app)
            assert fake.said("/login") == []

    async def test_signed_out_device_is_asked_to_sign_in(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            fake.refresh = "gone"
            await peer.close(4401)
            await seen(pilot, app, "This device was signed out.")
        assert kept_files(tmp_path) == []

    async def test_signing_out_removes_stored_tokens(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        fake.on("POST", "/logout", httpx.Response(204))
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("ctrl+o")
            await seen(pilot, app, "Sign in")
        assert kept_files(tmp_path) == []


class TestConversationScreen:
    async def test_incoming_messages_appear_live_and_are_read(self, fake: Fake, tmp_path: Path) -> None:
        serve(
            fake, contacts=[contact_data("mutual")], conversations=[conversation_data(1, 1)], history=[message_data(1)]
        )
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await peer.event(2)
            await seen(pilot, app, "● Bob (1)")
            await pilot.press("down", "enter")
            await seen(pilot, app, "Bob message 1")
            request = await peer.asked()
            assert (request["method"], request["data"]["read_seq"]) == ("receipt.set", 2)
            await peer.reply(request)
            own = {"target_id": THEM, "user_id": ME, "read_seq": 2, "delivered_seq": 2, "unread": 0, "version": 4}
            await peer.event(3, "receipt.updated", own)
            await until(pilot, lambda: "(1)" not in screen_of(app))

    async def test_sending_shows_typing_and_marks(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await pilot.press("down", "enter", "h", "i")
            typing = await peer.asked()
            assert (typing["method"], typing["data"]) == ("typing", {"target_id": THEM, "typing": True})
            await peer.reply(typing)
            await pilot.press("enter")
            await seen(pilot, app, "You hi …")
            request = await peer.asked()
            assert request["method"] == "message.send"
            sent = message_data(1, sender_id=ME, body="hi", client_id=request["data"]["client_id"])
            await peer.reply(request, sent)
            await peer.event(1, data=sent)
            await seen(pilot, app, "You hi ✓")
            their = {"target_id": THEM, "user_id": THEM, "unread": None, "version": None}
            await peer.event(2, "receipt.updated", {**their, "read_seq": 0, "delivered_seq": 1})
            await seen(pilot, app, "You hi ✓✓")
            await peer.event(3, "receipt.updated", {**their, "read_seq": 1, "delivered_seq": 1})
            await seen(pilot, app, "You hi ✓✓ read")

    async def test_typing_indicator_is_shown(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            word = {"target_id": THEM, "user_id": THEM, "typing": True, "expires_at": AT}
            await peer.send({"type": "signal", "event": "typing", "data": word})
            await seen(pilot, app, "is typing …")
            await peer.send({"type": "signal", "event": "typing", "data": {**word, "typing": False}})
            await until(pilot, lambda: "is typing …" not in screen_of(app))

    async def test_presence_is_shown(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await seen(pilot, app, "● Bob")
            await peer.send({"type": "signal", "event": "presence", "data": {**ONLINE, "online": False}})
            await seen(pilot, app, "○ Bob")

    async def test_offline_messages_are_sent_later(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        down = httpx.ConnectError("down")
        gate = asyncio.Event()

        async def sent_later(request: httpx.Request) -> httpx.Response | Exception:
            if not gate.is_set():
                return down
            return httpx.Response(201, json=message_data(1, sender_id=ME, body="later"))

        fake.on("POST", "/messages", sent_later)
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            # Each of these answers one attempt to reconnect; after them the server is reachable.
            fake.refusals = [(503, problem(503, "unavailable"), {"Retry-After": "0"})] * 3
            peer.cut()
            await pilot.press("down", "enter", *"later", "enter")
            await seen(pilot, app, "You later …")
            await seen(pilot, app, "1 sending")
            gate.set()
            await live(fake, pilot, app)
            await seen(pilot, app, "You later ✓")
            assert "1 sending" not in screen_of(app)
        assert len({draft["client_id"] for draft in fake.said("/messages")}) == 1

    async def test_refusal_is_shown_and_can_be_retried(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await pilot.press("down", "enter", "h")
            await peer.reply(await peer.asked())
            await pilot.press("enter")
            await peer.reply(await peer.asked(), error=problem(403, "not_a_contact"))
            await seen(pilot, app, "not sent: They only accept messages from contacts.")
            await pilot.press("ctrl+g")
            request = await peer.asked()
            await peer.reply(request, message_data(1, sender_id=ME, body="h"))
            await seen(pilot, app, "You h ✓")

    async def test_last_message_can_be_edited(self, fake: Fake, tmp_path: Path) -> None:
        mine = message_data(1, sender_id=ME, body="helo")
        talk = {**conversation_data(1, 1), "last_message": mine}
        serve(fake, contacts=[contact_data("mutual")], conversations=[talk], history=[mine])
        better = message_data(1, sender_id=ME, body="hello", edited_at=AT)
        fake.on("PATCH", f"/messages/{mine['id']}", httpx.Response(200, json=better))
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await pilot.press("down", "enter")
            await seen(pilot, app, "You helo")
            await pilot.press("up", "left", "l", "enter")
            await until(pilot, lambda: fake.said(f"/messages/{mine['id']}") == [{"body": "hello"}])
            await peer.event(2, "message.edited", better)
            await seen(pilot, app, "hello (edited)")

    async def test_escape_sequences_and_markup_are_shown_as_text(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await pilot.press("down", "enter")
            await peer.event(1, data=message_data(1, body="[red]a[/red] \x1b[2Jb \u202egnp.exe"))
            await seen(pilot, app, "[red]a[/red] �[2Jb �gnp.exe")

    async def test_replaced_connection_is_shown_and_can_be_reclaimed(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await peer.close(4409)
            await seen(pilot, app, "connected in another window")
            await pilot.press("ctrl+r")
            await live(fake, pilot, app)


class TestUnsentMessages:
    async def test_unsent_message_is_sent_after_next_sign_in(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await pilot.press("down", "enter", *"later", "enter")
            await seen(pilot, app, "You later …")
            while (request := await peer.asked())["method"] != "message.send":
                await peer.reply(request)
            access, fake.access, fake.refresh = fake.access, "another", "another"
            await peer.close(4401)
            await seen(pilot, app, "This device was signed out.")
            await pilot.press("ctrl+q")
            assert app.return_code is None
            fake.access = access
            fake.on("POST", "/messages", httpx.Response(201, json=message_data(1, sender_id=ME, body="later")))
            await pilot.press(*"fjord-lantern", "enter")
            await live(fake, pilot, app)
            await until(pilot, lambda: app.talk is not None and not app.talk.unsent)
        sent = [request["data"], *fake.said("/messages")]
        assert len(sent) > 1
        assert {(draft["client_id"], draft["body"]) for draft in sent} == {(request["data"]["client_id"], "later")}


class TestContactScreen:
    async def test_contact_request_is_accepted(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("pending_in", "It's Bob")])
        fake.on("POST", "/confirm_subscribe", httpx.Response(200, json={"target_id": THEM, "state": "mutual"}))
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await seen(pilot, app, "request: It's Bob")
            await pilot.press("down", "ctrl+y")
            await until(pilot, lambda: fake.said("/confirm_subscribe") == [{"target_id": THEM, "accept": True}])
            change = {"target_id": THEM, **contact_data("mutual")}
            await peer.event(1, "contact.updated", change)
            await until(pilot, lambda: "request:" not in screen_of(app))

    async def test_contact_is_requested_by_username(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        fake.on("GET", "/users", httpx.Response(200, json={**PERSON, "contact": "none"}))
        fake.on("POST", "/subscribe", httpx.Response(200, json={"target_id": THEM, "state": "pending_out"}))
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await pilot.press("ctrl+n")
            await seen(pilot, app, "Whom do you want to add?")
            await pilot.press(*"bob", "enter", *"hi", "enter")
            await until(pilot, lambda: fake.said("/subscribe") == [{"target_id": THEM, "message": "hi"}])
            await peer.event(1, "contact.updated", {"target_id": THEM, **contact_data("pending_out")})
            await seen(pilot, app, "You have sent a contact request.")
            assert app.screen.focused is app.screen.query_one("#composer", Composer)

    async def test_stranger_is_shown_with_name(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await peer.event(1)
            await seen(pilot, app, "Bob (1)")
