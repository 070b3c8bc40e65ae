"""Loading: complete at its cursor, although data changes while it runs."""

from __future__ import annotations

import json
from typing import Any

import httpx

from messenger.client import Client
from tests.client.fake import Fake
from tests.client.wire import AT, PROFILE, THEM, history_data, message_data


def _view(peer: int, last: int) -> dict[str, Any]:
    return {
        "target": {"id": peer, "kind": "user", "username": f"u{peer}", "name": f"U{peer}", "avatar": None},
        "last_message": message_data(last, target_id=peer),
        "last_seq": last,
        "read_seq": 0,
        "unread": last,
        "version": last,
        "muted_until": None,
        "pinned": False,
        "archived": False,
        "expire_after": None,
        "group": None,
        "target_receipt": None,
    }


class Pages:
    """Conversations, two a page, latest first; a page's cursor is where the next one starts."""

    def __init__(self, *peers: int) -> None:
        self.order = list(peers)
        self.lengths = dict.fromkeys(peers, 1)
        self.after_page: dict[int, int] = {}
        self.read = 0

    def move_up(self, peer: int) -> None:
        self.order.remove(peer)
        self.order.insert(0, peer)
        self.lengths[peer] += 1

    def __call__(self, request: httpx.Request) -> httpx.Response:
        start = int(request.url.params.get("cursor", 0))
        items = [_view(peer, self.lengths[peer]) for peer in self.order[start : start + 2]]
        more = str(start + 2) if start + 2 < len(self.order) else None
        answer = {"items": items, "next": more, "cursor": f"e{100 + self.read}"}
        content = json.dumps(answer)
        self.read += 1
        if self.read in self.after_page:
            self.move_up(self.after_page[self.read])
        return httpx.Response(200, content=content, headers={"content-type": "application/json"})


def _serve(fake: Fake, pages: Pages) -> None:
    fake.on("GET", "/conversations", pages)
    fake.on("GET", "/profile", httpx.Response(200, json=PROFILE))
    fake.on("GET", "/statuses", httpx.Response(200, json={"items": [], "next": None}))
    fake.on("GET", "/contacts", httpx.Response(200, json={"items": [], "next": None}))
    fake.on("GET", "/devices", httpx.Response(200, json={"items": [], "next": None}))
    fake.on("GET", "/invitations", httpx.Response(200, json={"items": [], "next": None}))


async def test_loaded_cursor_is_cursor_of_first_page(fake: Fake, client: Client) -> None:
    _serve(fake, Pages(1, 2, 3, 4, 5))
    loaded = await client.load_state()
    assert loaded.cursor == "e100"
    assert sorted(loaded.state.conversations) == [1, 2, 3, 4, 5]


async def test_conversation_moving_up_while_loading_is_found(fake: Fake, client: Client) -> None:
    pages = Pages(1, 2, 3, 4, 5)
    # After the first page the last conversation moves to the top, so the next pages start one place too late for it.
    pages.after_page = {1: 5}
    _serve(fake, pages)
    loaded = await client.load_state()
    assert sorted(loaded.state.conversations) == [1, 2, 3, 4, 5]
    assert loaded.state.conversations[5].target is not None
    assert loaded.state.conversations[5].last_seq == 2


async def test_page_of_conversations_moving_up_is_found(fake: Fake, client: Client) -> None:
    pages = Pages(1, 2, 3, 4, 5, 6)
    pages.after_page = {1: 6, 2: 5, 3: 4, 4: 3}
    _serve(fake, pages)
    loaded = await client.load_state()
    assert {peer: each.last_seq for peer, each in loaded.state.conversations.items()} == pages.lengths


async def test_requested_number_of_messages_is_loaded(fake: Fake, client: Client) -> None:
    _serve(fake, Pages(THEM))

    def history(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=history_data([message_data(1)]))

    fake.on("GET", f"/history/{THEM}", history)
    loaded = await client.load_state(messages=20)
    assert loaded.state.messages[THEM][1].created_at == AT
    assert fake.calls[-1].url.params["limit"] == "20"
    loaded = await client.load_state(messages=None)
    assert fake.calls[-1].url.params["after"] == "0"
