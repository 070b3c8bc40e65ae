"""Typed and pasted text in the terminal chat arrives complete, in order and once, however fast it is entered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from textual.pilot import Pilot

from messenger.chat.app import ChatApp
from messenger.chat.ask import AskScreen
from messenger.chat.composer import Composer
from messenger.chat.sign_in import SignInScreen
from tests.client.fake import Fake, Peer, refused
from tests.client.screen import (
    BOB,
    chatting,
    contact_data,
    conversation_data,
    live,
    paste,
    seen,
    serve,
    type_fast,
    until,
)
from tests.client.wire import AT, ME, PERSON, THEM, history_data, message_data

CAROL = {**BOB, "id": 33333333, "username": "carol", "name": "Carol"}


async def bodies(peer: Peer, count: int) -> list[str]:
    """The texts of the next messages that are sent."""
    found: list[str] = []
    while len(found) < count:
        request = await peer.asked()
        if request["method"] == "message.send":
            draft = request["data"]
            found.append(draft["body"])
            sent = message_data(len(found), sender_id=ME, body=draft["body"], client_id=draft["client_id"])
            await peer.reply(request, sent)
        else:
            await peer.reply(request)
    return found


async def talking(fake: Fake, pilot: Pilot[None], app: ChatApp) -> Peer:
    """The socket, with the conversation with Bob open."""
    peer = await live(fake, pilot, app)
    await pilot.press("down", "enter")
    await until(pilot, lambda: app.screen.query_one(Composer).has_focus)
    return peer


class TestTypingMessages:
    async def test_forty_lines_arrive_as_forty_messages_in_order(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        lines = [f"line {number} of forty" for number in range(40)]
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await talking(fake, pilot, app)
            for line in lines:
                type_fast(app, *line, "enter")
            assert await bodies(peer, 40) == lines
            assert app.screen.query_one(Composer).text == ""
            await until(pilot, lambda: not app.talk or not app.talk.outbox.outgoing())

    async def test_editing_keys_apply_in_typed_order(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await talking(fake, pilot, app)
            type_fast(app, *"helo", "left", "l", "end", *"!!", "backspace", "enter")
            assert await bodies(peer, 1) == ["hello!"]

    async def test_keys_after_edit_shortcut_edit_last_message(self, fake: Fake, tmp_path: Path) -> None:
        mine = message_data(1, sender_id=ME, body="helo")
        talk = {**conversation_data(1, 1), "last_message": mine}
        serve(fake, contacts=[contact_data("mutual")], conversations=[talk], history=[mine])
        fake.on("PATCH", f"/messages/{mine['id']}", httpx.Response(200, json={**mine, "edited_at": AT}))
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await talking(fake, pilot, app)
            await seen(pilot, app, "You helo")
            type_fast(app, "up", *" there", "enter", *"next", "enter")
            assert await bodies(peer, 1) == ["next"]
            await until(pilot, lambda: fake.said(f"/messages/{mine['id']}") == [{"body": "helo there"}])

    async def test_failed_edit_keeps_text(self, fake: Fake, tmp_path: Path) -> None:
        mine = message_data(1, sender_id=ME, body="helo")
        talk = {**conversation_data(1, 1), "last_message": mine}
        serve(fake, contacts=[contact_data("mutual")], conversations=[talk], history=[mine])
        fake.on("PATCH", f"/messages/{mine['id']}", refused(403, "forbidden"))
        async with chatting(fake, tmp_path) as (pilot, app):
            await talking(fake, pilot, app)
            await seen(pilot, app, "You helo")
            type_fast(app, "up", *" there", "enter")
            await until(pilot, lambda: app.screen.query_one(Composer).text == "helo there")
            assert app.screen.query_one(Composer).editing is not None

    async def test_leaving_warns_of_pending_edit(self, fake: Fake, tmp_path: Path) -> None:
        mine = message_data(1, sender_id=ME, body="helo")
        talk = {**conversation_data(1, 1), "last_message": mine}
        serve(fake, contacts=[contact_data("mutual")], conversations=[talk], history=[mine])
        gate = asyncio.Event()

        async def slow(_: httpx.Request) -> httpx.Response:
            await gate.wait()
            return httpx.Response(200, json={**mine, "edited_at": AT})

        fake.on("PATCH", f"/messages/{mine['id']}", slow)
        async with chatting(fake, tmp_path) as (pilot, app):
            await talking(fake, pilot, app)
            await seen(pilot, app, "You helo")
            type_fast(app, "up", "!", "enter", "ctrl+q")
            await until(pilot, lambda: app._warned)
            assert app.return_code is None
            gate.set()
            await until(pilot, lambda: app.talk is not None and not app.talk.unsent)

    async def test_draft_stays_in_conversation(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual"), {**contact_data("mutual"), "user": CAROL}])
        fake.on("GET", f"/history/{CAROL['id']}", httpx.Response(200, json=history_data([])))
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await talking(fake, pilot, app)
            type_fast(app, *"for Bob", "escape", "down", "enter", *"for Carol", "escape", "up", "enter", "!", "enter")
            assert await bodies(peer, 1) == ["for Bob!"]
            type_fast(app, "escape", "down", "enter", "enter")
            assert await bodies(peer, 1) == ["for Carol"]


class TestPasting:
    @pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n"])
    async def test_every_line_of_a_paste_is_sent(self, fake: Fake, tmp_path: Path, line_break: str) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await talking(fake, pilot, app)
            paste(app, line_break.join(["alpha", "  beta", "", "gamma", ""]))
            await seen(pilot, app, "gamma")
            type_fast(app, "enter")
            assert await bodies(peer, 1) == ["alpha\n  beta\n\ngamma"]

    async def test_paste_stays_between_surrounding_keys(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await talking(fake, pilot, app)
            type_fast(app, "a", " ")
            paste(app, "one\ntwo")
            type_fast(app, " ", "z", "enter", "n", "enter")
            assert await bodies(peer, 2) == ["a one\ntwo z", "n"]

    async def test_paste_beyond_limit_stays_in_composer(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await talking(fake, pilot, app)
            paste(app, "x" * 65535 + "\nz")
            type_fast(app, "enter", "backspace", "enter")
            assert await bodies(peer, 1) == ["x" * 65535]

    async def test_ctrl_j_breaks_the_line(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake, contacts=[contact_data("mutual")])
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await talking(fake, pilot, app)
            type_fast(app, *"one", "ctrl+j", *"two", "enter")
            assert await bodies(peer, 1) == ["one\ntwo"]

    async def test_paste_into_single_line_field_keeps_all_lines(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        fake.on("GET", "/users", httpx.Response(200, json={**PERSON, "contact": "none"}))
        fake.on("POST", "/subscribe", httpx.Response(200, json={"target_id": THEM, "state": "pending_out"}))
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            type_fast(app, "ctrl+n", *"bob", "enter")
            await until(pilot, lambda: isinstance(app.screen, AskScreen) and app.screen.query_one("#message").has_focus)
            paste(app, "hi\nthere\n")
            type_fast(app, "enter", "enter")
            await until(pilot, lambda: fake.said("/subscribe") == [{"target_id": THEM, "message": "hi there"}])


class TestSigningUp:
    async def test_enter_moves_through_the_fields(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        fake.on("POST", "/register", fake.handlers["POST", "/login"][0])
        async with chatting(fake, tmp_path, signed_in=False) as (pilot, app):
            await seen(pilot, app, "Sign in")
            keys = ["ctrl+s", "shift+tab", "ctrl+u", *"tina", "enter", *"marble-otter-58", "enter", *"Tina T", "enter"]
            type_fast(app, *keys)
            await live(fake, pilot, app)
        (asked,) = fake.said("/register")
        assert (asked["username"], asked["password"], asked["name"]) == ("tina", "marble-otter-58", "Tina T")

    async def test_second_enter_leaves_the_request_under_way(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        signed_in, gate = fake.handlers["POST", "/login"][0], asyncio.Event()

        async def slow(request: httpx.Request) -> Any:
            await gate.wait()
            return signed_in(request)

        fake.on("POST", "/register", slow, refused(409, "username_taken"))
        async with chatting(fake, tmp_path, signed_in=False) as (pilot, app):
            await seen(pilot, app, "Sign in")
            type_fast(app, "ctrl+s", *"marble-otter-58", "enter", "enter", "enter", "enter")
            await until(pilot, lambda: fake.said("/register"))
            type_fast(app, "enter")
            await pilot.pause()
            gate.set()
            await live(fake, pilot, app)
        assert len(fake.said("/register")) == 1

    async def test_attempt_after_a_lost_answer_repeats_the_key(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        lost = httpx.ReadTimeout("lost")
        signed_in = fake.handlers["POST", "/login"][0]
        fake.on("POST", "/register", *[lost] * 3, refused(400, "validation_failed"), signed_in)
        async with chatting(fake, tmp_path, signed_in=False) as (pilot, app):
            app._timing = app._timing.__class__(connect=2.0, answer=2.0, patience=0.0)
            await seen(pilot, app, "Sign in")
            type_fast(app, "ctrl+s", *"marble-otter-58", "enter", *"Tina", "enter")
            for attempt in range(1, 5):
                await until(pilot, lambda: len(fake.said("/register")) == attempt)  # noqa: B023
                await until(pilot, lambda: isinstance(app.screen, SignInScreen) and not app.screen._is_asking)
                type_fast(app, "x", "backspace", "enter")
            await live(fake, pilot, app)
        keys = [call.headers["Idempotency-Key"] for call in fake.calls if call.url.path == "/register"]
        assert len(set(keys[:4])) == 1
        assert keys[4] not in keys[:4]
        assert json.loads(fake.calls[0].content)["name"] == "Tina"
