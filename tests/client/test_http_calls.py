"""Calls over HTTP: refusals as exceptions, and retries of calls that may be repeated."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import UUID

import httpx
import msgspec
import pytest

from messenger.client import ApiError, Client, Timing, UnexpectedResponse, Unreachable
from messenger.client.codec import EventFrame, event_of
from messenger.client.http import retry_seconds
from messenger.client.retrying import Backoff
from messenger.schemas.messages import MessageView
from tests.client.fake import QUICK, Fake, refused
from tests.client.wire import AT, THEM, history_data, message_data, problem

RELATION = httpx.Response(200, json={"target_id": THEM, "state": "pending_out"})
NOTHING = httpx.Response(200, json={"items": [], "next": None})


class TestErrorResponses:
    async def test_problem_raises_api_error_with_all_fields(self, fake: Fake, client: Client) -> None:
        body = problem(400, "validation_failed", detail="no", missing=["x"])
        body["errors"] = [{"field": "target_id", "code": "wrong_type", "message": "expected int"}]
        fake.on("GET", f"/users/{THEM}", httpx.Response(400, json=body))
        with pytest.raises(ApiError) as caught:
            await client.user(THEM)
        error = caught.value
        assert (error.status, error.code, error.detail) == (400, "validation_failed", "no")
        assert error.errors[0].field == "target_id"
        assert error.extra == {"missing": ["x"]}
        assert not error.may_have_happened

    async def test_proxy_error_page_raises_api_error(self, fake: Fake) -> None:
        fake.on("GET", "/statuses", httpx.Response(502, text="<html>Bad gateway</html>"))
        async with fake.client(timing=Timing(patience=0)) as client:
            with pytest.raises(ApiError) as caught:
                await client.statuses()
        assert caught.value.code == "http_502"
        assert caught.value.may_have_happened

    async def test_foreign_success_page_raises_unexpected_answer(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", httpx.Response(200, text="<html>Sign in to this hotel's network</html>"))
        with pytest.raises(UnexpectedResponse):
            await client.statuses()

    async def test_answer_without_required_field_raises_unexpected_answer(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", httpx.Response(200, json={"things": []}))
        with pytest.raises(UnexpectedResponse):
            await client.statuses()

    async def test_unknown_fields_of_a_newer_server_are_ignored(self, fake: Fake, client: Client) -> None:
        newer = httpx.Response(200, json={"target_id": THEM, "state": "mutual", "since_when": 5, "more": {}})
        fake.on("POST", "/block", newer)
        assert (await client.block(THEM)).state == "mutual"


class TestRetries:
    async def test_retry_waits_for_retry_after(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", refused(429, "rate_limited", {"Retry-After": "7"}), NOTHING)
        assert await client.statuses() == []
        (waited,) = fake.sleeps
        assert 7 <= waited <= 7 + QUICK.first_wait

    async def test_retry_after_beyond_patience_is_not_awaited(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", refused(429, "rate_limited", {"Retry-After": "31"}))
        with pytest.raises(ApiError) as caught:
            await client.statuses()
        assert caught.value.retry_after == 31
        assert fake.sleeps == []

    async def test_call_is_retried_after_faults_and_cuts(self, fake: Fake, client: Client) -> None:
        cut = httpx.ReadError("cut")
        fake.on("GET", "/statuses", cut, refused(503, "database_unavailable"), httpx.ConnectError("no"), NOTHING)
        assert await client.statuses() == []
        assert len(fake.calls) == 4

    async def test_backoff_grows_to_maximum(self) -> None:
        backoff = Backoff(QUICK, draw=lambda: 1.0)
        assert [backoff.next() for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        backoff.reset()
        assert backoff.next() == 0.5

    async def test_backoff_is_drawn_from_zero(self) -> None:
        assert Backoff(QUICK, draw=lambda: 0.0).next() == 0.0

    async def test_refusal_is_not_retried(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/block", refused(404, "peer_not_found"))
        with pytest.raises(ApiError):
            await client.block(THEM)
        assert len(fake.calls) == 1

    async def test_retried_creation_keeps_idempotency_key(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/subscribe", httpx.ReadTimeout("lost"), refused(503, "unavailable"), RELATION)
        await client.subscribe(THEM)
        assert len({call.headers["idempotency-key"] for call in fake.calls}) == 1
        fake.on("POST", "/subscribe", RELATION)
        await client.subscribe(THEM)
        assert fake.calls[-1].headers["idempotency-key"] != fake.calls[0].headers["idempotency-key"]

    async def test_password_is_sent_once(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/password", httpx.ReadTimeout("lost"))
        with pytest.raises(Unreachable) as caught:
            await client.change_password("old", "new")
        assert caught.value.may_have_happened
        assert len(fake.calls) == 1

    async def test_unreachable_server_certainly_did_not_act(self, fake: Fake) -> None:
        fake.on("GET", "/statuses", httpx.ConnectError("refused"))
        async with fake.client(timing=Timing(patience=0)) as client:
            with pytest.raises(Unreachable) as caught:
                await client.statuses()
        assert not caught.value.may_have_happened


class TestRetryAfter:
    def test_retry_after_in_seconds_is_parsed(self) -> None:
        assert retry_seconds("12") == 12.0

    def test_retry_after_as_date_is_parsed(self) -> None:
        at = datetime.now(UTC) + timedelta(seconds=100)
        seconds = retry_seconds(format_datetime(at, usegmt=True))
        assert seconds is not None
        assert 95 < seconds <= 100

    def test_retry_after_in_past_means_now(self) -> None:
        assert retry_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0

    def test_invalid_retry_after_is_ignored(self) -> None:
        assert retry_seconds("soon") is None


class TestPagedLists:
    async def test_contacts_are_loaded_to_the_end(self, fake: Fake, client: Client) -> None:
        def page(request: httpx.Request) -> httpx.Response:
            after = int(request.url.params.get("cursor", 0))
            user = {"id": after + 1, "username": "u", "name": "U", "avatar": None}
            contact = {"user": user, "state": "mutual", "alias": None, "message": None, "since": "2026-11-22"}
            return httpx.Response(200, json={"items": [contact], "next": str(after + 1) if after < 2 else None})

        fake.on("GET", "/contacts", page)
        assert [contact.user.id async for contact in client.contacts(state="mutual")] == [1, 2, 3]
        assert {call.url.params["state"] for call in fake.calls} == {"mutual"}

    async def test_whole_history_is_loaded(self, fake: Fake, client: Client) -> None:
        def page(request: httpx.Request) -> httpx.Response:
            after = int(request.url.params["after"])
            items, following = [message_data(after + 1)], after + 1 if after < 2 else None
            return httpx.Response(200, json=history_data(items, next=following, last_seq=3))

        fake.on("GET", f"/history/{THEM}", page)
        assert [message.seq for message in await client.whole_history(THEM)] == [1, 2, 3]


class TestMessagePack:
    async def test_bodies_and_answers_use_msgpack(self, fake: Fake) -> None:
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


async def test_patches_contain_only_given_fields(fake: Fake, client: Client) -> None:
    view = {
        "target": {"id": THEM, "kind": "user", "username": "u", "name": "U", "avatar": None},
        "last_message": None,
        "last_seq": 0,
        "read_seq": 0,
        "unread": 0,
        "version": 0,
        "muted_until": None,
        "pinned": True,
        "archived": False,
        "expire_after": None,
        "group": None,
        "target_receipt": None,
    }
    fake.on("PUT", f"/conversations/{THEM}", httpx.Response(200, json=view))
    await client.update_conversation(THEM, pinned=True, expire_after=None)
    assert json.loads(fake.calls[0].content) == {"pinned": True, "expire_after": None}


class TestEarlierRelease:
    """What the release before groups sends, which serves while this one replaces it."""

    async def test_message_of_response_is_read(self, fake: Fake, client: Client) -> None:
        data = message_data(1)
        del data["deleted_by"]
        fake.on("GET", f"/messages/{data['id']}", httpx.Response(200, json=data))
        assert (await client.message(UUID(data["id"]))).deleted_by is None

    def test_message_of_event_is_read(self) -> None:
        data = message_data(1)
        del data["deleted_by"]
        assert isinstance(event_of(EventFrame("e1", "message.created", AT, data)).data, MessageView)
