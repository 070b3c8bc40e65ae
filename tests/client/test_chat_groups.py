"""Groups in the terminal chat, driven by keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client.fake import Fake, refused
from tests.client.screen import chatting, live, screen_of, seen, serve, until
from tests.client.wire import (
    AT,
    GROUP,
    ME,
    PERSON,
    THEM,
    group_data,
    history_data,
    member_data,
    message_data,
    notice_data,
    preview_data,
)

LINK = {
    **{"id": "01a20419-0000-7000-8000-000000000001", "token": "secret", "name": None, "approval": False},
    **{"created_by": ME, "created_at": AT, "expires_at": None, "max_uses": None, "uses": 0, "pending": 0},
}
BOB = {"id": THEM, "username": "bob", "name": "Bob", "avatar": None}


def conversation(**group: Any) -> dict[str, Any]:
    """A group's conversation with one message, which is read."""
    return {
        "target": {"id": GROUP, "kind": "group", "username": None, "name": "Reading group", "avatar": None},
        "last_message": message_data(1, target_id=GROUP),
        **{"last_seq": 1, "read_seq": 1, "unread": 0, "version": 2},
        **{"muted_until": None, "pinned": False, "archived": False, "expire_after": None},
        "group": group_data(**group),
        "target_receipt": None,
    }


def serve_group(fake: Fake, *notices: dict[str, Any], **group: Any) -> None:
    """Serve what the chat requests of a group that the user is a member of."""
    serve(fake, conversations=[conversation(**group)])
    page = history_data([message_data(1, target_id=GROUP)], notices=list(notices))
    fake.on("GET", f"/history/{GROUP}", httpx.Response(200, json=page))
    members = [{**member_data(THEM), "user": BOB, "role": "owner"}, member_data(ME)]
    fake.on("GET", f"/groups/{GROUP}/members", httpx.Response(200, json={"items": members, "next": None}))
    fake.on("GET", "/users", httpx.Response(200, json=PERSON))


class TestTranscript:
    async def test_notices_are_between_messages(self, fake: Fake, tmp_path: Path) -> None:
        serve_group(
            fake,
            notice_data(1, "created"),
            notice_data(2, "renamed", after_seq=1, to="Readers"),
            notice_data(3, "unknown", after_seq=1),
        )
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("down", "enter")
            await seen(pilot, app, "Bob renamed the group to “Readers”")
            text = screen_of(app)
            assert text.index("Bob created") < text.index("Bob message 1") < text.index("Bob renamed")
            assert "2 members" in text

    async def test_removed_member_loses_group(self, fake: Fake, tmp_path: Path) -> None:
        serve_group(fake)
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            await seen(pilot, app, "# Reading group")
            gone = {"group": preview_data(), "notice": notice_data(5, "removed", user_id=ME)}
            await peer.event(1, "group.updated", gone)
            await until(pilot, lambda: "Reading group" not in screen_of(app))


