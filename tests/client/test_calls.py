"""Calls over HTTP: refusals as exceptions, and repetition of what may be repeated."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import msgspec
import pytest

from messenger.client import ApiError, Client, Timing, UnexpectedResponse, Unreachable
from messenger.client.http import retry_seconds
from messenger.client.retrying import Backoff
from tests.client.fake import QUICK, Fake, refused
from tests.client.wire import THEM, message_data, problem

RELATION = httpx.Response(200, json={"target_id": THEM, "state": "pending_out"})
NOTHING = httpx.Response(200, json={"items": [], "next": None})


class TestRefusals:
    async def test_a_problem_is_an_exception_with_all_that_it_says(self, fake: Fake, client: Client) -> None:
        told = problem(400, "validation_failed", detail="no", missing=["x"])
        told["errors"] = [{"field": "target_id", "code": "wrong_type", "message": "expected int"}]
        fake.on("GET", f"/users/{THEM}", httpx.Response(400, json=told))
        with pytest.raises(ApiError) as caught:
            await client.user(THEM)
        error = caught.value
        assert (error.status, error.code, error.detail) == (400, "validation_failed", "no")
        assert error.errors[0].field == "target_id"
        assert error.extra == {"missing": ["x"]}
        assert not error.may_have_happened

    async def test_a_proxys_page_is_one_too(self, fake: Fake) -> None:
        fake.on("GET", "/statuses", httpx.Response(502, text="<html>Bad gateway</html>"))
        async with fake.client(timing=Timing(patience=0)) as client:
            with pytest.raises(ApiError) as caught:
                await client.statuses()
        assert caught.value.code == "http_502"
        assert caught.value.may_have_happened

    async def test_a_good_answer_of_somebody_else_is_none(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", httpx.Response(200, text="<html>Sign in to this hotel's network</html>"))
        with pytest.raises(UnexpectedResponse):
            await client.statuses()

    async def test_an_answer_without_a_needed_field_is_none(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", httpx.Response(200, json={"things": []}))
        with pytest.raises(UnexpectedResponse):
            await client.statuses()

    async def test_unknown_fields_of_a_newer_server_are_ignored(self, fake: Fake, client: Client) -> None:
        newer = httpx.Response(200, json={"target_id": THEM, "state": "mutual", "since_when": 5, "more": {}})
        fake.on("POST", "/block", newer)
        assert (await client.block(THEM)).state == "mutual"


class TestRepetition:
    async def test_waits_as_long_as_the_server_asks(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", refused(429, "rate_limited", {"Retry-After": "7"}), NOTHING)
        assert await client.statuses() == []
        (waited,) = fake.sleeps
        assert 7 <= waited <= 7 + QUICK.first_wait

    async def test_does_not_wait_longer_than_its_patience(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", refused(429, "rate_limited", {"Retry-After": "31"}))
        with pytest.raises(ApiError) as caught:
            await client.statuses()
        assert caught.value.retry_after == 31
        assert fake.sleeps == []

    async def test_goes_on_through_faults_and_cuts(self, fake: Fake, client: Client) -> None:
        cut = httpx.ReadError("cut")
        fake.on("GET", "/statuses", cut, refused(503, "database_unavailable"), httpx.ConnectError("no"), NOTHING)
        assert await client.statuses() == []
        assert len(fake.calls) == 4

    async def test_waits_grow_to_their_limit(self) -> None:
        backoff = Backoff(QUICK, draw=lambda: 1.0)
        assert [backoff.next() for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        backoff.reset()
        assert backoff.next() == 0.5

    async def test_waits_are_drawn_from_zero_on(self) -> None:
        assert Backoff(QUICK, draw=lambda: 0.0).next() == 0.0

    async def test_a_refusal_is_not_repeated(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/block", refused(404, "peer_not_found"))
        with pytest.raises(ApiError):
            await client.block(THEM)
        assert len(fake.calls) == 1

    async def test_what_makes_something_keeps_its_key(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/subscribe", httpx.ReadTimeout("lost"), refused(503, "unavailable"), RELATION)
        await client.subscribe(THEM)
        assert len({call.headers["idempotency-key"] for call in fake.calls}) == 1
        fake.on("POST", "/subscribe", RELATION)
        await client.subscribe(THEM)
        assert fake.calls[-1].headers["idempotency-key"] != fake.calls[0].headers["idempotency-key"]

    async def test_a_password_is_sent_once(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/password", httpx.ReadTimeout("lost"))
        with pytest.raises(Unreachable) as caught:
            await client.change_password("old", "new")
        assert caught.value.may_have_happened
        assert len(fake.calls) == 1

    async def test_who_was_never_reached_has_done_nothing(self, fake: Fake) -> None:
        fake.on("GET", "/statuses", httpx.ConnectError("refused"))
        async with fake.client(timing=Timing(patience=0)) as client:
            with pytest.raises(Unreachable) as caught:
                await client.statuses()
        assert not caught.value.may_have_happened


class TestRetryAfter:
    def test_seconds(self) -> None:
        assert retry_seconds("12") == 12.0

    def test_date(self) -> None:
        at = datetime.now(UTC) + timedelta(seconds=100)
        seconds = retry_seconds(format_datetime(at, usegmt=True))
        assert seconds is not None
        assert 95 < seconds <= 100

    def test_past_date_is_now(self) -> None:
        assert retry_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0

    def test_nonsense_is_nothing(self) -> None:
        assert retry_seconds("soon") is None


class TestPages:
    async def test_contacts_are_loaded_to_the_end(self, fake: Fake, client: Client) -> None:
        def page(request: httpx.Request) -> httpx.Response:
            after = int(request.url.params.get("cursor", 0))
            user = {"id": after + 1, "username": "u", "name": "U", "avatar": None}
            contact = {"user": user, "state": "mutual", "alias": None, "message": None, "since": "2026-11-22"}
            return httpx.Response(200, json={"items": [contact], "next": str(after + 1) if after < 2 else None})

        fake.on("GET", "/contacts", page)
        assert [contact.user.id async for contact in client.contacts(state="mutual")] == [1, 2, 3]
        assert {call.url.params["state"] for call in fake.calls} == {"mutual"}

    async def test_whole_history(self, fake: Fake, client: Client) -> None:
        def page(request: httpx.Request) -> httpx.Response:
            after = int(request.url.params["after"])
            return httpx.Response(
                200,
                json={"items": [message_data(after + 1)], "next": after + 1 if after < 2 else None, "last_seq": 3},
            )

        fake.on("GET", f"/history/{THEM}", page)
        assert [message.seq for message in await client.whole_history(THEM)] == [1, 2, 3]


class TestMessagePack:
    async def test_bodies_and_answers(self, fake: Fake) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            assert request.headers["content-type"] == request.headers["accept"] == "application/msgpack"
            assert msgspec.msgpack.decode(request.content) == {"target_id": THEM}
            content = msgspec.msgpack.encode({"target_id": THEM, "state": "blocked"})
            return httpx.Response(200, content=content, headers={"content-type": "application/msgpack"})

        fake.on("POST", "/block", answer)
        async with fake.client(encoding="msgpack") as client:
            assert (await client.block(THEM)).state == "blocked"

    async def test_problems_stay_readable(self, fake: Fake) -> None:
        fake.on("POST", "/block", refused(404, "peer_not_found"))
        async with fake.client(encoding="msgpack") as client:
            with pytest.raises(ApiError) as caught:
                await client.block(THEM)
        assert caught.value.code == "peer_not_found"


async def test_upload_is_a_form(fake: Fake, client: Client) -> None:
    avatar = {
        "key": "k",
        "url": "/avatars/k",
        "thumb_url": "/avatars/k_thumb",
        "width": 1,
        "height": 1,
        "placeholder": "",
    }
    fake.on("POST", "/avatar/upload", httpx.Response(201, json={"avatar": avatar}))
    assert (await client.upload_avatar(b"\x89PNG")).key == "k"
    assert fake.calls[0].headers["content-type"].startswith("multipart/form-data")
    assert b'name="file"' in fake.calls[0].content


async def test_patches_say_only_what_is_given(fake: Fake, client: Client) -> None:
    view = {
        "target": {"id": THEM, "username": "u", "name": "U", "avatar": None},
        "last_message": None,
        "last_seq": 0,
        "read_seq": 0,
        "unread": 0,
        "version": 0,
        "muted_until": None,
        "pinned": True,
        "archived": False,
        "expire_after": None,
        "target_receipt": None,
    }
    fake.on("PUT", f"/conversations/{THEM}", httpx.Response(200, json=view))
    await client.update_conversation(THEM, pinned=True, expire_after=None)
    assert json.loads(fake.calls[0].content) == {"pinned": True, "expire_after": None}
