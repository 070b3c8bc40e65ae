"""Sending keeps one `client_id` through all retries, and reports no false failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from messenger.client import ApiError, Client, EventStream, OutcomeUnknown, SignedOut, Timing, Unreachable
from tests.client.fake import QUICK, Fake, Peer, refused
from tests.client.wire import ME, THEM, message_data, problem

SENT = httpx.Response(201, json=message_data(1, sender_id=ME))
HASTY = Timing(connect=2.0, answer=2.0, reply=0.05, first_wait=0.5, stable=60.0)


class TestSendOverHttp:
    async def test_client_id_is_kept_through_all_retries(self, fake: Fake, client: Client) -> None:
        fake.on(
            "POST",
            "/messages",
            httpx.ReadTimeout("lost"),
            httpx.RemoteProtocolError("cut"),
            refused(503, "unavailable", {"Retry-After": "3"}),
            refused(500, "internal_error"),
            refused(429, "rate_limited", {"Retry-After": "9"}),
            httpx.ConnectError("down"),
            SENT,
        )
        message = await client.send(THEM, "hello")
        assert message.seq == 1
        assert len({draft["client_id"] for draft in fake.said("/messages")}) == 1
        assert len(fake.said("/messages")) == 7
        assert fake.sleeps[2] >= 3
        assert fake.sleeps[4] >= 9

    async def test_messages_have_distinct_client_ids(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/messages", SENT)
        await client.send(THEM, "hello")
        await client.send(THEM, "hello")
        assert len({draft["client_id"] for draft in fake.said("/messages")}) == 2

    async def test_given_client_id_is_used(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/messages", SENT)
        await client.send(THEM, "hello", client_id="mine", mentions=[ME])
        (draft,) = fake.said("/messages")
        assert draft["client_id"] == "mine"
        assert draft["mentions"] == [ME]

    async def test_token_renewal_keeps_client_id(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/messages", httpx.ReadTimeout("lost"), SENT)
        fake.access = "another"
        await client.send(THEM, "hello")
        assert fake.refreshes == 1
        assert len({draft["client_id"] for draft in fake.said("/messages")}) == 1

    async def test_refused_send_raises_api_error(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/messages", refused(403, "not_a_contact"))
        with pytest.raises(ApiError) as caught:
            await client.send(THEM, "hello")
        assert caught.value.code == "not_a_contact"

    async def test_timeout_after_doubtful_attempt_raises_outcome_unknown(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/messages", httpx.ReadTimeout("lost"), httpx.ConnectError("down"))
        with pytest.raises(OutcomeUnknown) as caught:
            await client.send(THEM, "hello", within=0.05)
        assert caught.value.client_id == fake.said("/messages")[0]["client_id"]
        assert caught.value.may_have_happened

    async def test_timeout_without_connection_raises_unreachable(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/messages", httpx.ConnectError("down"))
        with pytest.raises(Unreachable) as caught:
            await client.send(THEM, "hello", within=0.05)
        assert not caught.value.may_have_happened

    async def test_refusal_after_doubtful_attempt_raises_outcome_unknown(self, fake: Fake, client: Client) -> None:
        # The server may still work on the first attempt when it refuses the second.
        fake.on("POST", "/messages", httpx.ReadTimeout("lost"), refused(403, "not_a_contact"))
        with pytest.raises(OutcomeUnknown):
            await client.send(THEM, "hello")

    async def test_size_refusal_after_doubtful_attempt_raises_api_error(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/messages", httpx.ReadTimeout("lost"), refused(413, "message_too_large"))
        with pytest.raises(ApiError) as caught:
            await client.send(THEM, "hello")
        assert caught.value.code == "message_too_large"

    async def test_signed_out_device_raises_signed_out(self, fake: Fake, client: Client) -> None:
        fake.access, fake.refresh = "another", "another"
        with pytest.raises(SignedOut):
            await client.send(THEM, "hello")


@pytest_asyncio.fixture(loop_scope="session")
async def hasty(fake: Fake) -> AsyncIterator[Client]:
    """A client that waits 50 ms for a reply."""
    async with fake.client(timing=HASTY) as client:
        yield client


async def _live(fake: Fake, stream: EventStream) -> Peer:
    stream.start()
    peer = await fake.socket()
    await peer.welcome()
    assert type(await anext(stream)).__name__ == "CaughtUp"
    return peer


class TestSendOverSocket:
    async def test_live_socket_sends_message(self, fake: Fake, client: Client) -> None:
        peer = await _live(fake, client.stream())
        sending = asyncio.create_task(client.send(THEM, "hello"))
        request = await peer.asked()
        assert request["method"] == "message.send"
        assert request["data"]["body"] == "hello"
        await peer.reply(request, message_data(1, sender_id=ME))
        assert (await sending).sender_id == ME
        assert fake.calls == []

    async def test_refusal_over_socket_raises_api_error(self, fake: Fake, client: Client) -> None:
        peer = await _live(fake, client.stream())
        sending = asyncio.create_task(client.send(THEM, "hello"))
        await peer.reply(await peer.asked(), error=problem(403, "not_a_contact"))
        with pytest.raises(ApiError) as caught:
            await sending
        assert caught.value.code == "not_a_contact"

    async def test_cut_before_reply_retries_over_http_with_same_client_id(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/messages", SENT)
        peer = await _live(fake, client.stream())
        sending = asyncio.create_task(client.send(THEM, "hello"))
        request = await peer.asked()
        peer.cut()
        await sending
        assert [draft["client_id"] for draft in fake.said("/messages")] == [request["data"]["client_id"]]

    async def test_missing_reply_retries_over_http(self, fake: Fake, hasty: Client) -> None:
        fake.on("POST", "/messages", SENT)
        peer = await _live(fake, hasty.stream())
        sending = asyncio.create_task(hasty.send(THEM, "hello"))
        request = await peer.asked()
        await sending
        assert [draft["client_id"] for draft in fake.said("/messages")] == [request["data"]["client_id"]]

    async def test_signed_out_socket_renews_token_over_http(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/messages", SENT)
        peer = await _live(fake, client.stream())
        fake.access = "another"
        sending = asyncio.create_task(client.send(THEM, "hello"))
        await peer.reply(await peer.asked(), error=problem(401, "unauthenticated"))
        await sending
        assert fake.refreshes == 1

    async def test_reconnected_socket_sends_waiting_message_at_once(self, fake: Fake) -> None:
        # Real time: without the event it would sleep for up to half a minute.
        slow = Timing(connect=2.0, answer=2.0, reply=2.0, first_wait=1000.0, longest_wait=1000.0, stable=60.0)
        fake.on("POST", "/messages", httpx.ConnectError("down"), SENT)
        async with fake.client(timing=slow, sleep=asyncio.sleep) as client:
            sending = asyncio.create_task(client.send(THEM, "hello", within=None))
            while not fake.said("/messages"):
                await asyncio.sleep(0)
            await _live(fake, client.stream())
            assert (await sending).seq == 1


async def test_presence_and_receipts_use_http_without_socket(fake: Fake, client: Client) -> None:
    fake.on("POST", "/receipts", httpx.Response(204))
    await client.mark(THEM, read_seq=4)
    assert fake.said("/receipts") == [{"target_id": THEM, "read_seq": 4, "delivered_seq": None}]
    await client.typing(THEM)
    assert len(fake.calls) == 1


async def test_send_timeout_sets_patience(fake: Fake, client: Client) -> None:
    assert QUICK.patience == 30.0
    fake.on("POST", "/messages", refused(429, "rate_limited", {"Retry-After": "40"}), SENT)
    assert (await client.send(THEM, "hello", within=60)).seq == 1
