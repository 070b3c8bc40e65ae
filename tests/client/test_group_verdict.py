"""The checker that compares the groups of a device with the database detects each difference."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from messenger.client import State
from messenger.client.codec import EventFrame, event_of
from messenger.schemas.groups import MemberView
from tests.client.wire import AT, GROUP, ME, THEM, group_data, member_data, message_data, notice_data
from tests.support.group_verdict import check_state
from tests.support.stored_groups import GroupRow, MemberRow, MessageRow, NoticeRow, StoredGroups

STRANGER = 33333333


class TestDeviceState:
    """A device of one of two members, with a message and the notice of joining."""

    def _state(self) -> State:
        state = State(ME)
        notice = notice_data(1, "joined", user_id=ME)
        for number, (name, data) in enumerate(
            (
                ("group.updated", {"group": group_data(), "notice": notice}),
                ("message.created", message_data(1, target_id=GROUP)),
            )
        ):
            assert state.apply(event_of(EventFrame(f"e{number}", name, AT, data)))
        members = [member_data(THEM, role="owner"), member_data(ME)]
        state.add_members(GROUP, msgspec.convert(members, list[MemberView]), since=5)
        return state

    def _stored(self) -> StoredGroups:
        notice = notice_data(1, "joined")
        return StoredGroups(
            groups=[GroupRow(GROUP, 2, False, 5, 1)],
            members=[MemberRow(GROUP, THEM, 3, None, 0), MemberRow(GROUP, ME, 0, None, 0)],
            messages=[MessageRow(GROUP, 1, "m1", "c1")],
            notices=[NoticeRow(GROUP, notice["id"], 0, "joined", ME, ME, None, None)],
        )

    def test_equal_state_has_no_differences(self) -> None:
        assert list(check_state("ada/1", self._state(), self._stored())) == []

    @pytest.mark.parametrize(
        ("part", "rows"),
        [
            ("member_count", {"members": [MemberRow(GROUP, ME, 3, None, 0)]}),
            ("version", {"groups": [GroupRow(GROUP, 2, False, 6, 1)]}),
            ("owner", {"members": [MemberRow(GROUP, STRANGER, 3, None, 0), MemberRow(GROUP, ME, 0, None, 0)]}),
            ("own rank", {"members": [MemberRow(GROUP, THEM, 3, None, 0), MemberRow(GROUP, ME, 1, None, 0)]}),
            ("members", {"members": [MemberRow(GROUP, THEM, 3, "x", 0), MemberRow(GROUP, ME, 0, None, 0)]}),
            (
                "visible_from",
                {"members": [MemberRow(GROUP, THEM, 3, None, 0), MemberRow(GROUP, ME, 0, None, 1)]},
            ),
            ("messages", {"messages": []}),
            ("notices", {"notices": []}),
        ],
    )
    def test_difference_is_reported(self, part: str, rows: dict[str, Any]) -> None:
        stored = msgspec.structs.replace(self._stored(), **rows)
        assert any(f"the {part} differ" in each for each in check_state("ada/1", self._state(), stored))

    def test_group_left_since_is_reported(self) -> None:
        stored = msgspec.structs.replace(self._stored(), members=[MemberRow(GROUP, THEM, 3, None, 0)])
        assert list(check_state("ada/1", self._state(), stored)) == [
            f"ada/1: is in the groups [{GROUP}], truly in []",
            f"ada/1: still has [{GROUP}], which it has left",
        ]

    def test_unknown_group_is_reported(self) -> None:
        assert len(list(check_state("ada/1", State(ME), self._stored()))) == 1
