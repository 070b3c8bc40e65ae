"""Invitations that are not delivered: the inviter cannot tell, and the invited user's state does not change."""

from __future__ import annotations

from typing import Any

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import RateLimited
from messenger.errors.groups import LinkNotFound, RequestNotFound
from messenger.schemas.admission import BanDraft, DeclineDraft, JoinDraft, LinkDraft, LinkView
from messenger.schemas.groups import GroupView
from messenger.schemas.users import SettingsPatch
from messenger.testing import Factory, Person, StatementLog
from tests.support.groups import create_group, invite, join, leave
from tests.support.tables import event_data


async def invitations(container: Container, person: Person) -> list[int]:
    """The groups that this user is invited to."""
    page = await container.services.invitations.list_page(person.actor, after=0, limit=50)
    return [each.group.id for each in page.items]


async def places(container: Container, person: Person) -> list[Any]:
    """The conversations and groups that this user has."""
    conversations = await container.services.conversations.list_page(person.actor, cursor=None, limit=50)
    return [conversations.items, await container.services.groups.list_page(person.actor, after=0, limit=50)]


class Inviter:
    """Ada with a group, a plain member of it, and contacts of that member who do not receive invitations to it."""

    def __init__(self, container: Container, make: Factory, owner: Person, member: Person, group: GroupView) -> None:
        self._container, self._make = container, make
        self.owner, self.member, self.group = owner, member, group

    async def contact(self, kind: str) -> Person:
        person = await self._make.person()
        await self._make.befriend(self.member, person)
        services = self._container.services
        if kind == "blocks":
            await services.contacts.block(person.actor, self.member.id)
        elif kind == "declined":
            assert await invite(self._container, self.member, self.group, person) == ["invited"]
            await services.invitations.decline(person.actor, self.group.id, DeclineDraft())
        elif kind == "banned":
            await services.bans.ban(self.owner.actor, self.group.id, person.id, BanDraft())
        return person

    async def invite(self, *people: Person) -> list[str]:
        return await invite(self._container, self.member, self.group, *people)


@pytest.fixture
async def inviter(container: Container, make: Factory) -> Inviter:
    ada, bob = await make.people(2)
    group = await create_group(container, ada)
    await join(container, make, ada, group, bob)
    return Inviter(container, make, ada, bob, group)


UNDELIVERED = ("blocks", "declined", "banned")


class TestSecrecy:
    async def test_undelivered_invitation_looks_delivered(
        self, container: Container, inviter: Inviter, statements: StatementLog
    ) -> None:
        """It has the same outcome, takes the same statements, and is listed alike."""
        looks: dict[str, Any] = {}
        # The first one of all may open a connection, which takes statements of its own.
        for kind in ("delivered", "delivered", *UNDELIVERED):
            person = await inviter.contact(kind)
            seen = []
            for _ in range(2):
                async with statements.recording() as sent:
                    outcomes = await inviter.invite(person)
                # Savepoints are numbered.
                seen.append((outcomes, [each for each in sent if "SAVEPOINT" not in each]))
            page = await container.services.members.list_invited(
                inviter.member.actor, inviter.group.id, after=0, limit=50
            )
            (entry,) = [each for each in page.items if each.user.id == person.id]
            looks[kind] = (seen, entry.invited_by, entry.joined_at)
            received = kind == "delivered"
            assert await invitations(container, person) == ([inviter.group.id] if received else [])
        assert looks["delivered"][0][0][0] == ["invited"]
        for kind in UNDELIVERED:
            assert looks[kind] == looks["delivered"], kind

    async def test_outcomes_in_list_are_alike(self, inviter: Inviter) -> None:
        people = [await inviter.contact(kind) for _ in range(5) for kind in ("delivered", *UNDELIVERED)]
        assert await inviter.invite(*people) == ["invited"] * 20

    async def test_full_limit_of_receiver_refuses_both_alike(
        self, container: Container, limited: Container, make: Factory
    ) -> None:
        """The 21st invitation to one user, by 21 inviters in 21 groups; the receiver blocks the last one."""
        bob = await make.person()
        inviters = await make.people(22)
        groups = [await create_group(container, each) for each in inviters]
        for each in inviters:
            await make.befriend(each, bob)
        await container.services.contacts.block(bob.actor, inviters[-1].id)
        for owner, group in list(zip(inviters, groups, strict=True))[:20]:
            assert await invite(limited, owner, group, bob) == ["invited"]
        for owner, group in list(zip(inviters, groups, strict=True))[20:]:
            with pytest.raises(RateLimited):
                await invite(limited, owner, group, bob)
        assert len(await event_data(container, bob, "group.invited")) == 20
        assert sorted(await invitations(container, bob)) == sorted(group.id for group in groups[:20])


