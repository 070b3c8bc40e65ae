"""Steps that the use cases of groups share: the lock, what decides, and what a change leaves behind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from messenger.actor import Caller
from messenger.errors import PeerNotFound
from messenger.errors.groups import GroupFull, MemberNotFound, TooManyGroups
from messenger.events import ConversationUpdated, GroupInvited, GroupMemberChanged, GroupUpdated
from messenger.limits import MAX_GROUPS, MAX_MEMBERS
from messenger.models import Group
from messenger.policies.groups import Rank, ensure_permitted
from messenger.repositories.group_locks import AdvancedRow, LockedGroup, Notice
from messenger.repositories.memberships import StandingRow
from messenger.unit_of_work import UnitOfWork


class OpenGroup(NamedTuple):
    """A group under its lock, with the caller's standing and that of the users concerned."""

    locked: LockedGroup
    me: StandingRow
    rank: Rank
    users: dict[int, StandingRow]

    def member(self, user_id: int) -> StandingRow:
        """The standing of a member. Raises `MemberNotFound`."""
        row = self.users.get(user_id)
        if row is None or row.rank is None:
            raise MemberNotFound
        return row


async def open_group(uow: UnitOfWork, caller: Caller, group_id: int, *user_ids: int) -> OpenGroup:
    """Lock a group of which the caller is a member, and read who stands where. Raises `PeerNotFound`."""
    locked = await uow.group_locks.lock(caller, group_id)
    if locked is None:
        raise PeerNotFound
    users = await uow.memberships.standing(locked, sorted({uow.actor.user_id, *user_ids}))
    me = users[uow.actor.user_id]
    if me.rank is None:
        raise PeerNotFound
    return OpenGroup(locked, me, Rank(me.rank), users)


def notice(uow: UnitOfWork, action: str, **fields: Any) -> Notice:
    """A notice of what the caller has done."""
    return Notice(action=action, actor_id=uow.actor.user_id, **fields)


async def record_group(uow: UnitOfWork, locked: LockedGroup, notices: Sequence[Notice]) -> AdvancedRow:
    """Complete a change of the group itself: all members are notified of each notice."""
    advanced = await uow.group_locks.advance(locked, notices)
    for notice_id, each in zip(advanced.notices, notices, strict=True):
        uow.record(GroupUpdated(locked.group_id, notice_id), advanced.members)
        if isinstance(each.after, dict) and "expire_after" in each.after:
            # The conversation shows it, too.
            uow.record(ConversationUpdated(locked.group_id), advanced.members)
    return advanced


async def record_members(
    uow: UnitOfWork,
    locked: LockedGroup,
    notices: Sequence[Notice],
    *,
    changed: Collection[int] = (),
    joined: Collection[int] = (),
    left: Collection[int] = (),
) -> AdvancedRow:
    """Complete a change of members: all members are notified of each notice.

    `changed`: members whose change has no notice. `joined`: also get the group, of which they know nothing yet.
    `left`: get the group as others see it, as its last event.
    """
    advanced = await uow.group_locks.advance(locked, notices)
    for user_id in changed:
        uow.record(GroupMemberChanged(locked.group_id, user_id=user_id), advanced.members)
    for notice_id, each in zip(advanced.notices, notices, strict=True):
        assert each.user_id is not None
        if each.user_id in joined:
            uow.record(GroupUpdated(locked.group_id, notice_id), [each.user_id])
        uow.record(GroupMemberChanged(locked.group_id, notice_id, each.user_id), advanced.members)
        if each.user_id in left:
            uow.record(GroupUpdated(locked.group_id, notice_id), [each.user_id])
    return advanced


async def end_membership(uow: UnitOfWork, locked: LockedGroup, user_id: int) -> None:
    """Remove a member; the users who saw an invitation of theirs are notified of its end."""
    uow.record(GroupInvited(locked.group_id), await uow.memberships.remove(locked, user_id))


async def change_expiry(uow: UnitOfWork, caller: Caller, group_id: int, expire_after: int | None) -> bool:
    """Set after how many seconds new messages of a group expire; False if it is not a group of the caller.

    Raises `NotPermitted`.
    """
    locked = await uow.group_locks.lock(caller, group_id)
    if locked is None:
        return False
    opened = await open_group(uow, caller, group_id)
    group = await uow.group_settings.get(group_id)
    ensure_permitted(opened.rank, "info", Rank(group.info_rank), member_count=group.member_count)
    former = await uow.group_locks.set_expiry(locked, expire_after)
    if former != expire_after:
        change = notice(uow, "settings", before={"expire_after": former}, after={"expire_after": expire_after})
        await record_group(uow, locked, [change])
    return True


RECENT = 100
"""How many messages new members see of a group whose history is `recent`."""


async def admit(
    uow: UnitOfWork, locked: LockedGroup, group: Group, user_id: int, *, inviter_id: int | None = None
) -> None:
    """Make a user a member of a locked group, who sees of its history what the group shows to new members.

    Raises `GroupFull`, `TooManyGroups`.
    """
    if group.member_count >= MAX_MEMBERS:
        raise GroupFull
    if await uow.memberships.count_groups(user_id) >= MAX_GROUPS:
        raise TooManyGroups
    first = {"none": locked.last_seq + 1, "recent": max(0, locked.last_seq - RECENT + 1), "all": 0}[group.history]
    await uow.memberships.admit(locked, user_id, inviter_id=inviter_id, visible_from=first)
