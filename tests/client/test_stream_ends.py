"""The stream comes back after every end, and stops at those that mean it."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from messenger.client import (
    ApiError,
    Client,
    ConnectedElsewhere,
    EventStream,
    SignedOut,
)
from messenger.client.reconnect import after_close
from messenger.client.socket_link import Closed
from tests.client.fake import QUICK, Fake, take
from tests.client.wire import problem


class TestCloseCodes:
    async def _ended(self, fake: Fake, stream: EventStream, code: int, reason: str = "") -> None:
        stream.start()
        peer = await fake.socket()
        await peer.welcome()
        await anext(stream)
        await peer.close(code, reason)

    async def test_signed_out_renews_once_and_comes_back(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        await self._ended(fake, stream, 4401)
        peer = await fake.socket()
        assert peer.authorization == "Bearer a2"
        await peer.close(4401)
        with pytest.raises(SignedOut):
            await anext(stream)
        assert fake.refreshes == 1
        assert stream.status == "closed"

    async def test_signed_out_for_good(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        fake.refresh = "gone"
        await self._ended(fake, stream, 4401)
        with pytest.raises(SignedOut):
            await anext(stream)
        assert client.tokens is None

    async def test_elsewhere_stops(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        await self._ended(fake, stream, 4409)
        with pytest.raises(ConnectedElsewhere):
            await anext(stream)
        assert fake.handshakes == 1

    async def test_too_many_waits_a_minute(self, fake: Fake, client: Client) -> None:
        await self._ended(fake, client.stream("e0"), 4429)
        await fake.socket()
        (waited,) = fake.sleeps
        assert waited >= 60

    async def test_a_restart_waits_as_it_was_told(self, fake: Fake, client: Client) -> None:
        await self._ended(fake, client.stream("e0"), 1012, "retry_after=7.5")
        await fake.socket()
        assert fake.sleeps == [7.5]

    async def test_silence_comes_back_at_once_then_later(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        await self._ended(fake, stream, 4408)
        peer = await fake.socket()
        assert fake.sleeps == [0.0]
        await peer.close(4408)
        await fake.socket()
        assert len(fake.sleeps) == 2

    @pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 4999])
    def test_all_others_come_back_with_a_growing_wait(self, code: int) -> None:
        step = after_close(Closed(code, ""), QUICK, failures=0)
        assert (step.action, step.seconds, step.exactly) == ("again", 0.0, False)

    def test_a_restart_without_a_time(self) -> None:
        assert after_close(Closed(1012, "soon"), QUICK, failures=0).exactly is False


class TestHandshake:
    async def test_an_old_token_is_renewed(self, fake: Fake, client: Client) -> None:
        fake.refusals = [(401, problem(401, "unauthenticated"), {})]
        stream = client.stream("e0")
        stream.start()
        assert (await fake.socket()).authorization == "Bearer a2"

    async def test_a_fresh_one_that_is_refused_is_the_end(self, fake: Fake, client: Client) -> None:
        fake.refusals = [(401, problem(401, "unauthenticated"), {})] * 2
        with pytest.raises(SignedOut):
            await anext(client.stream("e0"))

    async def test_a_bad_cursor_is_the_end(self, fake: Fake, client: Client) -> None:
        fake.refusals = [(400, problem(400, "validation_failed"), {})]
        with pytest.raises(ApiError) as caught:
            await anext(client.stream("nonsense"))
        assert caught.value.code == "validation_failed"

    async def test_busy_is_waited_for(self, fake: Fake, client: Client) -> None:
        fake.refusals = [(503, problem(503, "unavailable"), {"Retry-After": "5"})]
        client.stream("e0").start()
        await fake.socket()
        (waited,) = fake.sleeps
        assert waited >= 5

    async def test_nobody_there_is_waited_for(self, fake: Fake, client: Client) -> None:
        await fake.stop()
        statuses: list[str] = []
        stream = client.stream("e0", on_status=statuses.append)
        stream.start()
        while "waiting" not in statuses:
            await asyncio.sleep(0)
        await fake.restart()
        peer = await fake.socket()
        await peer.welcome()
        assert await take(stream, 1) == ["e0"]

    async def test_a_ticket_instead_of_the_header(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/ws/ticket", httpx.Response(201, json={"ticket": "t1", "expires_in": 30}))
        client.stream("e0", with_ticket=True).start()
        peer = await fake.socket()
        assert peer.query == {"cursor": "e0", "ticket": "t1"}
        assert peer.authorization is None
