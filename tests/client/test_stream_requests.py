"""Requests over the stream's socket, and an application that is slower than the stream."""

from __future__ import annotations

import asyncio

import pytest

from messenger.client import (
    Client,
    Timing,
    Unreachable,
)
from tests.client.fake import Fake, take
from tests.client.wire import problem


class TestStreamRequests:
    async def test_replies_match_requests(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome()
        await take(stream, 1)
        asking = [asyncio.create_task(stream.request("ping", {"n": n})) for n in range(3)]
        requests = [await peer.asked() for _ in range(3)]
        for request in reversed(requests):
            await peer.reply(request, request["data"]["n"])
        assert await asyncio.gather(*asking) == [0, 1, 2]

    async def test_cut_fails_pending_requests(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome()
        await take(stream, 1)
        asking = asyncio.create_task(stream.request("ping", None))
        await peer.asked()
        peer.cut()
        with pytest.raises(Unreachable) as caught:
            await asking
        assert caught.value.may_have_happened

    async def test_late_reply_is_ignored(self, fake: Fake) -> None:
        async with fake.client(timing=Timing(reply=0.05)) as client:
            stream = client.stream("e0")
            stream.start()
            peer = await fake.socket()
            await peer.welcome()
            await take(stream, 1)
            asking = asyncio.create_task(stream.request("ping", None))
            request = await peer.asked()
            with pytest.raises(Unreachable):
                await asking
            await peer.reply(request, None)
            await peer.send({"type": "reply", "id": None, "error": problem(400, "malformed_body")})
            await peer.event(1)
            assert await take(stream, 1) == ["e1"]

    async def test_request_without_socket_certainly_did_not_act(self, client: Client) -> None:
        with pytest.raises(Unreachable) as caught:
            await client.stream("e0").request("ping", None)
        assert not caught.value.may_have_happened


class TestSlowApplication:
    async def test_slow_application_disconnects_and_loses_no_event(
        self, fake: Fake, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("messenger.client.deduplication.INBOX_LIMIT", 10)
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome("e0", caught_up=False)
        for number in range(1, 16):
            await peer.event(number)
        await peer.connection.wait_closed()
        assert await take(stream, 10) == [f"e{number}" for number in range(1, 11)]
        peer = await fake.socket()
        assert peer.query == {"cursor": "e10"}
        await peer.welcome("e10", caught_up=False)
        await peer.event(11)
        assert await take(stream, 1) == ["e11"]

    async def test_request_is_answered_while_handling_event(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome()
        for number in range(1, 100):
            await peer.event(number)
        await take(stream, 2)
        asking = asyncio.create_task(stream.request("ping", None))
        await peer.reply(await peer.asked(), "pong")
        assert await asking == "pong"

    async def test_full_inbox_drops_signals_first(
        self, fake: Fake, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("messenger.client.deduplication.INBOX_LIMIT", 4)
        stream = client.stream("e0")
        stream.start()
        peer = await fake.socket()
        await peer.welcome("e0", caught_up=False)
        for number in range(1, 5):
            await peer.event(number)
        await peer.send({"type": "signal", "event": "typing", "data": {}})
        while not stream.has_socket:
            await asyncio.sleep(0)
        asking = asyncio.create_task(stream.request("ping", None))
        await peer.reply(await peer.asked(), "pong")
        assert await asking == "pong"
        assert await take(stream, 4) == ["e1", "e2", "e3", "e4"]
        await peer.event(5)
        assert await take(stream, 1) == ["e5"]
