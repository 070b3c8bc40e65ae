"""Inviting users to an open group: a step of inviting and of creating a group."""

from __future__ import annotations

from typing import cast

from messenger.errors import RateLimited
from messenger.events import GroupInvited
from messenger.limits import MAX_INVITATIONS, MAX_MEMBERS
from messenger.models import Group
from messenger.policies import shows
from messenger.policies.groups import Candidate, invitation_outcome
from messenger.repositories.group_locks import Notice
from messenger.repositories.invitations import CandidateRow, InvitationRow
from messenger.schemas.admission import InvitationOutcome, InvitationView, Outcome
from messenger.schemas.groups import GroupPreview
from messenger.schemas.types import timestamp
from messenger.services._avatar_views import avatar_view
from messenger.services._groups import OpenGroup, admit, notice, record_members
from messenger.services._views import user_view
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWork


async def invite_users(
    uow: UnitOfWork, limiter: RateLimiter, opened: OpenGroup, group: Group, users: list[int], *, message: str | None
) -> list[InvitationOutcome]:
    """Invite users to an open group; a step of inviting and of creating a group.

    Users whose `auto_join` admits the inviter become members at once. Raises `RateLimited` for a single user.
    """
    inviter = opened.me.user_id
    candidates = await uow.invitations.list_candidates(opened.locked, inviter, users)
    places = MAX_MEMBERS - group.member_count
    openings = MAX_INVITATIONS - await uow.invitations.count(opened.locked)
    outcomes: list[InvitationOutcome] = []
    invited: list[tuple[int, bool]] = []
    joined: list[Notice] = []
    for row in candidates:
        outcome, delivered = invitation_outcome(_candidate(row), opened.rank, places=places - len(joined))
        if outcome == "invited" and not row.invited and openings <= len(invited):
            outcome = "rate_limited"
        arrives = delivered and not row.delivered
        if outcome in {"invited", "joined"} and (arrives or not row.invited):
            outcome = await _count(uow, limiter, opened, row.user_id, outcome, counts=delivered, alone=len(users) == 1)
        if outcome == "joined":
            await admit(uow, opened.locked, group, row.user_id, inviter_id=inviter)
            joined.append(notice(uow, "joined", user_id=row.user_id))
            uow.require_rules({row.user_id: row.rules or 0})
        elif outcome == "invited":
            invited.append((row.user_id, delivered))
            if arrives or not row.invited:
                # One that is not delivered takes the same statements.
                uow.record(GroupInvited(opened.locked.group_id), [row.user_id] if arrives else [])
        outcomes.append(InvitationOutcome(row.user_id, cast(Outcome, outcome)))
    if invited:
        await uow.invitations.add(opened.locked, inviter, invited, message=message)
    if joined:
        await record_members(uow, opened.locked, joined, joined=[each.user_id for each in joined if each.user_id])
    return outcomes


async def _count(
    uow: UnitOfWork, limiter: RateLimiter, opened: OpenGroup, user_id: int, outcome: str, *, counts: bool, alone: bool
) -> str:
    """The outcome of an invitation within the limits of the invited user. Raises `RateLimited` for a single user."""
    try:
        await limiter.hit_invitation(uow, opened.locked.group_id, user_id, counts=counts)
    except RateLimited:
        if alone:
            raise
        return "rate_limited"
    return outcome


def _candidate(row: CandidateRow) -> Candidate:
    mutual = row.mine == "mutual"
    return Candidate(
        exists=row.exists,
        is_member=row.is_member,
        banned=row.banned,
        blocked="blocked" in {row.mine, row.theirs},
        receives=shows(row.groups_from or "nobody", mutual=mutual),
        declined=row.declined,
        returns=row.returns,
        joins=row.auto_join == "contacts" and mutual,
        limited=False,
    )


def invitation_view(row: InvitationRow) -> InvitationView:
    """An invitation as the invited user sees it."""
    return InvitationView(
        GroupPreview(
            row.group_id,
            "group",
            row.group_name,
            row.about,
            avatar_view(row.avatar),
            row.member_count,
            row.encrypted,
            approval=False,
            membership="invited",
        ),
        user_view(row.inviter),
        row.message,
        timestamp(row.at),
    )
