"""Invitations and requests that lapse: users who saw one are notified of its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.repositories import sweeps
from messenger.schemas.admission import BanDraft, JoinDraft, LinkDraft
from messenger.schemas.groups import GroupDeletionDraft, GroupView, LeaveDraft, MemberPatch
from messenger.testing import Factory, Person
from tests.support.groups import create_group, invite, join


@pytest.fixture
async def fresh(fresh_database_url: str, settings: Settings, clock: FixedClock) -> AsyncIterator[Container]:
    """A database of its own: a sweep looks at all groups. Events are kept for longer than an invitation."""
    own = msgspec.structs.replace(settings, database_url=fresh_database_url, event_retention=90)
    container = Container(own, clock=clock)
    yield container
    await container.close()


@pytest.fixture
def people(fresh: Container) -> Factory:
    return Factory(fresh)


async def place(container: Container, person: Person) -> str:
    """The end of the user's stream."""
    return (await container.services.sync.sync(person.actor, cursor=None, limit=1)).cursor


async def after(container: Container, person: Person, cursor: str, name: str) -> list[Any]:
    """The data of the events of this name after a cursor, as they are delivered."""
    events = (await container.services.sync.sync(person.actor, cursor=cursor, limit=100)).events
    return [event.data for event in events if event.event == name]


async def ended(container: Container, person: Person, cursor: str) -> list[tuple[int, str, object, object]]:
    """The group, the membership, the inviter and the time of each `group.invited` after a cursor."""
    found = await after(container, person, cursor, "group.invited")
    return [(each.group.id, each.group.membership, each.inviter, each.at) for each in found]


async def ask(container: Container, owner: Person, group: GroupView, *people: Person) -> None:
    """Let these people ask to join, by a link."""
    link = await container.services.group_links.create(owner.actor, group.id, LinkDraft(approval=True))
    for person in people:
        await container.services.group_links.join(person.actor, link.token, JoinDraft())


