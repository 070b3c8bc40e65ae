"""Look-ups: what privacy settings show to whom."""

from __future__ import annotations

import hashlib
import secrets

import pytest

from messenger.container import Container
from messenger.errors import MessengerError, PeerNotFound
from messenger.media.processor import Avatar
from messenger.schemas.types import AudienceName
from messenger.schemas.users import PersonView, PrivacyPatch, ProfilePatch
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD


async def change(container: Container, person: Person, patch: ProfilePatch) -> None:
    await container.services.profiles.update(person.actor, patch)


async def look_up(container: Container, person: Person, target: Person) -> PersonView:
    return await container.services.profiles.find(person.actor, target_id=target.id)


@pytest.fixture
def pictures(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    async def decode(data: bytes) -> Avatar:
        return Avatar(hashlib.sha256(data).hexdigest(), data, data, 64, 64, "cGxhY2Vob2xkZXI=")

    monkeypatch.setattr(container.images, "avatar", decode)


class TestFindUser:
    async def test_look_up_by_username_and_by_number_return_same_view(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.people(2)
        by_name = await container.services.profiles.find(ada.actor, username=bob.username.upper())
        assert by_name == await look_up(container, ada, bob)

    async def test_look_up_shows_contact_state(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        assert (await look_up(container, ada, bob)).contact == "mutual"

    @pytest.mark.parametrize(
        ("audience", "to_stranger", "to_friend"),
        [("everyone", True, True), ("contacts", False, True), ("nobody", False, False)],
    )
    async def test_last_seen_follows_privacy_setting(
        self, container: Container, make: Factory, audience: AudienceName, to_stranger: bool, to_friend: bool
    ) -> None:
        (ada, friend), stranger = await make.friends(), await make.person()
        await change(container, ada, ProfilePatch(privacy=PrivacyPatch(last_seen=audience)))
        await make.connected(ada)
        for person, shown in ((stranger, to_stranger), (friend, to_friend)):
            view = await look_up(container, person, ada)
            assert (view.last_activity is not None, view.online) == (shown, shown)

    async def test_recently_active_user_without_socket_is_offline(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await container.services.profiles.get(ada.actor)
        view = await look_up(container, bob, ada)
        assert (view.online, view.last_activity is not None) == (False, True)

    async def test_invisible_user_with_socket_is_offline(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.connected(ada)
        assert (await look_up(container, bob, ada)).online
        await change(container, ada, ProfilePatch(status="invisible"))
        assert not (await look_up(container, bob, ada)).online

    @pytest.mark.usefixtures("pictures")
    @pytest.mark.parametrize(
        ("audience", "to_stranger", "to_friend"),
        [("everyone", True, True), ("contacts", False, True), ("nobody", False, False)],
    )
    async def test_look_up_avatar_follows_privacy_setting(
        self, container: Container, make: Factory, audience: AudienceName, to_stranger: bool, to_friend: bool
    ) -> None:
        (ada, friend), stranger = await make.friends(), await make.person()
        await container.services.avatars.upload(ada.actor, secrets.token_bytes(32))
        await change(container, ada, ProfilePatch(privacy=PrivacyPatch(avatar=audience)))
        for person, shown in ((stranger, to_stranger), (friend, to_friend)):
            assert ((await look_up(container, person, ada)).avatar is not None) == shown

    async def test_status_is_shown_only_to_mutual_contacts(self, container: Container, make: Factory) -> None:
        (ada, friend), stranger = await make.friends(), await make.person()
        await change(container, ada, ProfilePatch(status="busy", status_text="Reading"))
        views = [await look_up(container, person, ada) for person in (stranger, friend)]
        assert [(view.status, view.status_text) for view in views] == [(None, None), ("busy", "Reading")]

    async def test_look_up_of_self_shows_everything(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await make.connected(ada)
        view = await look_up(container, ada, ada)
        assert (view.status, view.online, view.contact) == ("online", True, "none")

    async def test_blocked_user_sees_same_view_as_stranger(self, container: Container, make: Factory) -> None:
        (ada, blocked), stranger = await make.friends(), await make.person()
        await container.services.contacts.block(ada.actor, blocked.id)
        assert await look_up(container, blocked, ada) == await look_up(container, stranger, ada)

    async def test_blocked_user_sees_no_presence_shown_to_everyone(self, container: Container, make: Factory) -> None:
        ada, blocked = await make.people(2)
        await make.connected(ada)
        await change(container, ada, ProfilePatch(privacy=PrivacyPatch(last_seen="everyone")))
        assert (await look_up(container, blocked, ada)).online
        await container.services.contacts.block(ada.actor, blocked.id)
        view = await look_up(container, blocked, ada)
        assert (view.online, view.last_activity) == (False, None)

    async def test_unknown_erased_and_disabled_users_get_same_answer(self, container: Container, make: Factory) -> None:
        ada, erased, disabled = await make.people(3)
        await container.services.accounts.erase(erased.actor, PASSWORD)
        await container.services.administration.set_disabled(str(disabled.id), disabled=True)
        refusals: list[MessengerError] = []
        for target in ({"target_id": 1}, {"target_id": erased.id}, {"username": disabled.username}):
            with pytest.raises(PeerNotFound) as caught:
                await container.services.profiles.find(ada.actor, **target)
            refusals.append(caught.value)
        shown = [(e.status, e.code, e.detail, e.errors, e.response_headers, e.extra) for e in refusals]
        assert shown[1:] == shown[:-1]
