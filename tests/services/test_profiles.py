"""Profiles: the user's own, and what others see of it."""

from __future__ import annotations

import secrets

import msgspec
import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import UsernameTaken, ValidationFailed, VersionConflict
from messenger.events import WakeUp
from messenger.schemas.types import timestamp
from messenger.schemas.users import PersonView, PrivacyPatch, PrivacyView, ProfilePatch, ProfileView
from messenger.services.profiles import Versioned
from messenger.testing import Factory, Person
from tests.support.tables import event_data


async def change(
    container: Container, person: Person, patch: ProfilePatch, *, expected: list[int] | None = None
) -> Versioned:
    return await container.services.profiles.update(person.actor, patch, expected=expected)


async def own(container: Container, person: Person) -> Versioned:
    return await container.services.profiles.get(person.actor)


async def look_up(container: Container, person: Person, target: Person) -> PersonView:
    return await container.services.profiles.find(person.actor, target_id=target.id)


class TestGetProfile:
    async def test_new_account_shows_default_profile(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person(name="Ada Lovelace")
        now = timestamp(clock.now())
        assert await own(container, ada) == Versioned(
            ProfileView(
                id=ada.id,
                username=ada.username,
                name="Ada Lovelace",
                about="",
                avatar=None,
                status="online",
                status_text="",
                last_activity=now,
                created_at=now,
                privacy=PrivacyView("contacts", "everyone", "contacts", "contacts", "contacts", "contacts", "contacts"),
            ),
            1,
        )


class TestUpdateProfile:
    @pytest.mark.parametrize(
        ("field", "value"),
        [("name", "Countess"), ("about", "Numbers"), ("status", "busy"), ("status_text", "Reading")],
    )
    async def test_update_changes_only_given_field(
        self, container: Container, make: Factory, field: str, value: str
    ) -> None:
        ada = await make.person()
        before = (await own(container, ada)).profile
        after = await change(container, ada, msgspec.convert({field: value}, ProfilePatch))
        assert after.profile == msgspec.structs.replace(before, **{field: value})
        assert await own(container, ada) == after

    @pytest.mark.parametrize("field", PrivacyView.__struct_fields__)
    async def test_update_changes_only_given_audience(self, container: Container, make: Factory, field: str) -> None:
        ada = await make.person()
        before = (await own(container, ada)).profile.privacy
        patch = ProfilePatch(privacy=msgspec.convert({field: "nobody"}, PrivacyPatch))
        after = (await change(container, ada, patch)).profile.privacy
        assert after == msgspec.structs.replace(before, **{field: "nobody"})

    async def test_empty_text_is_accepted_as_value(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await change(container, ada, ProfilePatch(about="Numbers", status_text="Reading"))
        after = (await change(container, ada, ProfilePatch(about="", status_text=""))).profile
        assert (after.about, after.status_text) == ("", "")

    async def test_each_update_increments_version(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        versions = [(await change(container, ada, ProfilePatch(about=text))).version for text in ("a", "b")]
        assert versions == [2, 3]

    async def test_update_notifies_own_devices_and_mutual_contacts(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.friends()
        eve = await make.person()
        await container.services.contacts.block(eve.actor, ada.id)
        published.clear()
        await change(container, ada, ProfilePatch(about="Numbers"))
        assert sorted(news.user_id for news in published) == sorted([ada.id, bob.id])
        mine, theirs = (await own(container, ada)).profile, await look_up(container, bob, ada)
        assert await event_data(container, ada, "profile.updated") == [msgspec.to_builtins(mine)]
        assert await event_data(container, bob, "profile.updated") == [msgspec.to_builtins(theirs)]

    async def test_profile_event_follows_privacy_at_reading(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await change(container, ada, ProfilePatch(status="busy", status_text="Reading"))
        assert [event["status"] for event in await event_data(container, bob, "profile.updated")] == ["busy"]
        await container.services.contacts.unsubscribe(ada.actor, bob.id)
        theirs = await look_up(container, bob, ada)
        assert (theirs.status, theirs.status_text, theirs.last_activity) == (None, None, None)
        assert await event_data(container, bob, "profile.updated") == [msgspec.to_builtins(theirs)]


class TestVersion:
    async def test_matching_version_is_updated(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        assert (await change(container, ada, ProfilePatch(about="a"), expected=[7, 1])).version == 2

    @pytest.mark.parametrize("expected", [[2], [0, 9], []])
    async def test_mismatched_version_is_refused(
        self, container: Container, make: Factory, published: list[WakeUp], expected: list[int]
    ) -> None:
        ada = await make.person()
        before = await own(container, ada)
        published.clear()
        with pytest.raises(VersionConflict):
            await change(container, ada, ProfilePatch(about="a"), expected=expected)
        assert await own(container, ada) == before
        assert published == []


class TestUsername:
    async def test_username_can_be_changed(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        username = f"New.{secrets.token_hex(6)}"
        assert (await change(container, ada, ProfilePatch(username=username))).profile.username == username

    async def test_username_can_change_case(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        after = await change(container, ada, ProfilePatch(username=ada.username.upper()))
        assert after.profile.username == ada.username.upper()

    async def test_taken_username_is_refused_for_rename(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.people(2)
        published.clear()
        with pytest.raises(UsernameTaken):
            await change(container, ada, ProfilePatch(username=bob.username.upper(), about="Numbers"))
        assert (await own(container, ada)).profile.about == ""
        assert published == []


class TestDisplayName:
    @pytest.mark.parametrize(
        "name",
        [
            " ",
            "\u00a0\u2003",
            "\u200b",
            "\u200d\u200c",
            "\ufeff",
            "\u2060",
            "\u0301\u0301",
            "\u20dd",
            "\u3164",
            "\u2800",
        ],
        ids=ascii,
    )
    async def test_blank_name_is_refused_in_update(self, container: Container, make: Factory, name: str) -> None:
        ada = await make.person(name="Ada")
        with pytest.raises(ValidationFailed) as caught:
            await change(container, ada, ProfilePatch(name=name))
        assert [error.field for error in caught.value.errors] == ["name"]
        assert (await own(container, ada)).profile.name == "Ada"

    @pytest.mark.parametrize("name", ["Ada\u202eecalevoL", "Ada\nLovelace", "Ada\u2028", "A\u00adda"], ids=ascii)
    async def test_name_with_invisible_controls_is_refused(
        self, container: Container, make: Factory, name: str
    ) -> None:
        ada = await make.person()
        with pytest.raises(ValidationFailed) as caught:
            await change(container, ada, ProfilePatch(name=name + "!"))
        assert [error.code for error in caught.value.errors] == ["invalid_characters"]

    @pytest.mark.parametrize(
        "name",
        ["Zoë", "Nguyễn Thị", "हिन्दी", "شیرین", "می‌خواهم", "M̈ötley", "👩‍👩‍👧‍👦", "🏳️‍🌈", "X Æ A-12"],
    )
    async def test_name_in_any_script_is_accepted(self, container: Container, make: Factory, name: str) -> None:
        ada = await make.person()
        assert (await change(container, ada, ProfilePatch(name=name))).profile.name == name

    async def test_name_is_stored_composed_and_trimmed(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        after = await change(container, ada, ProfilePatch(name="  Zoe\u0308 "))
        assert after.profile.name == "Zo\u00eb"

    async def test_name_too_long_when_composed_is_refused(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        with pytest.raises(ValidationFailed) as caught:
            await change(container, ada, ProfilePatch(name="\u0958" * 64))
        assert [(error.field, error.code) for error in caught.value.errors] == [("name", "too_long")]


class TestInvisibleStatus:
    async def test_invisible_user_looks_absent_to_contacts(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.connected(ada)
        seen = clock.now()
        clock.advance(seconds=5)
        await change(container, ada, ProfilePatch(status="invisible"))
        clock.advance(seconds=5)
        await own(container, ada)
        view = await look_up(container, bob, ada)
        assert (view.status, view.online, view.last_activity) == ("online", False, timestamp(seen))

    async def test_setting_invisible_again_does_not_move_last_seen(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        seen = clock.now()
        for _ in range(2):
            clock.advance(seconds=5)
            await change(container, ada, ProfilePatch(status="invisible"))
        assert (await look_up(container, bob, ada)).last_activity == timestamp(seen)

    async def test_invisible_user_sees_own_activity(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        await change(container, ada, ProfilePatch(status="invisible"))
        now = clock.advance(seconds=5)
        profile = (await own(container, ada)).profile
        assert (profile.status, profile.last_activity) == ("invisible", timestamp(now))

    async def test_leaving_invisible_shows_activity_again(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.connected(ada)
        await change(container, ada, ProfilePatch(status="invisible"))
        now = clock.advance(seconds=5)
        await change(container, ada, ProfilePatch(status="away"))
        view = await look_up(container, bob, ada)
        assert (view.status, view.online, view.last_activity) == ("away", True, timestamp(now))


class TestEmptyPatch:
    async def test_empty_patch_changes_no_version(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        before = (await container.services.profiles.get(ada.actor)).version
        after = await container.services.profiles.update(ada.actor, ProfilePatch())
        assert after.version == before