class TestInvitations:
    async def test_old_invitation_ends_with_event(self, fresh: Container, people: Factory, clock: FixedClock) -> None:
        ada, bob, eve = await people.people(3)
        group = await create_group(fresh, ada)
        for person in (bob, eve):
            await people.befriend(ada, person)
        await fresh.services.contacts.block(eve.actor, ada.id)
        assert await invite(fresh, ada, group, bob) == ["invited"]
        await invite(fresh, ada, group, eve)
        cursors = [await place(fresh, person) for person in (bob, eve)]
        clock.advance(days=29)
        assert (await fresh.services.maintenance.sweep())["group_invitations"] == 0
        clock.advance(days=1, seconds=1)
        assert (await fresh.services.maintenance.sweep())["group_invitations"] >= 1
        assert await ended(fresh, bob, cursors[0]) == [(group.id, "none", None, None)]
        # She never saw it.
        assert await ended(fresh, eve, cursors[1]) == []
        await fresh.services.maintenance.sweep()
        assert len(await ended(fresh, bob, cursors[0])) == 1

    @pytest.mark.parametrize("end", ["leaves", "is removed", "is banned", "deletes the group"])
    async def test_invitation_ends_with_membership_of_inviter(
        self, container: Container, make: Factory, end: str
    ) -> None:
        ada, bob, eve, dan, fay = await make.people(5)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        for person in (eve, dan):
            await make.befriend(bob, person)
        await make.befriend(ada, fay)
        assert await invite(container, bob, group, eve, dan) == ["invited"] * 2
        assert await invite(container, ada, group, fay) == ["invited"]
        await container.services.contacts.block(dan.actor, bob.id)
        cursors = {person.id: await place(container, person) for person in (eve, dan, fay)}
        match end:
            case "leaves":
                await container.services.ownership.leave(bob.actor, group.id, LeaveDraft())
            case "is removed":
                await container.services.members.remove(ada.actor, group.id, bob.id)
            case "is banned":
                await container.services.bans.ban(ada.actor, group.id, bob.id, BanDraft())
            case _:
                draft = GroupDeletionDraft(password=ada.password)
                await container.services.ownership.delete(ada.actor, group.id, draft)
        over = [(group.id, "none", None, None)]
        assert await ended(container, eve, cursors[eve.id]) == over
        assert await ended(container, dan, cursors[dan.id]) == []
        assert await ended(container, fay, cursors[fay.id]) == (over if end == "deletes the group" else [])

    async def test_leaving_last_member_ends_invitations(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        group = await create_group(container, ada)
        await invite(container, ada, group, bob)
        cursor = await place(container, bob)
        await container.services.ownership.leave(ada.actor, group.id, LeaveDraft())
        assert await ended(container, bob, cursor) == [(group.id, "none", None, None)]

    async def test_block_of_inviter_ends_invitation_for_good(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        groups = [await create_group(container, ada) for _ in range(2)]
        for group in groups:
            await invite(container, ada, group, bob)
        cursor = await place(container, bob)
        await container.services.contacts.block(bob.actor, ada.id)
        over = [(group_id, "none", None, None) for group_id in sorted(group.id for group in groups)]
        assert await ended(container, bob, cursor) == over
        await container.services.contacts.unblock(bob.actor, ada.id)
        assert (await container.services.invitations.list_page(bob.actor, after=0, limit=10)).items == []
        # The inviter cannot tell: the invitation still looks open.
        assert await invite(container, ada, groups[0], bob) != ["joined"]
        assert len(await ended(container, bob, cursor)) == 2

    async def test_block_by_inviter_ends_no_invitation(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        group = await create_group(container, ada)
        await invite(container, ada, group, bob)
        cursor = await place(container, bob)
        await container.services.contacts.block(ada.actor, bob.id)
        assert await ended(container, bob, cursor) == []
        (item,) = (await container.services.invitations.list_page(bob.actor, after=0, limit=10)).items
        assert item.group.id == group.id


class TestRequests:
    async def test_old_request_ends_with_event_to_moderators(
        self, fresh: Container, people: Factory, clock: FixedClock
    ) -> None:
        ada, mod, bob, eve, dan = await people.people(5)
        group = await create_group(fresh, ada)
        await join(fresh, people, ada, group, mod, dan)
        await fresh.services.members.update(ada.actor, group.id, mod.id, MemberPatch(role="moderator"))
        await ask(fresh, ada, group, bob)
        clock.advance(days=15)
        ada = await people.refreshed(ada)
        await ask(fresh, ada, group, eve)
        cursors = {person.id: await place(fresh, person) for person in (ada, mod, dan, bob)}
        clock.advance(days=15, seconds=1)
        assert (await fresh.services.maintenance.sweep())["group_requests"] == 1
        for person in (ada, mod):
            (event,) = await after(fresh, person, cursors[person.id], "group.requested")
            told = (event.target_id, event.user.id, event.membership, event.pending, event.message, event.at)
            assert told == (group.id, bob.id, "none", 1, None, None)
        for person in (dan, bob):
            assert await after(fresh, person, cursors[person.id], "group.requested") == []

    async def test_declined_request_ends_without_event(
        self, fresh: Container, people: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await people.people(2)
        group = await create_group(fresh, ada)
        await ask(fresh, ada, group, bob)
        await fresh.services.group_links.answer(ada.actor, group.id, bob.id, accept=False)
        cursor = await place(fresh, ada)
        clock.advance(days=31)
        assert (await fresh.services.maintenance.sweep())["group_requests"] == 1
        assert await after(fresh, ada, cursor, "group.requested") == []

    async def test_sweep_removes_requests_in_small_transactions(
        self, fresh: Container, people: Factory, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada, *others = await people.people(4)
        group = await create_group(fresh, ada)
        await ask(fresh, ada, group, *others)
        cursor = await place(fresh, ada)
        clock.advance(days=31)
        monkeypatch.setattr("messenger.services.maintenance._REQUESTS_A_PASS", sweeps.LAPSED_AT_ONCE)
        assert (await fresh.services.maintenance.sweep())["group_requests"] == 3
        assert [each.pending for each in await after(fresh, ada, cursor, "group.requested")] == [0, 0, 0]
