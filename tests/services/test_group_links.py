"""Links to groups: what they show, what they open, and how they end."""

from __future__ import annotations

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors.groups import LinkNotFound, LinkUsedUp
from messenger.schemas.admission import JoinDraft, LinkDraft, LinkPatch, LinkView
from messenger.schemas.groups import GroupPreview, GroupView, MemberPatch
from messenger.testing import Factory, Person
from tests.support.groups import create_group, join, send


async def make_link(container: Container, maker: Person, group: GroupView) -> LinkView:
    return await container.services.group_links.create(maker.actor, group.id, LinkDraft())


class TestPreview:
    async def test_preview_shows_group_without_members_and_messages(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await send(container, ada, group, "Secret")
        link = await make_link(container, ada, group)
        assert await container.services.group_links.preview(eve.actor, link.token) == GroupPreview(
            group.id,
            "group",
            "Reading",
            about="",
            avatar=None,
            member_count=2,
            encrypted=False,
            approval=False,
            membership="none",
        )

    async def test_expired_link_is_not_found(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada, eve = await make.people(2)
        link = await make_link(container, ada, await create_group(container, ada))
        clock.advance(days=7)
        eve = await make.refreshed(eve)
        with pytest.raises(LinkNotFound):
            await container.services.group_links.preview(eve.actor, link.token)
        with pytest.raises(LinkNotFound):
            await container.services.group_links.join(eve.actor, link.token, JoinDraft())


class TestRevoke:
    async def test_revoking_all_ends_links_of_all_makers(self, container: Container, make: Factory) -> None:
        ada, bob, dan, eve = await make.people(4)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, dan)
        for each in (bob, dan):
            await container.services.members.update(ada.actor, group.id, each.id, MemberPatch(role="moderator"))
        links = [await make_link(container, maker, group) for maker in (ada, bob, dan)]
        await container.services.group_links.revoke(dan.actor, group.id)
        for link in links:
            with pytest.raises(LinkNotFound):
                await container.services.group_links.join(eve.actor, link.token, JoinDraft())


class TestOtherGroup:
    async def test_link_opens_own_group_at_lowest_rank(self, container: Container, make: Factory) -> None:
        ada, eve = await make.people(2)
        group, other = await create_group(container, ada), await create_group(container, ada)
        link = await make_link(container, ada, group)
        for _ in range(2):
            joined = await container.services.group_links.join(eve.actor, link.token, JoinDraft())
            assert isinstance(joined.group, GroupView)
            assert (joined.group.id, joined.group.me.role) == (group.id, "member")
        page = await container.services.groups.list_page(eve.actor, after=0, limit=50)
        assert [each.id for each in page.items] == [group.id]
        assert (await container.services.groups.get(ada.actor, other.id)).member_count == 1

    async def test_link_of_other_group_is_not_found(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        theirs, mine = await create_group(container, ada), await create_group(container, bob)
        link = await make_link(container, ada, theirs)
        links = container.services.group_links
        with pytest.raises(LinkNotFound):
            await links.update(bob.actor, mine.id, link.id, LinkPatch(approval=True))
        await links.revoke(bob.actor, mine.id, link.id)
        await links.revoke(bob.actor, mine.id)
        assert (await links.join(eve.actor, link.token, JoinDraft())).membership == "member"


class TestRequests:
    async def test_accepted_requests_never_exceed_uses_of_link(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        draft = LinkDraft(approval=True, max_uses=1)
        link = await container.services.group_links.create(ada.actor, group.id, draft)
        for person in (bob, eve):
            await container.services.group_links.join(person.actor, link.token, JoinDraft())
        await container.services.group_links.answer(ada.actor, group.id, bob.id, accept=True)
        with pytest.raises(LinkUsedUp):
            await container.services.group_links.answer(ada.actor, group.id, eve.id, accept=True)
        (stored,) = (await container.services.group_links.list_links(ada.actor, group.id)).items
        assert (stored.uses, stored.pending) == (1, 1)