class TestReceiver:
    @pytest.mark.parametrize("kind", ["delivered", *UNDELIVERED])
    async def test_invitation_changes_no_conversation(self, container: Container, inviter: Inviter, kind: str) -> None:
        person = await inviter.contact(kind)
        before = await places(container, person)
        await inviter.invite(person)
        assert await places(container, person) == before == [[], before[1]]
        assert before[1].items == []

    @pytest.mark.parametrize("kind", UNDELIVERED)
    async def test_invitation_after_obstacle_is_delivered(
        self, container: Container, make: Factory, inviter: Inviter, clock: FixedClock, kind: str
    ) -> None:
        person = await inviter.contact(kind)
        clock.advance(days=20)
        inviter.member, person = await make.refreshed(inviter.member), await make.refreshed(person)
        await inviter.invite(person)
        assert await invitations(container, person) == []
        if kind == "blocks":
            await container.services.contacts.unblock(person.actor, inviter.member.id)
            await make.befriend(inviter.member, person)
        elif kind == "banned":
            inviter.owner = await make.refreshed(inviter.owner)
            await container.services.bans.unban(inviter.owner.actor, inviter.group.id, person.id)
        else:
            clock.advance(days=11)
            inviter.member, person = await make.refreshed(inviter.member), await make.refreshed(person)
        for _ in range(2):
            assert await inviter.invite(person) == ["invited"]
        assert await invitations(container, person) == [inviter.group.id]
        events = await event_data(container, person, "group.invited")
        assert events[-1]["group"]["membership"] == "invited"
        await container.services.invitations.accept(person.actor, inviter.group.id)

    @pytest.mark.parametrize("refusal", ["left", "declined"])
    async def test_auto_join_only_invites_former_member(
        self, container: Container, inviter: Inviter, refusal: str
    ) -> None:
        person = await inviter.contact("declined" if refusal == "declined" else "delivered")
        if refusal == "left":
            await inviter.invite(person)
            await container.services.invitations.accept(person.actor, inviter.group.id)
            await leave(container, person, inviter.group)
        await container.services.settings.update(person.actor, SettingsPatch(auto_join="contacts"))
        assert await inviter.invite(person) == ["invited"]
        assert (await container.services.groups.get(inviter.owner.actor, inviter.group.id)).member_count == 2

    async def test_withdrawn_request_cannot_be_accepted(self, container: Container, inviter: Inviter) -> None:
        person = await inviter.contact("delivered")
        services, group_id = container.services, inviter.group.id
        link = await services.group_links.create(inviter.owner.actor, group_id, LinkDraft(approval=True))
        await services.group_links.join(person.actor, link.token, JoinDraft())
        await services.group_links.withdraw(person.actor, group_id)
        with pytest.raises(RequestNotFound):
            await services.group_links.answer(inviter.owner.actor, group_id, person.id, accept=True)


class TestBan:
    async def test_ban_closes_every_way_until_unban(self, container: Container, inviter: Inviter) -> None:
        person = await inviter.contact("delivered")
        owner, group_id, links = inviter.owner, inviter.group.id, container.services.group_links
        made: list[LinkView] = [
            await links.create(owner.actor, group_id, LinkDraft(approval=approval)) for approval in (False, True)
        ]
        await inviter.invite(person)
        await links.join(person.actor, made[1].token, JoinDraft())
        await container.services.bans.ban(owner.actor, group_id, person.id, BanDraft())
        assert await invitations(container, person) == []
        assert (await links.list_requests(owner.actor, group_id, after=0, limit=50)).items == []
        with pytest.raises(RequestNotFound):
            await links.answer(owner.actor, group_id, person.id, accept=True)
        for link in made:
            with pytest.raises(LinkNotFound):
                await links.preview(person.actor, link.token)
            with pytest.raises(LinkNotFound):
                await links.join(person.actor, link.token, JoinDraft())
        await container.services.bans.unban(owner.actor, group_id, person.id)
        assert (await links.join(person.actor, made[1].token, JoinDraft())).membership == "requested"
        assert await inviter.invite(person) == ["invited"]
        assert await invitations(container, person) == [group_id]
        assert (await links.join(person.actor, made[0].token, JoinDraft())).membership == "member"
