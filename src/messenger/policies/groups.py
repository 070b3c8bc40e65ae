"""Ranks and permissions in groups, as pure functions.

Acting on a member requires a higher rank than theirs. Members may only lower their own rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from messenger.errors import NotTheSender
from messenger.errors.groups import Muted, NotPermitted, RankTooLow, SlowMode, SuccessorNeeded

SMALL_GROUP = 15
"""Up to this many members, every member may mention all."""


class Rank(IntEnum):
    """The rank of a member; the values are those of `members.rank`."""

    MEMBER = 0
    MODERATOR = 1
    ADMIN = 2
    OWNER = 3


PERMISSIONS: Mapping[str, Rank] = {
    "post": Rank.MEMBER,
    "attach": Rank.MEMBER,
    "poll": Rank.MEMBER,
    "react": Rank.MEMBER,
    "thread": Rank.MEMBER,
    "pin": Rank.MODERATOR,
    "mention_all": Rank.MODERATOR,
    "invite": Rank.MEMBER,
    "link": Rank.MODERATOR,
    "info": Rank.ADMIN,
}
"""Each permission with the lowest rank that has it in a new group."""


class Standing(NamedTuple):
    """A member, as far as a succession depends on it."""

    user_id: int
    rank: Rank
    joined_at: datetime


def ensure_permitted(rank: Rank, permission: str, lowest: Rank, *, member_count: int) -> None:
    """A member may use a permission from its lowest rank on; all may mention all in a small group.

    Raises `NotPermitted`.
    """
    if permission == "mention_all" and member_count <= SMALL_GROUP:
        return
    if rank < lowest:
        raise NotPermitted(extra={"permission": permission})


def ensure_rank(rank: Rank, lowest: Rank) -> None:
    """For what only moderators, admins or the owner may do, whatever the permissions. Raises `RankTooLow`."""
    if rank < lowest:
        raise RankTooLow


def ensure_above(rank: Rank, target: Rank) -> None:
    """A moderator acts on members of a lower rank only. Raises `RankTooLow`."""
    ensure_rank(rank, Rank.MODERATOR)
    if rank <= target:
        raise RankTooLow


def ensure_gives_rank(rank: Rank, target: Rank, new: Rank) -> None:
    """Admins give others ranks below their own, and only to members below themselves. Raises `RankTooLow`."""
    ensure_rank(rank, Rank.ADMIN)
    if rank <= target or rank <= new:
        raise RankTooLow


def ensure_lowers_own_rank(rank: Rank, new: Rank) -> None:
    """Members lower their own rank, except the owner, who has to transfer the group or leave it.

    Raises `RankTooLow`, `SuccessorNeeded`.
    """
    if new > rank:
        raise RankTooLow
    if rank is Rank.OWNER and new < rank:
        raise SuccessorNeeded


def ensure_posts(
    rank: Rank, lowest: Rank, *, muted_until: datetime | None, slow_until: datetime | None, now: datetime
) -> None:
    """Whether a member may send a message now: the first obstacle in the order permission, mute, slow mode.

    Raises `NotPermitted`, `Muted`, `SlowMode`.
    """
    if rank < lowest:
        raise NotPermitted(extra={"permission": "post"})
    if muted_until is not None and muted_until > now:
        raise Muted.until(muted_until)
    if rank < Rank.MODERATOR and slow_until is not None and slow_until > now:
        raise SlowMode.until(slow_until, now)


def successor_of(members: Iterable[Standing], chosen: int | None = None) -> Standing | None:
    """Who follows an owner: the chosen member, else the highest rank, and of equals the longest membership.

    `members`: without the owner. None if there is none, or `chosen` is not among them.
    """
    if chosen is not None:
        return next((each for each in members if each.user_id == chosen), None)
    return min(members, key=lambda each: (-each.rank, each.joined_at, each.user_id), default=None)


def ensure_deletes(*, is_sender: bool, rank: int | None, sender_rank: int | None) -> None:
    """Senders delete their own messages; moderators those of lower ranks, and of users who have left the group.

    `rank`: that of the caller, None in a 1:1. Raises `NotTheSender`, `RankTooLow`.
    """
    if is_sender:
        return
    if rank is None or rank < Rank.MODERATOR:
        raise NotTheSender
    if sender_rank is not None and rank <= sender_rank:
        raise RankTooLow


class Candidate(NamedTuple):
    """A user who is to be invited, as far as the outcome depends on it.

    `blocked`: one of the two has blocked the other. `receives`: the user's `groups_from` admits the inviter.
    `returns`: the user has left or declined the group before. `joins`: the user's `auto_join` admits the inviter.
    `limited`: the user has received too many invitations.
    """

    exists: bool
    is_member: bool
    banned: bool
    blocked: bool
    receives: bool
    declined: bool
    returns: bool
    joins: bool
    limited: bool


def invitation_outcome(candidate: Candidate, rank: Rank, *, places: int) -> tuple[str, bool]:
    """The outcome of an invitation as the inviter sees it, and whether the user can see the invitation.

    A block and a refusal look like a delivered invitation; a ban does, except to moderators.
    """
    if not candidate.exists:
        return "peer_not_found", False
    if candidate.is_member:
        return "already_member", False
    if places <= 0:
        return "group_full", False
    if candidate.limited:
        return "rate_limited", False
    if candidate.banned:
        return ("banned", False) if rank >= Rank.MODERATOR else ("invited", False)
    if candidate.blocked:
        return "invited", False
    if not candidate.receives:
        return "not_a_contact", False
    if candidate.declined:
        return "invited", False
    if candidate.joins and not candidate.returns:
        return "joined", True
    return "invited", True
