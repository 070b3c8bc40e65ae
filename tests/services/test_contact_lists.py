"""Lists of contacts: pages, and what each contact's privacy shows in them."""

from __future__ import annotations

import hashlib
import secrets

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.media.processor import Avatar
from messenger.schemas.types import AudienceName, ContactState, timestamp
from messenger.schemas.users import (
    ContactPage,
    PrivacyPatch,
    ProfilePatch,
    StatusView,
    SubscribeDraft,
)
from messenger.testing import Factory, Person
from tests.support.tables import rows


async def ask(container: Container, asker: Person, target: Person) -> None:
    await container.services.contacts.subscribe(asker.actor, SubscribeDraft(target_id=target.id))


async def page(
    container: Container, person: Person, *, state: ContactState | None = None, after: int = 0, limit: int = 50
) -> ContactPage:
    return await container.services.contacts.list_page(person.actor, state=state, after=after, limit=limit)


async def change(container: Container, person: Person, patch: ProfilePatch) -> None:
    await container.services.profiles.update(person.actor, patch)


class TestPages:
    async def test_pages_of_any_size_list_each_contact_once_by_ascending_number(
        self, container: Container, make: Factory
    ) -> None:
        ada, *others = await make.people(4)
        for other in others:
            await ask(container, ada, other)
        for limit in (1, 2, 3, 4):
            seen: list[int] = []
            after: str | None = "0"
            while after is not None:
                part = await page(container, ada, after=int(after), limit=limit)
                assert len(part.items) <= limit
                seen += [item.user.id for item in part.items]
                after = part.next
            assert seen == sorted(other.id for other in others)

    @pytest.mark.parametrize("state", ["pending_out", "pending_in", "mutual", "blocked"])
    async def test_pages_can_be_filtered_by_state(
        self, container: Container, make: Factory, state: ContactState
    ) -> None:
        ada, asked, asker, friend, foe = await make.people(5)
        await ask(container, ada, asked)
        await ask(container, asker, ada)
        await make.befriend(ada, friend)
        await container.services.contacts.block(ada.actor, foe.id)
        expected = {"pending_out": asked, "pending_in": asker, "mutual": friend, "blocked": foe}[state]
        assert [item.user.id for item in (await page(container, ada, state=state)).items] == [expected.id]

    async def test_page_of_user_without_contacts_is_empty(self, container: Container, make: Factory) -> None:
        assert await page(container, await make.person()) == ContactPage([], None)


class TestAvatarInList:
    @pytest.mark.parametrize(
        ("audience", "shown"),
        [("everyone", {"asked", "friend"}), ("contacts", {"friend"}), ("nobody", set())],
    )
    async def test_avatar_follows_privacy_of_contact(
        self,
        container: Container,
        make: Factory,
        monkeypatch: pytest.MonkeyPatch,
        audience: AudienceName,
        shown: set[str],
    ) -> None:
        data = secrets.token_bytes(32)
        picture = Avatar(hashlib.sha256(data).hexdigest(), data, data, 64, 64, "cGxhY2Vob2xkZXI=")

        async def decode(_: bytes) -> Avatar:
            return picture

        monkeypatch.setattr(container.images, "avatar", decode)
        ada, asked, friend = await make.people(3)
        await container.services.avatars.upload(ada.actor, data)
        await change(container, ada, ProfilePatch(privacy=PrivacyPatch(avatar=audience)))
        await ask(container, asked, ada)
        await make.befriend(friend, ada)
        people = {"asked": asked, "friend": friend}
        avatars = {name: (await page(container, person)).items[0].user.avatar for name, person in people.items()}
        assert {name for name, avatar in avatars.items() if avatar is not None} == shown


class TestStatuses:
    async def test_statuses_list_mutual_contacts_only(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, asked, friend = await make.people(3)
        await ask(container, ada, asked)
        await make.befriend(ada, friend)
        for person in (asked, friend):
            await make.connected(person)
        await change(container, friend, ProfilePatch(status="busy", status_text="Reading"))
        view = await container.services.contacts.statuses(ada.actor)
        assert view.items == [StatusView(friend.id, "busy", "Reading", True, timestamp(clock.now()))]

    async def test_recently_active_contact_without_socket_is_offline(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.connected(ada)
        seen = clock.now()
        (status,) = (await container.services.contacts.statuses(ada.actor)).items
        assert (status.user_id, status.online, status.last_activity) == (bob.id, False, timestamp(seen))

    async def test_idle_contact_with_socket_is_online(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.connected(await make.device(bob))
        seen = clock.now()
        clock.advance(days=1)
        (status,) = (await container.services.contacts.statuses(ada.actor)).items
        assert (status.user_id, status.online, status.last_activity) == (bob.id, True, timestamp(seen))

    async def test_socket_of_silent_worker_does_not_count_as_online(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.connected(bob)
        for seconds, online in ((25, True), (31, False)):
            aged = f"""
                UPDATE workers AS w SET seen_at = clock_timestamp() - interval '{seconds} seconds'
                FROM connections AS c WHERE c.worker_id = w.id AND c.user_id = $1
            """
            await rows(container, aged, bob.id)
            (status,) = (await container.services.contacts.statuses(ada.actor)).items
            assert status.online == online

    async def test_contact_hiding_last_seen_is_not_online(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.connected(bob)
        await change(container, bob, ProfilePatch(privacy=PrivacyPatch(last_seen="nobody")))
        (status,) = (await container.services.contacts.statuses(ada.actor)).items
        assert (status.online, status.last_activity) == (False, None)

    async def test_invisible_contact_looks_absent_since_hiding(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.connected(bob)
        hidden_at = clock.now()
        await change(container, bob, ProfilePatch(status="invisible"))
        clock.advance(seconds=10)
        await container.services.profiles.get(bob.actor)
        (status,) = (await container.services.contacts.statuses(ada.actor)).items
        assert (status.status, status.online, status.last_activity) == ("online", False, timestamp(hidden_at))
