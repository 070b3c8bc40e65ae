"""The chat on a virtual screen, over the fake server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from textual import events
from textual.pilot import Pilot

from messenger.chat.app import ChatApp
from messenger.chat.vault import Vault
from messenger.client import Tokens
from tests.client.fake import QUICK, Fake, Peer
from tests.client.wire import AT, DEVICE, ME, PERSON, PROFILE, THEM, history_data, message_data

SECONDS = 30.0
BOB = {"id": THEM, "username": "bob", "name": "Bob", "avatar": None}
ADA = {"id": ME, "username": "ada", "name": "Ada", "avatar": None}
ONLINE = {"user_id": THEM, "status": "online", "status_text": "", "online": True, "last_activity": None}


def contact_data(state: str, message: str | None = None) -> dict[str, Any]:
    return {"user": BOB, "state": state, "alias": None, "message": message, "since": AT}


def conversation_data(last: int, read: int) -> dict[str, Any]:
    return {
        "target": {**BOB, "kind": "user"},
        "last_message": message_data(last),
        "last_seq": last,
        "read_seq": read,
        "unread": last - read,
        "version": last + read,
        "muted_until": None,
        "pinned": False,
        "archived": False,
        "expire_after": None,
        "group": None,
        "target_receipt": None,
    }


def serve(
    fake: Fake, *, contacts: Sequence[Any] = (), conversations: Sequence[Any] = (), history: Sequence[Any] = ()
) -> None:
    """Serve what the chat requests at its start."""
    device = {"id": DEVICE, "name": "d", "created_at": AT, "last_activity": AT, "current": True}
    signed_in = {"user": ADA, "device": device, "tokens": fake.tokens()}
    fake.on("POST", "/login", httpx.Response(200, json=signed_in))
    fake.on("GET", "/profile", httpx.Response(200, json=PROFILE))
    fake.on("GET", "/statuses", httpx.Response(200, json={"items": [ONLINE] if contacts else [], "next": None}))
    fake.on("GET", "/contacts", httpx.Response(200, json={"items": contacts, "next": None}))
    fake.on("GET", "/devices", httpx.Response(200, json={"items": [device], "next": None}))
    fake.on("GET", "/invitations", httpx.Response(200, json={"items": [], "next": None}))
    page = {"items": conversations, "next": None, "cursor": "e0"}
    fake.on("GET", "/conversations", httpx.Response(200, json=page))
    fake.on("GET", f"/users/{THEM}", httpx.Response(200, json=PERSON))
    fake.on("GET", f"/history/{THEM}", httpx.Response(200, json=history_data(list(history))))


def screen_of(app: ChatApp) -> str:
    """The text on the screen."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def until(pilot: Pilot[None], is_so: Callable[[], object]) -> None:
    """Let the application run until a condition holds."""
    async with asyncio.timeout(SECONDS):
        while not is_so():
            await pilot.pause()


async def seen(pilot: Pilot[None], app: ChatApp, text: str) -> None:
    try:
        await until(pilot, lambda: text in screen_of(app))
    except TimeoutError:
        raise AssertionError(f"{text!r} is not on the screen:\n{screen_of(app)}") from None


@asynccontextmanager
async def chatting(fake: Fake, folder: Path, *, signed_in: bool = True) -> AsyncIterator[tuple[Pilot[None], ChatApp]]:
    """The application on a screen of its own, with stored tokens."""
    vault = Vault(folder)
    if signed_in:
        vault.keep(fake.url, "ada", Tokens(fake.access, fake.refresh))
    transport = httpx.MockTransport(fake.handle)
    app = ChatApp(fake.url, username="ada", vault=vault, timing=QUICK, transport=transport)
    async with app.run_test(size=(100, 30)) as pilot:
        yield pilot, app
        # Twice: the first time it may warn of unsent messages.
        await pilot.press("ctrl+q", "ctrl+q")
    assert app.return_code == 0


async def live(fake: Fake, pilot: Pilot[None], app: ChatApp) -> Peer:
    peer = await fake.socket()
    await peer.welcome("e0")
    await seen(pilot, app, "■ live")
    return peer


def type_fast(app: ChatApp, *keys: str) -> None:
    """Press keys faster than they are handled; single characters are text."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


def paste(app: ChatApp, text: str) -> None:
    """Paste text (bracketed paste)."""
    app.post_message(events.Paste(text))


def kept_files(folder: Path) -> list[Path]:
    """The files with tokens."""
    return list(folder.rglob("*.json"))
