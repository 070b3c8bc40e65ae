"""Expiring messages, in the client's state and on the screen, without an event."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from messenger.chat import words
from messenger.chat.talk import Talk
from messenger.client import State
from messenger.schemas.messages import MessageView
from messenger.schemas.types import timestamp
from tests.client.fake import Fake
from tests.client.screen import chatting, contact_data, conversation_data, live, screen_of, seen, serve, until
from tests.client.wire import AT, ME, THEM, message_data

SOON, LATER = "2026-11-22T10:16:00.000Z", "2026-11-22T10:17:00.000Z"


def message(seq: int, **changes: Any) -> MessageView:
    return msgspec.convert(message_data(seq, **changes), MessageView)


def state_with(*messages: MessageView) -> State:
    state = State(ME)
    state.add_history(THEM, messages)
    return state


class TestStateExpiry:
    def test_message_is_emptied_at_expiry(self) -> None:
        state = state_with(message(1, expires_at=SOON, mentions=[ME]))
        assert not state.expire("2026-11-22T10:15:59.999Z")
        assert state.messages[THEM][1].body == "message 1"
        assert state.expire(SOON)
        expired = state.messages[THEM][1]
        assert (expired.body, expired.mentions, expired.deleted_at) == (None, [], SOON)

    def test_next_expiry_is_earliest_remaining(self) -> None:
        state = state_with(message(1, expires_at=LATER), message(2, expires_at=SOON), message(3))
        assert state.next_expiry == SOON
        state.expire(SOON)
        assert state.next_expiry == LATER
        state.expire(LATER)
        assert state.next_expiry is None

    def test_page_with_the_text_leaves_an_expired_message_empty(self) -> None:
        state = state_with(message(1, expires_at=SOON))
        state.expire(SOON)
        state.add_history(THEM, [message(1, expires_at=SOON)])
        assert state.messages[THEM][1].body is None

    def test_edited_message_expires_at_original_time(self) -> None:
        state = state_with(message(1, expires_at=SOON), message(1, expires_at=SOON, body="better", edited_at=AT))
        assert state.expire(SOON)
        assert state.messages[THEM][1].body is None

    def test_deleted_message_does_not_expire(self) -> None:
        state = state_with(message(1, expires_at=SOON, body=None, deleted_at=AT))
        assert state.next_expiry is None


class TestChatExpiry:
    def test_expired_message_has_no_text(self) -> None:
        assert words.body(message(1, expires_at=SOON)) == "(expired)"
        assert words.body(message(1, expires_at="9999-01-01T00:00:00.000Z")) == "message 1"

    async def test_message_disappears_from_screen_at_expiry(self, fake: Fake, tmp_path: Path) -> None:
        at = timestamp(datetime.now(UTC) + timedelta(seconds=4))
        expiring = message_data(1, body="for a moment", expires_at=at)
        talk = {**conversation_data(1, 1), "last_message": expiring}
        serve(fake, contacts=[contact_data("mutual")], conversations=[talk], history=[expiring])
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("down", "enter")
            await seen(pilot, app, "Bob for a moment")
            # No more events arrive, and the next periodic redraw is half a minute away.
            async with asyncio.timeout(15):
                await until(pilot, lambda: "for a moment" not in screen_of(app))
            assert timestamp(datetime.now(UTC)) >= at
            assert "Bob (expired)" in screen_of(app)

    async def test_expired_last_message_is_not_edited(self, fake: Fake) -> None:
        async with fake.client() as client:
            talk = Talk(client, lambda: None)
            talk.state = state_with(
                message(1, sender_id=ME, body="stays"), message(2, sender_id=ME, body="gone", expires_at=SOON)
            )
            talk.state._conversation(THEM).reach(2, mine=False)
            last = talk.own_last(THEM)
            assert last is not None
            assert last.body == "stays"
            await talk.aclose()
