"""The checker of groups detects each kind of fault, and finds none in a correct run."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from messenger.testing.recorder import Findings
from tests.support.group_changes import BAN, MEMBERSHIP, ChangeRecorder, Kind, Outcome, possible
from tests.support.group_verdict import check_groups
from tests.support.stored_groups import (
    EntryRow,
    EventRow,
    GroupRow,
    LinkRow,
    MemberRow,
    MessageRow,
    NoticeRow,
    StoredGroups,
)

ADA, BOB, EVE = 1, 2, 3
GROUP = 100


def notice(name: str, after_seq: int, action: str, about: int, **values: Any) -> NoticeRow:
    """`before` and `after` are plain values."""
    before, after = (msgspec.json.encode(values.get(each)).decode() for each in ("before", "after"))
    user_id = None if action == "created" else about
    return NoticeRow(GROUP, name, after_seq, action, about, user_id, before, after)


def good() -> StoredGroups:
    """Ada creates a group, Bob joins by a link, both write, Bob is promoted, Eve joins by the link and leaves."""
    notices = [
        notice("n1", 0, "created", ADA),
        notice("n2", 0, "joined_by_link", BOB),
        notice("n3", 1, "role", BOB, before="member", after="moderator"),
        notice("n4", 1, "joined_by_link", EVE),
        notice("n5", 2, "left", EVE),
    ]
    streams = {
        ADA: "n1 n2 m1 n3 n4 m2 n5",
        BOB: "n2 m1 n3 n4 m2 n5",
        EVE: "n4 m2 n5",
    }
    return StoredGroups(
        groups=[GroupRow(GROUP, 2, False, 5, 2)],
        members=[MemberRow(GROUP, ADA, 3, None, 0), MemberRow(GROUP, BOB, 1, None, 0)],
        notices=notices,
        messages=[MessageRow(GROUP, 1, "m1", "c1"), MessageRow(GROUP, 2, "m2", "c2")],
        links=[LinkRow(GROUP, "l1", 2, 2)],
        events=[
            EventRow(GROUP, user_id, position, "message.created" if subject[0] == "m" else "group.updated", subject)
            for user_id, subjects in streams.items()
            for position, subject in enumerate(subjects.split(), 1)
        ],
    )


def changed(recorder: ChangeRecorder, kind: Kind, user_id: int, outcome: Outcome = "ok", *, name: str = "") -> None:
    recorder.end(recorder.begin(kind, GROUP, user_id, name=name), outcome)


def recorded() -> ChangeRecorder:
    """What led to `good`."""
    recorder = ChangeRecorder()
    recorder.links[GROUP]["l1"] = 2
    for kind, user_id in (("create", ADA), ("join", BOB), ("join", EVE), ("leave", EVE)):
        changed(recorder, kind, user_id)  # type: ignore[arg-type]
    recorder.acknowledge(GROUP, 5)
    return recorder


def faults(stored: StoredGroups, recorder: ChangeRecorder | None = None) -> dict[str, list[str]]:
    return check_groups(stored, recorder or recorded()).faults


class TestStoredGroups:
    def test_correct_run_has_no_findings(self) -> None:
        assert check_groups(good(), recorded()) == Findings()

    @pytest.mark.parametrize(
        ("part", "rows"),
        [
            ("members", [MemberRow(GROUP, ADA, 3, None, 0), MemberRow(GROUP, BOB, 3, None, 0)]),
            ("members", [MemberRow(GROUP, ADA, 2, None, 0), MemberRow(GROUP, BOB, 1, None, 0)]),
            ("groups", [GroupRow(GROUP, 3, False, 5, 2)]),
            ("groups", [GroupRow(GROUP, 2, False, 5, 3)]),
            ("entries", [EntryRow("ban", GROUP, BOB)]),
            ("entries", [EntryRow("request", GROUP, ADA)]),
            ("links", [LinkRow(GROUP, "l1", 3, 2)]),
            ("links", [LinkRow(GROUP, "l1", 1, 2)]),
        ],
        ids=[
            "two owners",
            "no owner",
            "wrong count",
            "wrong last_seq",
            "banned member",
            "member who asks to join",
            "used too often",
            "used more often than counted",
        ],
    )
    def test_broken_rule_is_unexpected(self, part: str, rows: list[Any]) -> None:
        stored = msgspec.structs.replace(good(), **{part: rows})
        assert "unexpected" in faults(stored)

    def test_uses_of_revoked_links_are_not_missed(self) -> None:
        assert faults(msgspec.structs.replace(good(), links=[])) == {}

    @pytest.mark.parametrize(
        "extra",
        [
            notice("n6", 2, "joined", BOB),
            notice("n6", 2, "removed", EVE),
            notice("n6", 2, "role", BOB, before="admin", after="member"),
        ],
        ids=lambda extra: extra.action,
    )
    def test_impossible_notice_is_unexpected(self, extra: NoticeRow) -> None:
        stored = good()
        stored.notices.append(extra)
        assert any(each.startswith("n6: ") for each in faults(stored)["unexpected"])

    def test_membership_without_notice_is_unexpected(self) -> None:
        stored = good()
        stored.members.append(MemberRow(GROUP, EVE, 0, None, 0))
        stored.groups = [GroupRow(GROUP, 3, False, 5, 2)]
        assert any("by its notices" in each for each in faults(stored)["unexpected"])

    @pytest.mark.parametrize("subject", ["m2", "n3"])
    def test_event_missing_from_stream_of_member_is_a_gap(self, subject: str) -> None:
        stored = good()
        stored.events = [each for each in stored.events if (each.user_id, each.subject) != (BOB, subject)]
        (gap,) = faults(stored)["gaps"]
        assert gap.startswith(f"{subject}: ")

    def test_message_twice_in_stream_is_duplicated(self) -> None:
        stored = good()
        stored.events.append(EventRow(GROUP, BOB, 7, "message.created", "m1"))
        assert list(faults(stored)) == ["duplicated"]


class TestLeftOutEvents:
    def test_events_before_departure_may_be_left_out(self) -> None:
        assert good().left_out() == {EVE: frozenset({1, 2})}

    def test_events_after_return_may_not_be_left_out(self) -> None:
        stored = good()
        stored.events.append(EventRow(GROUP, EVE, 4, "message.created", "m3"))
        assert stored.left_out() == {EVE: frozenset({1, 2})}

    def test_deleted_group_ends_without_notice(self) -> None:
        stored = good()
        stored.events.append(EventRow(GROUP, BOB, 7, "group.updated", None))
        assert stored.left_out()[BOB] == frozenset(range(1, 7))


class TestChanges:
    def test_acknowledged_change_without_effect_is_lost(self) -> None:
        recorder = recorded()
        changed(recorder, "leave", BOB)
        assert list(faults(good(), recorder)) == ["lost"]

    def test_acknowledged_ban_without_effect_is_lost(self) -> None:
        recorder = recorded()
        changed(recorder, "ban", EVE)
        assert list(faults(good(), recorder)) == ["lost"]

    def test_acknowledged_version_is_stored(self) -> None:
        recorder = recorded()
        recorder.acknowledge(GROUP, 6)
        assert list(faults(good(), recorder)) == ["lost"]

    def test_unknown_change_may_have_happened_or_not(self) -> None:
        for user_id in (BOB, EVE):
            recorder = recorded()
            changed(recorder, "leave", user_id, "unknown")
            changed(recorder, "join", user_id, "unknown")
            assert faults(good(), recorder) == {}

    def test_refused_change_has_no_effect(self) -> None:
        recorder = recorded()
        changed(recorder, "remove", BOB, "fail")
        assert faults(good(), recorder) == {}

    @pytest.mark.parametrize(
        ("outcome", "given", "kind"),
        [("ok", 0, "lost"), ("ok", 2, "duplicated"), ("fail", 1, "unexpected"), ("unknown", 2, "duplicated")],
    )
    def test_name_is_given_once_if_acknowledged(self, outcome: Outcome, given: int, kind: str) -> None:
        stored, recorder = good(), recorded()
        for number in range(given):
            stored.notices.append(notice(f"n{6 + number}", 2, "renamed", ADA, after="new"))
            for user_id in (ADA, BOB):
                stored.events.append(EventRow(GROUP, user_id, 8 + number, "group.updated", f"n{6 + number}"))
        changed(recorder, "rename", ADA, outcome, name="new")
        assert list(faults(stored, recorder)) == [kind]


class TestPossibleValues:
    def test_latest_of_consecutive_changes_decides(self) -> None:
        recorder = ChangeRecorder()
        changed(recorder, "join", BOB)
        changed(recorder, "ban", BOB)
        assert possible(recorder.changes, MEMBERSHIP) == {False}
        assert possible(recorder.changes, BAN) == {True}

    def test_concurrent_changes_leave_both_values(self) -> None:
        recorder = ChangeRecorder()
        joining, leaving = recorder.begin("join", GROUP, BOB), recorder.begin("leave", GROUP, BOB)
        recorder.end(joining, "ok")
        recorder.end(leaving, "ok")
        assert possible(recorder.changes, MEMBERSHIP) == {True, False}

    def test_unknown_change_may_happen_after_later_change(self) -> None:
        recorder = ChangeRecorder()
        changed(recorder, "leave", BOB, "unknown")
        changed(recorder, "join", BOB)
        assert possible(recorder.changes, MEMBERSHIP) == {True, False}
