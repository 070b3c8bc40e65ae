"""Groups in the state of a device, from events and from loads."""

from __future__ import annotations

import itertools
import random
from typing import Any

import msgspec
import pytest

from messenger.client import Event, State
from messenger.client.codec import EventFrame, event_of
from messenger.schemas.groups import MemberView
from messenger.schemas.messages import ConversationView, HistoryView, MessageView
from messenger.schemas.users import UserView
from tests.client.wire import (
    AT,
    GROUP,
    ME,
    THEM,
    group_data,
    history_data,
    member_data,
    message_data,
    notice_data,
    preview_data,
)

CAROL = 33333333
_numbers = itertools.count(1)


def event(name: str, data: dict[str, Any]) -> Event:
    return event_of(EventFrame(f"e{next(_numbers)}", name, AT, data))


def updated(notice: dict[str, Any] | None = None, **changes: Any) -> Event:
    return event("group.updated", {"group": group_data(**changes), "notice": notice})


def joined(number: int = 1, *, after_seq: int = 0, **changes: Any) -> Event:
    """The event by which the user learns of having joined."""
    return updated(notice_data(number, "joined", user_id=ME, after_seq=after_seq), **changes)


def gone(number: int, action: str = "removed", **changes: Any) -> Event:
    notice = notice_data(number, action, user_id=ME)
    return event("group.updated", {"group": preview_data(**changes), "notice": notice})


def member(user_id: int, *, version: int, membership: str = "member", count: int = 3, **changes: Any) -> Event:
    notice = notice_data(version, "joined" if membership == "member" else "left", user_id=user_id)
    data = {
        "target_id": GROUP,
        "member": member_data(user_id, **changes),
        "membership": membership,
        "member_count": count,
        "version": version,
        "notice": notice,
    }
    return event("group.member", data)


def sent(seq: int, **changes: Any) -> Event:
    return event("message.created", message_data(seq, target_id=GROUP, **changes))


def replayed(*events: Event) -> State:
    state = State(ME)
    for each in events:
        assert state.apply(each)
    return state


def members(*ids: int) -> list[MemberView]:
    return [msgspec.convert(member_data(each), MemberView) for each in ids]


class TestMembership:
    def test_joined_group_begins_without_unread_messages(self) -> None:
        here = replayed(joined(after_seq=40)).conversations[GROUP]
        assert (here.last_seq, here.read_seq, here.unread, here.version) == (40, 40, 0, 80)

    def test_message_after_joining_is_unread(self) -> None:
        here = replayed(joined(after_seq=40), sent(41)).conversations[GROUP]
        assert (here.last_seq, here.read_seq, here.unread, here.version) == (41, 40, 1, 81)

    def test_conversation_shows_group(self) -> None:
        state = replayed(joined(), updated(name="Readers", version=6, settings={"expire_after": 60}))
        here = state.conversations[GROUP]
        assert here.target is not None
        assert (here.target.kind, here.target.name, here.expire_after) == ("group", "Readers", 60)
        assert state.name_of(GROUP) == "Readers"

    @pytest.mark.parametrize("action", ["left", "removed", "banned"])
    def test_end_of_membership_removes_group(self, action: str) -> None:
        state = replayed(joined(), member(THEM, version=6), sent(1))
        assert state.messages[GROUP]
        state.apply(gone(9, action))
        assert GROUP not in {
            *state.groups,
            *state.members,
            *state.notices,
            *state.messages,
            *state.conversations,
            *(target_id for target_id, _ in state.receipts),
        }

    def test_deleted_group_is_removed(self) -> None:
        state = replayed(joined(), event("group.updated", {"group": preview_data(), "notice": None}))
        assert state.snapshot() == State(ME).snapshot()

    def test_rejoined_group_is_empty(self) -> None:
        """Events are delivered late: the preview at the end of a membership may show that you have come back."""
        now: dict[str, Any] = {"me": {"visible_from": 9}, "version": 12}
        state = replayed(
            joined(1),
            sent(1),
            gone(2, membership="member"),
            joined(3, after_seq=8, **now),
        )
        assert state.messages.get(GROUP) is None
        here = state.conversations[GROUP]
        assert (here.last_seq, here.read_seq, here.unread) == (8, 8, 0)
        assert [notice.action for notice in state.notices_of(GROUP)] == ["joined"]
        assert state.joined == {GROUP}

    def test_notice_about_other_user_keeps_group(self) -> None:
        state = replayed(joined(), member(THEM, version=6, membership="none", count=1), sent(1))
        assert state.groups[GROUP].member_count == 1

    def test_expired_message_of_former_group_is_skipped(self) -> None:
        state = replayed(joined(), sent(1, expires_at=AT), gone(9))
        assert not state.expire(AT)


