"""Events of groups, as members, former members and invited users read them."""

from __future__ import annotations

from typing import Any

import msgspec

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.schemas.admission import BanDraft, InvitationsDraft, JoinDraft, LinkDraft
from messenger.schemas.groups import GroupDraft, GroupPatch, GroupView, LeaveDraft
from messenger.testing import Factory, Person


async def create(container: Container, owner: Person) -> GroupView:
    return (await container.services.groups.create(owner.actor, GroupDraft(name="Reading"))).group


async def invite(container: Container, owner: Person, group: GroupView, person: Person) -> None:
    await container.services.invitations.invite(owner.actor, group.id, InvitationsDraft(user_ids=[person.id]))


async def events(container: Container, person: Person) -> list[tuple[str, dict[str, Any]]]:
    """All group events of a user's stream."""
    page = await container.services.sync.sync(person.actor, cursor="e0", limit=200)
    return [(frame.event, msgspec.to_builtins(frame.data)) for frame in page.events if frame.event.startswith("group.")]


class TestJoining:
    async def test_invited_user_reads_invitation_then_group(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        group = await create(container, ada)
        await invite(container, ada, group, bob)
        ((name, data),) = await events(container, bob)
        assert (name, data["group"]["membership"], data["inviter"]["id"]) == ("group.invited", "invited", ada.id)
        await container.services.invitations.accept(bob.actor, group.id)
        read = await events(container, bob)
        assert [name for name, _ in read] == ["group.invited", "group.updated", "group.member", "group.invited"]
        assert read[1][1]["group"]["me"]["role"] == "member"
        assert (read[1][1]["notice"]["action"], read[1][1]["notice"]["user_id"]) == ("joined", bob.id)

    async def test_members_read_new_member(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        group = await create(container, ada)
        await invite(container, ada, group, bob)
        await container.services.invitations.accept(bob.actor, group.id)
        name, data = (await events(container, ada))[-1]
        assert (name, data["member"]["user"]["id"], data["membership"], data["member_count"]) == (
            "group.member",
            bob.id,
            "member",
            2,
        )

    async def test_lapsed_request_is_not_shown(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada, bob = await make.friends()
        group = await create(container, ada)
        link = await container.services.group_links.create(
            ada.actor, group.id, LinkDraft(approval=True, expires_at=None)
        )
        await container.services.group_links.join(bob.actor, link.token, JoinDraft())
        clock.advance(days=31)
        ada, bob = await make.refreshed(ada), await make.refreshed(bob)
        await invite(container, ada, group, bob)
        await container.services.invitations.withdraw(ada.actor, group.id, bob.id)
        shown = [data["group"]["membership"] for name, data in await events(container, bob) if name == "group.invited"]
        assert shown[-1] == "none"


class TestLeaving:
    async def test_banned_user_reads_only_preview(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        group = await create(container, ada)
        await invite(container, ada, group, bob)
        await container.services.invitations.accept(bob.actor, group.id)
        await container.services.groups.update(ada.actor, group.id, GroupPatch(about="Secret"))
        await container.services.bans.ban(ada.actor, group.id, bob.id, BanDraft())
        read = await events(container, bob)
        name, data = read[-1]
        assert (name, data["group"]["membership"]) == ("group.updated", "none")
        assert "group.member" not in [name for name, _ in read]
        assert all("me" not in data["group"] for _, data in read)

    async def test_remaining_members_read_departure(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        group = await create(container, ada)
        await invite(container, ada, group, bob)
        await container.services.invitations.accept(bob.actor, group.id)
        await container.services.ownership.leave(bob.actor, group.id, LeaveDraft())
        name, data = (await events(container, ada))[-1]
        assert (name, data["membership"], data["member_count"], data["notice"]["action"]) == (
            "group.member",
            "none",
            1,
            "left",
        )
