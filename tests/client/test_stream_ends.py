"""The stream reconnects after most ends, and stops after those that are final."""

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

    async def test_signed_out_close_renews_token_once_and_reconnects(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        await self._ended(fake, stream, 4401)
        peer = await fake.socket()
        assert peer.authorization == "Bearer a2"
        await peer.close(4401)
        with pytest.raises(SignedOut):
            await anext(stream)
        assert fake.refreshes == 1
        assert stream.status == "closed"

    async def test_second_signed_out_close_ends_stream(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        fake.refresh = "gone"
        await self._ended(fake, stream, 4401)
        with pytest.raises(SignedOut):
            await anext(stream)
        assert client.tokens is None

    async def test_close_by_newer_socket_ends_stream(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        await self._ended(fake, stream, 4409)
        with pytest.raises(ConnectedElsewhere):
            await anext(stream)
        assert fake.handshakes == 1

    async def test_rate_limit_close_waits_a_minute(self, fake: Fake, client: Client) -> None:
        await self._ended(fake, client.stream("e0"), 4429)
        await fake.socket()
        (waited,) = fake.sleeps
        assert waited >= 60

    async def test_restart_close_waits_for_retry_after(self, fake: Fake, client: Client) -> None:
        await self._ended(fake, client.stream("e0"), 1012, "retry_after=7.5")
        await fake.socket()
        assert fake.sleeps == [7.5]

    async def test_silence_close_reconnects_at_once_then_backs_off(self, fake: Fake, client: Client) -> None:
        stream = client.stream("e0")
        await self._ended(fake, stream, 4408)
        peer = await fake.socket()
        assert fake.sleeps == [0.0]
        await peer.close(4408)
        await fake.socket()
        assert len(fake.sleeps) == 2

    @pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 4999])
    def test_other_closes_reconnect_with_backoff(self, code: int) -> None:
        step = after_close(Closed(code, ""), QUICK, failures=0)
        assert (step.action, step.seconds, step.exactly) == ("again", 0.0, False)

    def test_restart_close_without_time_backs_off(self) -> None:
        assert after_close(Closed(1012, "soon"), QUICK, failures=0).exactly is False


class TestRefusedHandshake:
    async def test_expired_token_is_renewed_at_handshake(self, fake: Fake, client: Client) -> None:
        fake.refusals = [(401, problem(401, "unauthenticated"), {})]
        stream = client.stream("e0")
        stream.start()
        assert (await fake.socket()).authorization == "Bearer a2"

    async def test_refused_renewed_token_ends_stream(self, fake: Fake, client: Client) -> None:
        fake.refusals = [(401, problem(401, "unauthenticated"), {})] * 2
        with pytest.raises(SignedOut):
            await anext(client.stream("e0"))

    async def test_invalid_cursor_ends_stream(self, fake: Fake, client: Client) -> None:
        fake.refusals = [(400, problem(400, "validation_failed"), {})]
        with pytest.raises(ApiError) as caught:
            await anext(client.stream("nonsense"))
        assert caught.value.code == "validation_failed"

    async def test_busy_server_is_retried(self, fake: Fake, client: Client) -> None:
        fake.refusals = [(503, problem(503, "unavailable"), {"Retry-After": "5"})]
        client.stream("e0").start()
        await fake.socket()
        (waited,) = fake.sleeps
        assert waited >= 5

    async def test_unreachable_server_is_retried(self, fake: Fake, client: Client) -> None:
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

    async def test_ticket_replaces_authorization_header(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/ws/ticket", httpx.Response(201, json={"ticket": "t1", "expires_in": 30}))
        client.stream("e0", with_ticket=True).start()
        peer = await fake.socket()
        assert peer.query == {"cursor": "e0", "ticket": "t1"}
        assert peer.authorization is None


class TestClosing:
    async def test_stream_closed_before_first_step_ends(self, client: Client) -> None:
        stream = client.stream("e0")
        waiting = asyncio.create_task(anext(stream, None))
        await stream.aclose()
        async with asyncio.timeout(5):
            assert await waiting is None
        assert stream.status == "closed"
