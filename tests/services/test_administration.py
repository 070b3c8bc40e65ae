"""Administration: accounts managed by the operator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.errors import (
    InvalidCredentials,
    PasswordWeak,
    PeerNotFound,
    Unauthenticated,
    UsernameTaken,
    ValidationFailed,
)
from messenger.schemas.accounts import LoginDraft, RegisterDraft, SignedInView
from messenger.schemas.types import timestamp
from messenger.services.administration import AdministrationService
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.support.tables import payloads, rows

OTHER = "harbour-violet-seven-41"


@pytest.fixture
def administration(container: Container) -> AdministrationService:
    return container.services.administration


@pytest.fixture
async def ada(make: Factory) -> Person:
    return await make.person()


async def login(container: Container, name: str, password: str = PASSWORD) -> SignedInView:
    return await container.services.accounts.login(LoginDraft(login=name, password=password), address="192.0.2.1")


def draft(username: str, **more: Any) -> RegisterDraft:
    return RegisterDraft(**{"username": username, "password": PASSWORD, "name": "Ada", **more})


def unique(person: Person) -> str:
    """A free name, after a taken one."""
    return f"{person.username}x"


class TestCreateAccount:
    async def test_created_account_can_sign_in(
        self, container: Container, administration: AdministrationService, ada: Person
    ) -> None:
        row = await administration.create_account(draft(unique(ada), name=" Ada "))
        assert (row.username, row.name, row.disabled_at, row.deleted_at) == (unique(ada), "Ada", None, None)
        assert (await login(container, unique(ada))).user.id == row.id

    async def test_created_account_has_no_device(
        self, container: Container, administration: AdministrationService, ada: Person, clock: FixedClock
    ) -> None:
        row = await administration.create_account(draft(unique(ada)))
        assert await rows(container, "SELECT FROM devices WHERE user_id = $1", row.id) == []
        assert row.created_at == row.last_activity == timestamp(clock.now())

    async def test_taken_username_is_refused_to_operator(
        self, administration: AdministrationService, ada: Person
    ) -> None:
        with pytest.raises(UsernameTaken):
            await administration.create_account(draft(ada.username.upper()))

    async def test_weak_password_is_refused(self, administration: AdministrationService, ada: Person) -> None:
        with pytest.raises(PasswordWeak):
            await administration.create_account(draft(unique(ada), password="password"))

    async def test_blank_name_is_refused(self, administration: AdministrationService, ada: Person) -> None:
        with pytest.raises(ValidationFailed):
            await administration.create_account(draft(unique(ada), name="  "))


class TestListAccounts:
    @pytest.fixture
    async def fresh(self, fresh_database_url: str, settings: Settings, clock: FixedClock) -> AsyncIterator[Container]:
        container = Container(msgspec.structs.replace(settings, database_url=fresh_database_url), clock=clock)
        yield container
        await container.close()

    async def test_pages_go_by_ascending_number(self, fresh: Container) -> None:
        numbers = sorted(person.id for person in await Factory(fresh).people(5))
        first = await fresh.services.administration.list_accounts(limit=3)
        second = await fresh.services.administration.list_accounts(after=first[-1].id, limit=3)
        assert [row.id for row in first + second] == numbers
        assert len(first) == 3

    async def test_erased_and_disabled_accounts_are_listed(self, fresh: Container, clock: FixedClock) -> None:
        ada, bob = await Factory(fresh).people(2)
        await fresh.services.accounts.erase(ada.actor, ada.password)
        await fresh.services.administration.set_disabled(bob.username, disabled=True)
        found = {row.id: row for row in await fresh.services.administration.list_accounts()}
        assert (found[ada.id].username, found[ada.id].deleted_at) == (None, timestamp(clock.now()))
        assert (found[bob.id].username, found[bob.id].disabled_at) == (bob.username, timestamp(clock.now()))

    async def test_empty_database_lists_no_accounts(self, fresh: Container) -> None:
        assert await fresh.services.administration.list_accounts() == []


class TestDisableAccount:
    @pytest.mark.parametrize("by", ["name", "NAME", "number"])
    async def test_disabled_account_cannot_sign_in(
        self, container: Container, administration: AdministrationService, ada: Person, clock: FixedClock, by: str
    ) -> None:
        name = {"name": ada.username, "NAME": ada.username.upper(), "number": str(ada.id)}[by]
        row = await administration.set_disabled(name, disabled=True)
        assert (row.id, row.disabled_at) == (ada.id, timestamp(clock.now()))
        with pytest.raises(InvalidCredentials):
            await login(container, ada.username)

    async def test_devices_are_signed_out(
        self, container: Container, make: Factory, administration: AdministrationService, ada: Person
    ) -> None:
        devices = [ada, await make.device(ada)]
        await administration.set_disabled(ada.username, disabled=True)
        for device in devices:
            with pytest.raises(Unauthenticated):
                await container.services.devices.authenticate(device.actor)
        gone = [event["id"] for event in await payloads(container, ada, "device.removed")]
        assert sorted(gone) == sorted(str(device.actor.device_id) for device in devices)

    async def test_refresh_token_is_dead(
        self, container: Container, administration: AdministrationService, ada: Person
    ) -> None:
        await administration.set_disabled(ada.username, disabled=True)
        with pytest.raises(Unauthenticated):
            await container.services.devices.refresh(ada.refresh_token, address="192.0.2.1")

    async def test_disabled_account_is_not_found(
        self, container: Container, make: Factory, administration: AdministrationService, ada: Person
    ) -> None:
        bob = await make.person()
        await administration.set_disabled(ada.username, disabled=True)
        with pytest.raises(PeerNotFound):
            await container.services.profiles.find(bob.actor, target_id=ada.id)

    async def test_enabled_account_can_sign_in_again(
        self, container: Container, administration: AdministrationService, ada: Person
    ) -> None:
        await administration.set_disabled(ada.username, disabled=True)
        row = await administration.set_disabled(ada.username, disabled=False)
        assert row.disabled_at is None
        assert (await login(container, ada.username)).user.id == ada.id

    async def test_enabling_enabled_account_signs_out_no_device(
        self, container: Container, administration: AdministrationService, ada: Person
    ) -> None:
        await administration.set_disabled(ada.username, disabled=False)
        assert await container.services.devices.authenticate(ada.actor) == ada.actor

    async def test_other_accounts_are_left_alone(
        self, container: Container, make: Factory, administration: AdministrationService, ada: Person
    ) -> None:
        bob = await make.person()
        await administration.set_disabled(ada.username, disabled=True)
        assert await container.services.devices.authenticate(bob.actor) == bob.actor

    @pytest.mark.parametrize("name", ["nobody-of-this-name", "7", "9" * 40])
    async def test_disabling_unknown_account_is_not_found(
        self, administration: AdministrationService, name: str
    ) -> None:
        with pytest.raises(PeerNotFound):
            await administration.set_disabled(name, disabled=True)


class TestSetPassword:
    async def test_set_password_replaces_old_password(
        self, container: Container, administration: AdministrationService, ada: Person
    ) -> None:
        await administration.set_password(ada.username, OTHER)
        assert (await login(container, ada.username, OTHER)).user.id == ada.id
        with pytest.raises(InvalidCredentials):
            await login(container, ada.username)

    async def test_devices_are_signed_out(
        self, container: Container, administration: AdministrationService, ada: Person
    ) -> None:
        await administration.set_password(str(ada.id), OTHER)
        with pytest.raises(Unauthenticated):
            await container.services.devices.authenticate(ada.actor)

    async def test_weak_password_is_refused_to_operator(
        self, container: Container, administration: AdministrationService, ada: Person
    ) -> None:
        with pytest.raises(PasswordWeak):
            await administration.set_password(ada.username, "password")
        assert await container.services.devices.authenticate(ada.actor) == ada.actor

    async def test_setting_password_of_unknown_account_is_not_found(
        self, administration: AdministrationService
    ) -> None:
        with pytest.raises(PeerNotFound):
            await administration.set_password("nobody-of-this-name", OTHER)

    async def test_setting_password_of_erased_account_is_refused(
        self, container: Container, administration: AdministrationService, ada: Person
    ) -> None:
        await container.services.accounts.erase(ada.actor, ada.password)
        with pytest.raises(InvalidCredentials):
            await administration.set_password(str(ada.id), OTHER)