class TestInvitations:
    async def test_invitation_is_accepted_by_key(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        fake.on("POST", f"/groups/{GROUP}/join", httpx.Response(200, json=group_data()))
        fake.on("GET", f"/history/{GROUP}", httpx.Response(200, json=history_data([])))
        members = {"items": [member_data(ME)], "next": None}
        fake.on("GET", f"/groups/{GROUP}/members", httpx.Response(200, json=members))
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            invited = {"group": preview_data(membership="invited"), "inviter": BOB, "message": "Join us", "at": AT}
            await peer.event(1, "group.invited", invited)
            await seen(pilot, app, "Bob invites you")
            await pilot.press("down", "ctrl+y")
            await seen(pilot, app, "you are member")

    async def test_invitation_is_declined_by_key(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        fake.on("POST", f"/groups/{GROUP}/decline", httpx.Response(204))
        async with chatting(fake, tmp_path) as (pilot, app):
            peer = await live(fake, pilot, app)
            invited = {"group": preview_data(membership="invited"), "inviter": BOB, "message": None, "at": AT}
            await peer.event(1, "group.invited", invited)
            await seen(pilot, app, "Bob invites you")
            await pilot.press("down", "ctrl+b")
            await until(pilot, lambda: fake.said(f"/groups/{GROUP}/decline") == [{"forever": False}])


class TestCommands:
    async def test_group_is_created_and_opened(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        created = {"group": group_data(name="Books", me={"role": "owner"}), "results": []}
        fake.on("POST", "/groups", httpx.Response(201, json=created))
        fake.on("GET", f"/history/{GROUP}", httpx.Response(200, json=history_data([])))
        members = {"items": [member_data(ME, role="owner")], "next": None}
        fake.on("GET", f"/groups/{GROUP}/members", httpx.Response(200, json=members))
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("f2", *"create Books", "enter")
            await seen(pilot, app, "you are owner")
            assert fake.said("/groups")[0]["name"] == "Books"

    async def test_members_are_listed(self, fake: Fake, tmp_path: Path) -> None:
        serve_group(fake)
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("down", "enter", "f2", *"members", "enter")
            await seen(pilot, app, "Bob @bob: owner")

    @pytest.mark.parametrize(
        ("command", "request_line", "answer", "shown", "said"),
        [
            (
                "invite bob",
                ("POST", "/invitations"),
                {"results": [{"user_id": THEM, "outcome": "invited"}]},
                "Bob is invited",
                {"user_ids": [THEM], "message": None},
            ),
            ("link", ("POST", "/links"), LINK, "Join with this link: secret", {"max_uses": None, "approval": False}),
            (
                "admit bob",
                ("POST", f"/requests/{THEM}"),
                {"membership": "member"},
                "Accepted Bob.",
                {"accept": True},
            ),
            (
                "refuse bob",
                ("POST", f"/requests/{THEM}"),
                {"membership": "none"},
                "Declined Bob.",
                {"accept": False},
            ),
            (
                "unmute bob",
                ("PATCH", f"/members/{THEM}"),
                member_data(THEM),
                "Bob may write again.",
                {"muted_until": None},
            ),
        ],
        ids=lambda value: value if isinstance(value, str) and value.islower() else "",
    )
    async def test_command_makes_request(
        self,
        fake: Fake,
        tmp_path: Path,
        command: str,
        request_line: tuple[str, str],
        answer: dict[str, Any],
        shown: str,
        said: dict[str, Any],
    ) -> None:
        serve_group(fake)
        method, path = request_line
        fake.on(method, f"/groups/{GROUP}{path}", httpx.Response(200, json=answer))
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("down", "enter", "f2", *command, "enter")
            await seen(pilot, app, shown)
        assert said.items() <= fake.said(f"/groups/{GROUP}{path}")[0].items()

    async def test_requests_to_join_are_listed(self, fake: Fake, tmp_path: Path) -> None:
        serve_group(fake)
        waiting = {"items": [{"user": BOB, "message": "It is Bob", "at": AT}], "next": None}
        fake.on("GET", f"/groups/{GROUP}/requests", httpx.Response(200, json=waiting))
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("down", "enter", "f2", *"requests", "enter")
            await seen(pilot, app, "@bob It is Bob")

    async def test_link_with_approval_asks_to_join(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        joined = {"membership": "requested", "group": preview_data(approval=True, membership="requested")}
        fake.on("POST", "/links/secret/join", httpx.Response(200, json=joined))
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("f2", *"join https://chat.example/g/secret", "enter")
            await seen(pilot, app, "You asked to join Reading group")

    async def test_mute_ends_after_given_minutes(self, fake: Fake, tmp_path: Path) -> None:
        serve_group(fake)
        fake.on("PATCH", f"/groups/{GROUP}/members/{THEM}", httpx.Response(200, json=member_data(THEM)))
        before = datetime.now(UTC)
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("down", "enter", "f2", *"mute bob 30", "enter")
            await seen(pilot, app, "Bob is muted for 30 minutes.")
        until = datetime.fromisoformat(fake.said(f"/groups/{GROUP}/members/{THEM}")[0]["muted_until"])
        assert timedelta(minutes=29) < until - before < timedelta(minutes=32)

    @pytest.mark.parametrize(
        ("command", "method", "path", "shown"),
        [
            ("remove bob", "DELETE", f"/members/{THEM}", "Removed Bob."),
            ("leave", "POST", "/leave", "You have left the group."),
        ],
    )
    async def test_member_is_removed_or_leaves(
        self, fake: Fake, tmp_path: Path, command: str, method: str, path: str, shown: str
    ) -> None:
        serve_group(fake)
        fake.on(method, f"/groups/{GROUP}{path}", httpx.Response(204))
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("down", "enter", "f2", *command, "enter")
            await seen(pilot, app, shown)

    async def test_member_is_banned_with_reason(self, fake: Fake, tmp_path: Path) -> None:
        serve_group(fake)
        ban = {"user": BOB, "by": ME, "reason": "Advertising", "until": None, "at": AT}
        fake.on("PUT", f"/groups/{GROUP}/bans/{THEM}", httpx.Response(200, json=ban))
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("down", "enter", "f2", *"ban @bob Advertising", "enter")
            await seen(pilot, app, "Banned Bob.")
            assert fake.said(f"/groups/{GROUP}/bans/{THEM}")[0]["reason"] == "Advertising"

    async def test_refusal_and_usage_are_shown(self, fake: Fake, tmp_path: Path) -> None:
        serve_group(fake)
        fake.on("PATCH", f"/groups/{GROUP}/members/{THEM}", refused(403, "rank_too_low"))
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("down", "enter", "f2", *"role bob king", "enter")
            await seen(pilot, app, "role USER member|moderator|admin")
            await pilot.press(*["backspace"] * len("king"), *"admin", "enter")
            await seen(pilot, app, "Your rank in the group is too low.")

    async def test_command_outside_group_asks_for_group(self, fake: Fake, tmp_path: Path) -> None:
        serve(fake)
        async with chatting(fake, tmp_path) as (pilot, app):
            await live(fake, pilot, app)
            await pilot.press("f2", *"leave", "enter")
            await seen(pilot, app, "Open a group first.")
