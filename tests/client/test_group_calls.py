"""Calls for groups over HTTP: what they send, and how they read the responses."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import httpx
import pytest

from messenger.client import ApiError, Client, Timing, Unreachable
from messenger.schemas.groups import GroupPatch, GroupPreview, GroupView
from tests.client.fake import Fake, refused
from tests.client.wire import AT, GROUP, ME, THEM, group_data, history_data, member_data, message_data, preview_data

MESSAGE = message_data(1)["id"]
LINK = {
    "id": "01a20419-0000-7000-8000-000000000001",
    "token": "secret",
    "name": None,
    "approval": False,
    "created_by": ME,
    "created_at": AT,
    "expires_at": None,
    "max_uses": None,
    "uses": 0,
    "pending": 0,
}


class TestGroups:
    async def test_creation_keeps_idempotency_key(self, fake: Fake, client: Client) -> None:
        created = {"group": group_data(), "results": [{"user_id": THEM, "outcome": "invited"}]}
        fake.on("POST", "/groups", httpx.ReadTimeout("lost"), httpx.Response(201, json=created))
        made = await client.create_group("Reading group", invite=[THEM])
        assert (made.group.id, made.results[0].outcome) == (GROUP, "invited")
        assert len({call.headers["idempotency-key"] for call in fake.calls}) == 1
        assert json.loads(fake.calls[0].content)["invite"] == [THEM]

    @pytest.mark.parametrize(("data", "kind"), [(group_data(), GroupView), (preview_data(), GroupPreview)])
    async def test_group_is_view_or_preview(self, fake: Fake, client: Client, data: object, kind: type) -> None:
        fake.on("GET", f"/groups/{GROUP}", httpx.Response(200, json=data))
        assert isinstance(await client.group(GROUP), kind)

    async def test_update_names_version(self, fake: Fake, client: Client) -> None:
        fake.on("PATCH", f"/groups/{GROUP}", httpx.Response(200, json=group_data()))
        await client.update_group(GROUP, GroupPatch(name="Readers"), version=5)
        assert fake.calls[0].headers["if-match"] == '"5"'
        assert json.loads(fake.calls[0].content) == {"name": "Readers"}
        await client.update_group(GROUP, GroupPatch(name="Readers"))
        assert "if-match" not in fake.calls[1].headers

    async def test_update_with_version_is_sent_once(self, fake: Fake, client: Client) -> None:
        fake.on("PATCH", f"/groups/{GROUP}", httpx.ReadTimeout("lost"))
        with pytest.raises(Unreachable):
            await client.update_group(GROUP, GroupPatch(name="Readers"), version=5)
        assert len(fake.calls) == 1

    async def test_password_of_deletion_is_sent_once(self, fake: Fake, client: Client) -> None:
        fake.on("DELETE", f"/groups/{GROUP}", httpx.ReadTimeout("lost"))
        with pytest.raises(Unreachable):
            await client.delete_group(GROUP, "secret")
        assert len(fake.calls) == 1

    async def test_members_are_loaded_to_the_end(self, fake: Fake, client: Client) -> None:
        def page(request: httpx.Request) -> httpx.Response:
            after = int(request.url.params.get("cursor", "0.0").rpartition(".")[2])
            following = f"0.{after + 1}" if after < 2 else None
            return httpx.Response(200, json={"items": [member_data(after + 1)], "next": following})

        fake.on("GET", f"/groups/{GROUP}/members", page)
        found = [member.user.id async for member in client.members(GROUP, role="member", query="u")]
        assert found == [1, 2, 3]
        assert {(call.url.params["role"], call.url.params["query"]) for call in fake.calls} == {("member", "u")}

    async def test_member_patch_has_only_given_fields(self, fake: Fake, client: Client) -> None:
        fake.on("PATCH", f"/groups/{GROUP}/members/{THEM}", httpx.Response(200, json=member_data(THEM)))
        await client.update_member(GROUP, THEM, muted_until=datetime(2026, 11, 22, tzinfo=UTC))
        await client.update_member(GROUP, THEM, role="admin", title=None)
        first, second = (json.loads(call.content) for call in fake.calls)
        assert set(first) == {"muted_until"}
        assert second == {"role": "admin", "title": None}

    async def test_refusal_names_permission(self, fake: Fake, client: Client) -> None:
        fake.on("DELETE", f"/groups/{GROUP}/members/{THEM}", refused(403, "rank_too_low"))
        with pytest.raises(ApiError) as caught:
            await client.remove_member(GROUP, THEM)
        assert caught.value.code == "rank_too_low"


class TestLinks:
    async def test_link_expires_by_default(self, fake: Fake, client: Client) -> None:
        fake.on("POST", f"/groups/{GROUP}/links", httpx.Response(201, json=LINK))
        await client.create_link(GROUP)
        await client.create_link(GROUP, expires_at=None, max_uses=3)
        first, second = (json.loads(call.content) for call in fake.calls)
        assert "expires_at" not in first
        assert (second["expires_at"], second["max_uses"]) == (None, 3)

    @pytest.mark.parametrize(
        ("membership", "group", "kind"),
        [("member", group_data(), GroupView), ("requested", preview_data(membership="requested"), GroupPreview)],
    )
    async def test_joining_returns_group_or_preview(
        self, fake: Fake, client: Client, membership: str, group: object, kind: type
    ) -> None:
        fake.on("POST", "/links/secret/join", httpx.Response(200, json={"membership": membership, "group": group}))
        joined = await client.join_by_link("secret", message="Hello")
        assert joined.membership == membership
        assert isinstance(joined.group, kind)


class TestHistory:
    async def test_page_around_unread_is_requested(self, fake: Fake, client: Client) -> None:
        fake.on("GET", f"/history/{GROUP}", httpx.Response(200, json=history_data([], first_unread=7)))
        assert (await client.history(GROUP, around="unread")).first_unread == 7
        assert dict(fake.calls[0].url.params) == {"limit": "50", "around": "unread"}

    async def test_receipts_have_counts_and_users(self, fake: Fake, client: Client) -> None:
        user = member_data(THEM)["user"]
        page = {
            "items": [{"user": user, "read": True, "delivered": True}],
            "next": None,
            **{"members": 3, "read": 1, "delivered": 2},
        }
        fake.on("GET", f"/messages/{MESSAGE}/receipts", httpx.Response(200, json=page))
        (found,) = [each async for each in client.message_receipts(MESSAGE)]
        assert (found.members, found.read, found.items[0].user.id) == (3, 1, THEM)


class TestSimpleCalls:
    @pytest.mark.parametrize(
        ("call", "method", "path"),
        [
            (lambda client: client.remove_group_avatar(GROUP), "DELETE", f"/groups/{GROUP}/avatar"),
            (lambda client: client.withdraw_invitation(GROUP, THEM), "DELETE", f"/groups/{GROUP}/invitations/{THEM}"),
            (lambda client: client.withdraw_join_request(GROUP), "DELETE", f"/groups/{GROUP}/requests"),
            (lambda client: client.revoke_links(GROUP), "DELETE", f"/groups/{GROUP}/links"),
            (lambda client: client.unban(GROUP, THEM), "DELETE", f"/groups/{GROUP}/bans/{THEM}"),
            (lambda client: client.leave_group(GROUP, successor_id=THEM), "POST", f"/groups/{GROUP}/leave"),
            (lambda client: client.decline_invitation(GROUP, forever=True), "POST", f"/groups/{GROUP}/decline"),
        ],
        ids=["avatar", "invitation", "request", "links", "ban", "leave", "decline"],
    )
    async def test_lost_call_is_repeated(
        self, fake: Fake, client: Client, call: Callable[[Client], Awaitable[None]], method: str, path: str
    ) -> None:
        fake.on(method, path, httpx.ReadTimeout("lost"), httpx.Response(204))
        await call(client)
        assert [(each.method, each.url.path) for each in fake.calls] == [(method, path)] * 2
        assert {each.content for each in fake.calls} <= {
            b"",
            b'{"successor_id":%d}' % THEM,
            b'{"forever":true}',
        }

    async def test_removal_names_messages_to_delete(self, fake: Fake, client: Client) -> None:
        fake.on("DELETE", f"/groups/{GROUP}/members/{THEM}", httpx.Response(204))
        await client.remove_member(GROUP, THEM, messages="day")
        assert fake.calls[0].url.params["messages"] == "day"

    async def test_group_avatar_is_uploaded(self, fake: Fake, client: Client) -> None:
        image = {"key": "k", "url": "/avatars/k", "thumb_url": "/avatars/k_thumb", "placeholder": "p"}
        avatar = {**image, "width": 256, "height": 256}
        fake.on("POST", f"/groups/{GROUP}/avatar", httpx.Response(201, json={"avatar": avatar}))
        assert (await client.upload_group_avatar(GROUP, b"picture")).key == "k"
        assert b"picture" in fake.calls[0].content


async def test_unreachable_group_list_is_retried(fake: Fake) -> None:
    fake.on("GET", "/groups", httpx.ConnectError("no"), httpx.Response(200, json={"items": [], "next": None}))
    async with fake.client(timing=Timing(first_wait=0.01)) as client:
        assert [group async for group in client.groups()] == []
    assert len(fake.calls) == 2
