"""Leaving and deleting a locked group: steps of several use cases."""

from __future__ import annotations

from collections.abc import Sequence

from messenger.errors.groups import MemberNotFound
from messenger.events import GroupInvited, GroupUpdated
from messenger.policies.groups import Rank, Standing, successor_of
from messenger.repositories.group_locks import LockedGroup, Notice, OwnedGroup
from messenger.services._groups import end_membership, record_group, record_members
from messenger.unit_of_work import UnitOfWork


async def leave_group(uow: UnitOfWork, locked: LockedGroup, user_id: int, *, successor_id: int | None = None) -> None:
    """End a membership of a locked group, with what follows from it; a step of leaving and of erasing an account.

    Raises `MemberNotFound` for a chosen successor who is not a member.
    """
    members = await uow.memberships.list_standings(locked)
    me = next((each for each in members if each.user_id == user_id), None)
    if me is None:
        return
    others = [
        Standing(each.user_id, Rank(each.rank), each.joined_at)
        for each in members
        if each.user_id != user_id and each.rank is not None and each.joined_at is not None
    ]
    await end_membership(uow, locked, user_id)
    notices = [Notice(action="left", actor_id=user_id, user_id=user_id)]
    active = await uow.memberships.list_active(locked) if me.rank == Rank.OWNER else set()
    followers = [each for each in others if each.user_id in active] or others
    successor = successor_of(others if successor_id is not None else followers, successor_id)
    if me.rank != Rank.OWNER:
        successor = None
    if successor_id is not None and me.rank == Rank.OWNER and successor is None:
        raise MemberNotFound
    if not others:
        await delete_group(uow, locked, [user_id])
        return
    if successor is not None:
        await uow.memberships.change(locked, successor.user_id, rank=Rank.OWNER)
    await record_members(uow, locked, notices, left=[user_id])
    if successor is not None:
        owner = Notice(
            action="owner",
            actor_id=user_id,
            user_id=successor.user_id,
            before=user_id,
            after=successor.user_id,
        )
        await record_group(uow, locked, [owner])


async def succeed_owner(uow: UnitOfWork, group: OwnedGroup) -> None:
    """Replace a disabled owner, who becomes an admin, by the member who would follow if the owner left."""
    active = await uow.memberships.list_active(group)
    members = await uow.memberships.list_standings(group)
    successor = successor_of(
        Standing(each.user_id, Rank(each.rank), each.joined_at)
        for each in members
        if each.user_id in active and each.user_id != group.owner_id and each.rank is not None and each.joined_at
    )
    if successor is None:
        return
    await uow.memberships.change(group, group.owner_id, rank=Rank.ADMIN)
    await uow.memberships.change(group, successor.user_id, rank=Rank.OWNER)
    await uow.joins.revoke_unentitled(group)
    owner = Notice(
        action="owner",
        actor_id=None,
        user_id=successor.user_id,
        before=group.owner_id,
        after=successor.user_id,
    )
    await record_group(uow, group, [owner])


async def delete_group(uow: UnitOfWork, locked: LockedGroup, members: Sequence[int]) -> None:
    """Delete a locked group: its members get it as their last event of it, invited users
    get the end of their invitation, and nothing of it can be read any more."""
    invited = await uow.group_locks.delete_group(locked)
    uow.record(GroupUpdated(locked.group_id), members)
    uow.record(GroupInvited(locked.group_id), invited)
