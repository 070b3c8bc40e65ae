"""Invitations: consent, outcomes, and what the inviter cannot tell apart."""

from __future__ import annotations

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors.groups import GroupFull, InvitationNotFound
from messenger.schemas.admission import BanDraft, DeclineDraft, LinkDraft
from messenger.schemas.groups import GroupView, LeaveDraft
from messenger.schemas.users import PrivacyPatch, ProfilePatch, SettingsPatch
from messenger.testing import Factory, Person
from tests.support.groups import create_group, invite, join
from tests.support.tables import event_data, rows


async def invitations(container: Container, person: Person) -> list[int]:
    """The groups that this user is invited to."""
    page = await container.services.invitations.list_page(person.actor, after=0, limit=50)
    return [each.group.id for each in page.items]


async def allow_joining(container: Container, person: Person) -> None:
    await container.services.settings.update(person.actor, SettingsPatch(auto_join="contacts"))


async def fill(container: Container, group: GroupView, count: int) -> None:
    """Let the group count this many members."""
    await rows(container, "UPDATE groups SET member_count = $2 WHERE id = $1", group.id, count)


class TestInvite:
    async def test_stranger_is_invited_only_if_allowed(self, container: Container, make: Factory) -> None:
        ada, eve, dan = await make.people(3)
        group = await create_group(container, ada)
        privacy = ProfilePatch(privacy=PrivacyPatch(groups_from="everyone"))
        await container.services.profiles.update(dan.actor, privacy)
        assert await invite(container, ada, group, eve, dan) == ["not_a_contact", "invited"]
        assert (await invitations(container, eve), await invitations(container, dan)) == ([], [group.id])

    async def test_blocker_looks_invited_and_receives_no_event(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        group = await create_group(container, ada)
        await container.services.contacts.block(bob.actor, ada.id)
        assert await invite(container, ada, group, bob) == ["invited"]
        assert await invitations(container, bob) == []
        assert await event_data(container, bob, "group.invited") == []
        listed = await container.services.members.list_invited(ada.actor, group.id, after=0, limit=50)
        assert [each.user.id for each in listed.items] == [bob.id]
        with pytest.raises(InvitationNotFound):
            await container.services.invitations.accept(bob.actor, group.id)

    async def test_ban_is_shown_to_moderators_only(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await make.befriend(bob, eve)
        await container.services.bans.ban(ada.actor, group.id, eve.id, BanDraft())
        assert await invite(container, bob, group, eve) == ["invited"]
        assert await invite(container, ada, group, eve) == ["banned"]
        assert await invitations(container, eve) == []

    async def test_contact_with_auto_join_joins_at_once(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await allow_joining(container, bob)
        group = await create_group(container, ada)
        assert await invite(container, ada, group, bob) == ["joined"]
        assert (await container.services.groups.get(bob.actor, group.id)).member_count == 2

    async def test_former_member_is_only_invited(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await allow_joining(container, bob)
        group = await create_group(container, ada)
        await invite(container, ada, group, bob)
        await container.services.ownership.leave(bob.actor, group.id, LeaveDraft())
        assert await invite(container, ada, group, bob) == ["invited"]

    async def test_repeated_invitation_is_delivered_once(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        group = await create_group(container, ada)
        for _ in range(2):
            assert await invite(container, ada, group, bob) == ["invited"]
        assert len(await event_data(container, bob, "group.invited")) == 1

    async def test_full_group_invites_no_user(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        await make.befriend(ada, bob)
        await make.befriend(ada, eve)
        group = await create_group(container, ada)
        await invite(container, ada, group, bob)
        await fill(container, group, 200)
        assert await invite(container, ada, group, eve) == ["group_full"]
        with pytest.raises(GroupFull):
            await container.services.invitations.accept(bob.actor, group.id)


class TestAnswer:
    async def test_declined_group_cannot_invite_for_a_month(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        group = await create_group(container, ada)
        await invite(container, ada, group, bob)
        await container.services.invitations.decline(bob.actor, group.id, DeclineDraft())
        assert await invite(container, ada, group, bob) == ["invited"]
        assert await invitations(container, bob) == []
        clock.advance(days=31)
        ada, bob = await make.refreshed(ada), await make.refreshed(bob)
        assert await invite(container, ada, group, bob) == ["invited"]
        assert await invitations(container, bob) == [group.id]

    async def test_invitation_lapses_with_membership_of_inviter(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await make.befriend(bob, eve)
        await invite(container, bob, group, eve)
        await container.services.ownership.leave(bob.actor, group.id, LeaveDraft())
        assert await invitations(container, eve) == []
        with pytest.raises(InvitationNotFound):
            await container.services.invitations.accept(eve.actor, group.id)

    async def test_invitation_lapses_when_invited_user_blocks_inviter(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.friends()
        group = await create_group(container, ada)
        await invite(container, ada, group, bob)
        await container.services.contacts.block(bob.actor, ada.id)
        with pytest.raises(InvitationNotFound):
            await container.services.invitations.accept(bob.actor, group.id)

    async def test_withdrawn_invitation_cannot_be_accepted(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        group = await create_group(container, ada)
        await invite(container, ada, group, bob)
        await container.services.invitations.withdraw(ada.actor, group.id, bob.id)
        assert await invitations(container, bob) == []
        assert (await event_data(container, bob, "group.invited"))[-1]["group"]["membership"] == "none"
        with pytest.raises(InvitationNotFound):
            await container.services.invitations.accept(bob.actor, group.id)


class TestPreviewByLink:
    async def test_preview_by_link_hides_invitation_of_blocked_user(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await make.befriend(bob, eve)
        assert await invite(container, bob, group, eve) == ["invited"]
        links = container.services.group_links
        link = await links.create(ada.actor, group.id, LinkDraft())
        assert (await links.preview(eve.actor, link.token)).membership == "invited"
        await container.services.contacts.block(eve.actor, bob.id)
        assert (await links.preview(eve.actor, link.token)).membership == "none"
