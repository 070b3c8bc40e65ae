"""Ranks and permissions, cell by cell."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from messenger.errors import MessengerError
from messenger.errors.groups import Muted, NotPermitted, RankTooLow, SlowMode, SuccessorNeeded
from messenger.policies.groups import (
    PERMISSIONS,
    SMALL_GROUP,
    Candidate,
    Rank,
    Standing,
    ensure_above,
    ensure_gives_rank,
    ensure_lowers_own_rank,
    ensure_permitted,
    ensure_posts,
    invitation_outcome,
    successor_of,
)

RANKS = list(Rank)
NOW = datetime(2026, 11, 30, tzinfo=UTC)
LATER = NOW + timedelta(seconds=10)


def allows(policy: Callable[..., None], *args: Any, **options: Any) -> bool:
    try:
        policy(*args, **options)
    except MessengerError:
        return False
    return True


class TestPermissions:
    @pytest.mark.parametrize(("permission", "lowest", "rank"), list(itertools.product(PERMISSIONS, RANKS, RANKS)))
    def test_permission_begins_at_lowest_rank(self, permission: str, lowest: Rank, rank: Rank) -> None:
        allowed = allows(ensure_permitted, rank, permission, lowest, member_count=SMALL_GROUP + 1)
        assert allowed == (rank >= lowest)

    def test_refusal_names_permission(self) -> None:
        with pytest.raises(NotPermitted) as raised:
            ensure_permitted(Rank.MEMBER, "pin", Rank.MODERATOR, member_count=100)
        assert raised.value.extra == {"permission": "pin"}

    def test_everyone_may_mention_all_in_small_group(self) -> None:
        assert allows(ensure_permitted, Rank.MEMBER, "mention_all", Rank.OWNER, member_count=SMALL_GROUP)
        assert not allows(ensure_permitted, Rank.MEMBER, "mention_all", Rank.OWNER, member_count=SMALL_GROUP + 1)


class TestRanks:
    @pytest.mark.parametrize(("actor", "target"), list(itertools.product(RANKS, RANKS)))
    def test_moderators_act_on_lower_ranks_only(self, actor: Rank, target: Rank) -> None:
        assert allows(ensure_above, actor, target) == (actor >= Rank.MODERATOR and actor > target)

    @pytest.mark.parametrize(("actor", "target", "new"), list(itertools.product(RANKS, RANKS, RANKS)))
    def test_admins_give_lower_ranks_to_lower_members_only(self, actor: Rank, target: Rank, new: Rank) -> None:
        expected = actor >= Rank.ADMIN and actor > target and actor > new
        assert allows(ensure_gives_rank, actor, target, new) == expected

    @pytest.mark.parametrize(("rank", "new"), list(itertools.product(RANKS, RANKS)))
    def test_members_lower_own_rank_except_owner(self, rank: Rank, new: Rank) -> None:
        expected = new == rank or (new < rank and rank is not Rank.OWNER)
        assert allows(ensure_lowers_own_rank, rank, new) == expected

    def test_owner_needs_successor(self) -> None:
        with pytest.raises(SuccessorNeeded):
            ensure_lowers_own_rank(Rank.OWNER, Rank.MEMBER)


class TestPosting:
    @pytest.mark.parametrize(
        ("rank", "lowest", "muted", "slow", "error"),
        [
            (Rank.MEMBER, Rank.MEMBER, None, None, None),
            (Rank.MEMBER, Rank.MODERATOR, LATER, LATER, NotPermitted),
            (Rank.MEMBER, Rank.MEMBER, LATER, LATER, Muted),
            (Rank.MEMBER, Rank.MEMBER, NOW, LATER, SlowMode),
            (Rank.MEMBER, Rank.MEMBER, NOW, NOW, None),
            (Rank.MODERATOR, Rank.MEMBER, None, LATER, None),
        ],
    )
    def test_first_obstacle_refuses_message(
        self, rank: Rank, lowest: Rank, muted: datetime | None, slow: datetime | None, error: type[Exception] | None
    ) -> None:
        if error is None:
            ensure_posts(rank, lowest, muted_until=muted, slow_until=slow, now=NOW)
        else:
            with pytest.raises(error):
                ensure_posts(rank, lowest, muted_until=muted, slow_until=slow, now=NOW)

    def test_slow_mode_states_whole_seconds(self) -> None:
        with pytest.raises(SlowMode) as raised:
            ensure_posts(Rank.MEMBER, Rank.MEMBER, muted_until=None, slow_until=NOW + timedelta(seconds=0.2), now=NOW)
        assert raised.value.response_headers["Retry-After"] == "1"


class TestSuccession:
    def test_highest_rank_precedes_longest_membership(self) -> None:
        members = [Standing(1, Rank.MEMBER, NOW), Standing(2, Rank.ADMIN, LATER), Standing(3, Rank.ADMIN, LATER)]
        assert successor_of(members) == members[1]

    def test_chosen_member_precedes_higher_rank(self) -> None:
        members = [Standing(1, Rank.MEMBER, NOW), Standing(2, Rank.ADMIN, LATER)]
        assert successor_of(members, chosen=1) == members[0]

    def test_stranger_is_not_chosen(self) -> None:
        assert successor_of([Standing(1, Rank.MEMBER, NOW)], chosen=2) is None

    def test_empty_group_has_no_successor(self) -> None:
        assert successor_of([]) is None


_WILLING = Candidate(
    exists=True,
    is_member=False,
    banned=False,
    blocked=False,
    receives=True,
    declined=False,
    returns=False,
    joins=False,
    limited=False,
)


class TestInvitationOutcome:
    @pytest.mark.parametrize(
        ("changes", "rank", "outcome"),
        [
            ({}, Rank.MEMBER, ("invited", True)),
            ({"exists": False}, Rank.MEMBER, ("peer_not_found", False)),
            ({"is_member": True}, Rank.MEMBER, ("already_member", False)),
            ({"limited": True}, Rank.MEMBER, ("rate_limited", False)),
            ({"banned": True}, Rank.MEMBER, ("invited", False)),
            ({"banned": True}, Rank.MODERATOR, ("banned", False)),
            ({"blocked": True, "receives": False}, Rank.MEMBER, ("invited", False)),
            ({"receives": False}, Rank.MEMBER, ("not_a_contact", False)),
            ({"declined": True, "joins": True}, Rank.MEMBER, ("invited", False)),
            ({"joins": True}, Rank.MEMBER, ("joined", True)),
            ({"joins": True, "returns": True}, Rank.MEMBER, ("invited", True)),
        ],
    )
    def test_first_applicable_rule_decides(
        self, changes: dict[str, bool], rank: Rank, outcome: tuple[str, bool]
    ) -> None:
        assert invitation_outcome(_WILLING._replace(**changes), rank, places=1) == outcome

    def test_full_group_invites_no_user(self) -> None:
        assert invitation_outcome(_WILLING, Rank.MEMBER, places=0) == ("group_full", False)
        assert invitation_outcome(_WILLING._replace(blocked=True), Rank.MEMBER, places=0) == ("group_full", False)

    def test_refused_rank_is_rank_too_low(self) -> None:
        with pytest.raises(RankTooLow):
            ensure_above(Rank.MODERATOR, Rank.ADMIN)
