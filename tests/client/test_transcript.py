"""The scroll position of the terminal chat's transcript while messages are added and removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from textual.pilot import Pilot

from messenger.chat.app import ChatApp
from messenger.chat.panes import Transcript
from tests.client.fake import Fake, Peer
from tests.client.screen import (
    chatting,
    contact_data,
    conversation_data,
    live,
    paste,
    screen_of,
    seen,
    serve,
    type_fast,
    until,
)
from tests.client.wire import AT, ME, THEM, history_data, message_data

LONG = "so long that it takes several lines of the screen " * 4


def messages(first: int, last: int) -> list[dict[str, Any]]:
    return [message_data(seq, body=f"number {seq}. {LONG if seq % 7 == 0 else ''}") for seq in range(first, last + 1)]


def lines_of(app: ChatApp) -> list[str]:
    """The lines that the transcript shows."""
    region = app.screen.query_one(Transcript).region
    return [line[region.x : region.right - 4] for line in screen_of(app).splitlines()[region.y : region.bottom]]


@asynccontextmanager
async def reading(fake: Fake, folder: Path, *, last: int = 99) -> AsyncIterator[tuple[Pilot[None], ChatApp, Peer]]:
    """Two pages above the end of a conversation whose pages before message 21 are not loaded."""
    page: dict[str, Any] = history_data(messages(21, last), next=21, last_seq=last)
    conversation = {**conversation_data(last, last), "last_message": page["items"][-1]}
    serve(fake, contacts=[contact_data("mutual")], conversations=[conversation])
    fake.on("GET", f"/history/{THEM}", httpx.Response(200, json=page))
    async with chatting(fake, folder) as (pilot, app):
        peer = await live(fake, pilot, app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.screen.query(Transcript))
        await shown(pilot, app, 21)
        await until(pilot, lambda: f"number {last}." in "".join(lines_of(app)))
        type_fast(app, "pageup", "pageup")
        await until(pilot, lambda: f"number {last}." not in "".join(lines_of(app)))
        await until(pilot, lambda: not app.screen.query_one(Transcript)._is_pending)
        yield pilot, app, peer


async def shown(pilot: Pilot[None], app: ChatApp, seq: int) -> None:
    """Wait until a message is part of the transcript, visible or not."""
    transcript = app.screen.query_one(Transcript)
    await until(pilot, lambda: f"message {seq}" in dict(transcript._laid_out))
    await pilot.pause()


class TestScrolledUp:
    async def test_incoming_message_keeps_view(self, fake: Fake, tmp_path: Path) -> None:
        async with reading(fake, tmp_path) as (pilot, app, peer):
            before = lines_of(app)
            for seq in (100, 101, 102):
                await peer.event(seq, data=message_data(seq, body=f"new {seq} {LONG}"))
            await shown(pilot, app, 102)
            assert lines_of(app) == before

    async def test_edit_above_view_keeps_view(self, fake: Fake, tmp_path: Path) -> None:
        async with reading(fake, tmp_path) as (pilot, app, peer):
            before = lines_of(app)
            await peer.event(100, "message.edited", message_data(22, body=LONG * 2, edited_at=AT))
            await peer.event(101, "message.deleted", message_data(21, body=None, deleted_at=AT))
            await peer.event(102, data=message_data(100))
            await shown(pilot, app, 100)
            assert lines_of(app) == before

    async def test_older_page_and_new_message_keep_view(self, fake: Fake, tmp_path: Path) -> None:
        async with reading(fake, tmp_path) as (pilot, app, peer):
            page = history_data(messages(1, 20), last_seq=99)
            fake.on("GET", f"/history/{THEM}", httpx.Response(200, json=page))
            transcript = app.screen.query_one(Transcript)
            transcript.action_older()
            await until(pilot, lambda: "message 1" in dict(transcript._laid_out))
            await pilot.pause()
            assert any("number 21." in line for line in lines_of(app)[:3])
            before = lines_of(app)
            await peer.event(100)
            await shown(pilot, app, 100)
            assert lines_of(app) == before

    async def test_own_message_scrolls_into_view(self, fake: Fake, tmp_path: Path) -> None:
        async with reading(fake, tmp_path) as (pilot, app, peer):
            type_fast(app, *"mine", "enter")
            # Typing, sending and the receipt each redraw the screen.
            while (request := await peer.asked())["method"] != "message.send":
                await peer.reply(request)
            await seen(pilot, app, "You mine …")
            sent = message_data(100, sender_id=ME, body="mine", client_id=request["data"]["client_id"])
            await peer.reply(request, sent)
            await peer.event(100, data=sent)
            await seen(pilot, app, "You mine ✓")
            assert app.screen.query_one(Transcript).is_at_end

    async def test_page_down_returns_to_end_and_follows(self, fake: Fake, tmp_path: Path) -> None:
        async with reading(fake, tmp_path) as (pilot, app, peer):
            type_fast(app, *["pagedown"] * 4)
            await until(pilot, lambda: "number 99." in "".join(lines_of(app)))
            assert app.screen.query_one(Transcript).is_at_end
            await peer.event(100, data=message_data(100, body="new at the end"))
            await until(pilot, lambda: "new at the end" in "".join(lines_of(app)))


class TestAtTheEnd:
    async def test_burst_of_messages_keeps_end_visible(self, fake: Fake, tmp_path: Path) -> None:
        async with reading(fake, tmp_path) as (pilot, app, peer):
            type_fast(app, *["pagedown"] * 4)
            await until(pilot, lambda: app.screen.query_one(Transcript).is_at_end)
            for seq in range(100, 130):
                await peer.event(seq)
                await asyncio.sleep(0)
            await until(pilot, lambda: "message 129" in "".join(lines_of(app)))

    async def test_multiline_composer_keeps_end_visible(self, fake: Fake, tmp_path: Path) -> None:
        async with reading(fake, tmp_path) as (pilot, app, peer):
            type_fast(app, *["pagedown"] * 4)
            await until(pilot, lambda: app.screen.query_one(Transcript).is_at_end)
            before = app.screen.query_one(Transcript).size.height
            paste(app, "\n".join("abcdef"))
            await until(pilot, lambda: app.screen.query_one(Transcript).size.height < before)
            await until(pilot, lambda: "number 99." in "".join(lines_of(app)))
            await peer.event(100, data=message_data(100, body="new at the end"))
            await until(pilot, lambda: "new at the end" in "".join(lines_of(app)))

    async def test_narrow_window_keeps_end_visible(self, fake: Fake, tmp_path: Path) -> None:
        async with reading(fake, tmp_path) as (pilot, app, _):
            type_fast(app, *["pagedown"] * 4)
            await until(pilot, lambda: app.screen.query_one(Transcript).is_at_end)
            await pilot.resize_terminal(70, 24)
            await until(pilot, lambda: "number 99." in "".join(lines_of(app)))
            assert app.screen.query_one(Transcript).is_at_end


class TestResized:
    async def test_resized_window_shows_same_first_entry(self, fake: Fake, tmp_path: Path) -> None:
        async with reading(fake, tmp_path) as (pilot, app, _):
            transcript = app.screen.query_one(Transcript)
            first = next(line for line in lines_of(app) if "number" in line)
            await pilot.resize_terminal(60, 30)
            await until(pilot, lambda: transcript.size.width < 45 and not transcript._is_pending)
            await pilot.pause()
            assert first.strip()[:20] in "".join(lines_of(app)[:8])
