"""Users by their IDs: those who are contacts of the caller, or members of a group with the caller."""

from __future__ import annotations

from messenger.container import Container
from messenger.schemas.groups import LeaveDraft
from messenger.schemas.users import PrivacyPatch, ProfilePatch, SubscribeDraft
from messenger.testing import Factory, Person
from tests.support.groups import create_group, join
from tests.support.images import encoded, plain
from tests.support.tables import rows


async def listed(container: Container, caller: Person, *people: Person) -> list[int]:
    """The IDs that are listed of these people."""
    view = await container.services.profiles.list_known(caller.actor, [person.id for person in people])
    return [item.id for item in view.items]


class TestKnownUsers:
    async def test_contacts_and_members_of_common_groups_are_listed(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        eve, dan, stranger = await make.people(3)
        group = await create_group(container, eve)
        await join(container, make, eve, group, ada, dan)
        await container.services.contacts.unsubscribe(eve.actor, ada.id)
        people = [stranger, ada, dan, eve, bob, bob]
        assert await listed(container, ada, *people) == sorted([bob.id, eve.id, dan.id])
        assert await listed(container, bob, *people) == [ada.id]
        assert await listed(container, stranger, *people) == []

    async def test_request_and_former_contact_are_left_out(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        eve = await make.person()
        await container.services.contacts.subscribe(eve.actor, SubscribeDraft(target_id=ada.id))
        assert await listed(container, ada, bob, eve) == [bob.id]
        await make.message(ada, bob)
        await container.services.contacts.unsubscribe(bob.actor, ada.id)
        # They still have a conversation, which is no group.
        assert await listed(container, ada, bob, eve) == []

    async def test_former_member_is_left_out(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve)
        assert await listed(container, bob, eve) == [eve.id]
        await container.services.ownership.leave(eve.actor, group.id, LeaveDraft())
        assert await listed(container, bob, eve) == []
        assert await listed(container, eve, bob) == []

    async def test_block_hides_contact_but_no_member(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve)
        await container.services.contacts.block(bob.actor, eve.id)
        assert await listed(container, bob, eve) == [eve.id]
        assert await listed(container, eve, bob) == [bob.id]
        one, other = await make.friends()
        await container.services.contacts.block(one.actor, other.id)
        assert await listed(container, one, other) == []
        assert await listed(container, other, one) == []

    async def test_erased_user_is_left_out(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        assert await listed(container, ada, bob) == [bob.id]
        await container.services.accounts.erase(bob.actor, bob.password)
        assert await listed(container, ada, bob) == []

    async def test_avatar_is_shown_as_privacy_allows(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve)
        await container.services.avatars.upload(ada.actor, encoded(plain()))
        await container.services.profiles.update(ada.actor, ProfilePatch(privacy=PrivacyPatch(avatar="contacts")))
        await container.services.contacts.unsubscribe(eve.actor, ada.id)
        for who, shown in ((bob, True), (eve, False)):
            view = await container.services.profiles.list_known(who.actor, [ada.id])
            assert [item.avatar is not None for item in view.items] == [shown]

    async def test_erased_member_is_left_out(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await join(container, make, ada, await create_group(container, ada), bob)
        # The account is erased first, and its memberships end shortly after.
        await rows(container, "UPDATE users SET deleted_at = now() WHERE id = $1", bob.id)
        assert await listed(container, ada, bob) == []