class TestVersions:
    def test_older_copy_is_ignored(self) -> None:
        state = replayed(joined(version=7, name="New"), updated(version=6, name="Old"))
        assert state.groups[GROUP].name == "New"

    def test_older_conversation_keeps_newer_group(self) -> None:
        state = replayed(joined(version=7, name="New"))
        conversation = {
            "target": {"id": GROUP, "kind": "group", "username": None, "name": "Old", "avatar": None},
            "last_message": None,
            **{"last_seq": 0, "read_seq": 0, "unread": 0, "version": 0},
            **{"muted_until": None, "pinned": True, "archived": False, "expire_after": None},
            "group": group_data(version=6, name="Old"),
            "target_receipt": None,
        }
        state.apply(event("conversation.updated", msgspec.to_builtins(msgspec.convert(conversation, ConversationView))))
        here = state.conversations[GROUP]
        assert here.target is not None
        assert (here.target.name, here.pinned) == ("New", True)

    def test_count_of_older_version_is_ignored(self) -> None:
        state = replayed(joined(version=7, member_count=5), member(THEM, version=6, count=2))
        assert state.groups[GROUP].member_count == 5
        state.apply(member(CAROL, version=8, count=6))
        assert (state.groups[GROUP].member_count, state.groups[GROUP].version) == (6, 8)

    def test_own_rank_changes_with_member(self) -> None:
        state = replayed(joined(), member(ME, version=6, role="admin", title="Librarian"))
        me = state.groups[GROUP].me
        assert (me.role, me.title, me.visible_from) == ("admin", "Librarian", 0)


class TestMembers:
    def test_members_follow_events(self) -> None:
        state = replayed(joined(version=5))
        state.add_members(GROUP, members(ME, THEM), since=5)
        state.apply(member(CAROL, version=6, role="moderator"))
        state.apply(member(THEM, version=7, membership="none", count=2))
        assert {user_id: each.role for user_id, each in state.members[GROUP].items()} == {
            ME: "member",
            CAROL: "moderator",
        }

    def test_transfer_changes_ranks_of_owners(self) -> None:
        state = replayed(joined(version=5))
        state.add_members(GROUP, members(ME, THEM, CAROL), since=5)
        state.apply(updated(notice_data(6, "owner", user_id=CAROL, **{"from": THEM, "to": CAROL}), version=6))
        ranks = {user_id: each.role for user_id, each in state.members[GROUP].items()}
        assert ranks == {ME: "member", THEM: "admin", CAROL: "owner"}

    def test_page_requested_before_event_keeps_newer_members(self) -> None:
        state = replayed(joined(version=5), member(THEM, version=6, membership="none", count=1))
        state.apply(member(CAROL, version=7, role="admin"))
        state.add_members(GROUP, members(ME, THEM, CAROL), since=5)
        assert set(state.members[GROUP]) == {ME, CAROL}
        assert state.members[GROUP][CAROL].role == "admin"

    def test_members_of_left_group_are_ignored(self) -> None:
        state = State(ME)
        state.add_members(GROUP, members(ME), since=5)
        state.apply(member(THEM, version=6))
        assert (state.members, state.notices) == ({}, {})


