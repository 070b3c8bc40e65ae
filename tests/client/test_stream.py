"""The stream returns events in order, each once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from messenger.client import (
    CaughtUp,
    Client,
    Event,
    Resync,
    Signal,
)
from messenger.schemas.messages import MessageView
from messenger.schemas.users import PersonView, ProfileView, StatusView
from tests.client.fake import Fake, take
from tests.client.wire import AT, DEVICE, PERSON, PROFILE, THEM, message_data


class TestStreamItems:
    async def test_stream_replays_then_goes_live(self, fake: Fake, client: Client) -> None:
        statuses: list[str] = []
        stream = client.stream("e0", on_status=statuses.append)
        stream.start()
        peer = await fake.socket()
        assert peer.query == {"cursor": "e0"}
        assert peer.authorization == "Bearer a1"
        await peer.welcome("e0", caught_up=False)
        await peer.event(1)
        await peer.send({"type": "caught_up", "cursor": "e1"})
        await peer.event(2)
        first, caught_up, second = [await anext(stream) for _ in range(3)]
        assert isinstance(first, Event)
        assert isinstance(first.data, MessageView)
        assert (first.cursor, first.name, first.at, first.data.body) == ("e1", "message.created", AT, "message 1")
        assert caught_up == CaughtUp("e1")
        assert isinstance(second, Event)
        assert statuses == ["catching_up", "live"]
        assert stream.device_id == DEVICE

    async def test_stream_without_cursor_starts_at_cursor_of_server(self, fake: Fake, client: Client) -> None:
        stream = client.stream()
        stream.start()
        peer = await fake.socket()
        assert peer.query == {}
        await peer.welcome("e41")
        assert await anext(stream) == CaughtUp("e41")
        peer.cut()
        assert (await fake.socket()).query == {"cursor": "e41"}

    async def test_stream_reconnects_with_last_cursor(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome()
        await peer.event(1)
        await peer.event(2)
        assert await take(stream, 3) == ["e0", "e1", "e2"]
        peer.cut()
        peer = await fake.socket()
        assert peer.query == {"cursor": "e2"}

    async def test_repeated_event_is_dropped(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome()
        await peer.event(1)
        await peer.event(2)
        await peer.event(1)
        peer.cut()
        peer = await fake.socket()
        await peer.welcome("e2", caught_up=False)
        for number in (1, 2, 3):
            await peer.event(number)
        assert await take(stream, 4) == ["e0", "e1", "e2", "e3"]
        assert stream.repeats == 3

    async def test_cursor_is_stored_after_event_was_handled(self, fake: Fake, client: Client) -> None:
        kept: list[str] = []
        stream = client.stream("e0", on_cursor=kept.append)
        stream.start()
        peer = await fake.socket()
        await peer.welcome("e0", caught_up=False)
        await peer.event(1)
        await peer.event(2)
        await take(stream, 1)
        assert kept == []
        await take(stream, 1)
        assert kept == ["e1"]
        assert stream.cursor == "e1"

    async def test_own_and_foreign_profiles_are_distinguished(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome("e0", caught_up=False)
        await peer.event(1, "profile.updated", PROFILE)
        await peer.event(2, "profile.updated", PERSON)
        items = [await anext(stream) for _ in range(2)]
        assert [type(item.data) for item in items if isinstance(item, Event)] == [ProfileView, PersonView]

    async def test_signals_have_no_cursor(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome("e0", caught_up=False)
        status = {"user_id": THEM, "status": "away", "status_text": "", "online": True, "last_activity": None}
        await peer.send({"type": "signal", "event": "presence", "data": status})
        assert await anext(stream) == Signal("presence", StatusView(THEM, "away", "", True, None))

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("poll.created", {"question": "?"}),
            ("message.created", {"unlike": "a message"}),
            ("profile.updated", [1, 2]),
        ],
    )
    async def test_unknown_event_is_returned_undecoded(self, fake: Fake, client: Client, name: str, data: Any) -> None:
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome("e0", caught_up=False)
        await peer.send({"type": "weather", "sun": True})
        await peer.event(1, name, data)
        assert await anext(stream) == Event("e1", name, AT, data)

    async def test_stream_decodes_messagepack(self, fake: Fake) -> None:
        async with fake.client(encoding="msgpack") as client:
            stream = client.stream("e0")
            stream.start()
            peer = await fake.socket()
            assert peer.connection.subprotocol == "messenger.msgpack"
            await peer.welcome()
            await peer.event(1)
            assert await take(stream, 2) == ["e0", "e1"]
            asking = asyncio.create_task(stream.request("ping", None))
            await peer.reply(await peer.asked(), {"a": 1})
            assert await asking == {"a": 1}

    async def test_closed_stream_yields_no_items(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        async with stream:
            await (await fake.socket()).welcome()
            await take(stream, 1)
        assert [item async for item in stream] == []
        assert stream.status == "closed"


class TestStreamResync:
    async def test_resync_restarts_stream_at_cursor(self, fake: Fake, client: Client) -> None:
        kept: list[str] = []
        stream = client.stream("e1", on_cursor=kept.append)
        stream.start()
        peer = await fake.socket()
        await peer.welcome("e1", caught_up=False)
        await peer.send({"type": "resync", "cursor": "e90"})
        assert await anext(stream) == Resync("e90")
        # Until the application has loaded, a crash must lead to another resync.
        assert kept == []
        await peer.event(91)
        assert await take(stream, 1) == ["e91"]
        assert kept == ["e90"]

    async def test_resync_allows_repeated_cursors(self, fake: Fake, client: Client) -> None:
        # A restored database continues at an older position.
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome("e0", caught_up=False)
        await peer.event(5)
        await peer.send({"type": "resync", "cursor": "e4"})
        await peer.event(5, data=message_data(7))
        assert await take(stream, 3) == ["e5", "e4", "e5"]