class TestNotices:
    def test_notices_are_in_order(self) -> None:
        state = replayed(joined(5, after_seq=2), updated(notice_data(7, "renamed", after_seq=4), version=6))
        page = history_data(
            [], notices=[notice_data(1, "created"), notice_data(3, "about", after_seq=4), notice_data(7, "renamed")]
        )
        page["notices"][2]["after_seq"] = 4
        state.add_history(GROUP, msgspec.convert(page, HistoryView))
        assert [notice.action for notice in state.notices_of(GROUP)] == ["created", "joined", "about", "renamed"]

    def test_snapshot_contains_visible_notices(self) -> None:
        def shown(setting: str) -> list[str]:
            last = updated(version=9, settings={"notices": setting})
            renamed = updated(notice_data(2, "renamed", after_seq=1), version=6)
            notices = replayed(joined(1), renamed, last).snapshot()["notices"][str(GROUP)]
            return [notice["action"] for notice in notices]

        assert shown("all") == ["joined", "renamed"]
        assert shown("important") == ["renamed"]
        assert shown("none") == []


class TestInvitationsAndRequests:
    def test_invitation_arrives_and_ends(self) -> None:
        inviter = {"id": THEM, "username": "bob", "name": "Bob", "avatar": None}
        invited = {"group": preview_data(membership="invited"), "inviter": inviter, "message": "Join us", "at": AT}
        state = replayed(event("group.invited", invited))
        assert state.invitations[GROUP].message == "Join us"
        ended = {"group": preview_data(membership="member"), "inviter": None, "message": None, "at": None}
        state.apply(event("group.invited", ended))
        assert state.invitations == {}

    def test_request_arrives_and_ends(self) -> None:
        user = {"id": CAROL, "username": "carol", "name": "Carol", "avatar": None}
        asked = {"target_id": GROUP, "user": user, "message": "Hello", "at": AT, "pending": 1}
        state = replayed(joined(), event("group.requested", {**asked, "membership": "requested"}))
        waiting = state.requests[GROUP][CAROL]
        assert (waiting.user, waiting.message) == (msgspec.convert(user, UserView), "Hello")
        ended = {**asked, "message": None, "at": None, "pending": 0, "membership": "member"}
        state.apply(event("group.requested", ended))
        assert (state.requests[GROUP], state.pending[GROUP]) == ({}, 0)


class TestReplay:
    HISTORY = (
        joined(1, after_seq=3),
        sent(4),
        member(THEM, version=6, role="admin"),
        sent(5, sender_id=ME),
        member(CAROL, version=7),
        updated(notice_data(8, "renamed", after_seq=5), version=8, member_count=4, name="Readers"),
        member(CAROL, version=9, membership="none"),
        sent(6),
    )

    def test_repeated_events_leave_snapshot_unchanged(self) -> None:
        # Seeded: the same ranges each time.
        draw = random.Random(7)
        whole = replayed(*self.HISTORY).snapshot(receipts=True)
        assert whole["groups"][str(GROUP)]["version"] == 9
        for _ in range(50):
            begin = draw.randrange(len(self.HISTORY))
            end = draw.randrange(begin, len(self.HISTORY))
            again = (*self.HISTORY[:end], *self.HISTORY[begin:])
            assert replayed(*again).snapshot(receipts=True) == whole

    def test_snapshot_is_json_serializable(self) -> None:
        snapshot = replayed(*self.HISTORY).snapshot()
        assert msgspec.json.decode(msgspec.json.encode(snapshot)) == snapshot

    def test_mute_ends_without_event(self) -> None:
        later = "2026-11-22T11:00:00.000Z"
        state = replayed(joined(me={"muted_until": later}), member(THEM, version=6, muted_until=later))
        before, after = state.snapshot(at=AT), state.snapshot(at=later)
        assert before["groups"][str(GROUP)]["me"]["muted_until"] == later
        assert after["groups"][str(GROUP)]["me"]["muted_until"] is None
        assert after["members"][str(GROUP)][str(THEM)]["muted_until"] is None


def test_unreadable_group_leaves_state_unchanged() -> None:
    state = State(ME)
    assert not state.apply(event("group.updated", {"group": {"id": "x"}, "notice": None}))
    assert state.snapshot() == State(ME).snapshot()


def test_message_from_before_membership_is_ignored() -> None:
    state = replayed(joined(me={"visible_from": 5}, after_seq=4))
    state.add_history(GROUP, [msgspec.convert(message_data(4, target_id=GROUP), MessageView)])
    assert GROUP not in state.messages
