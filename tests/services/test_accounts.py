"""Accounts: registration, login, passwords."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import argon2
import msgspec
import pytest

from messenger.config import Settings
from messenger.container import Container
from messenger.errors import InvalidCredentials, MessengerError, Overloaded, PasswordWeak, UsernameTaken
from messenger.events import WakeUp
from messenger.schemas.accounts import LoginDraft, RegisterDraft, SignedInView
from messenger.security.passwords import Verdict
from messenger.services import accounts as accounts_module
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.support.tables import event_data, rows

ADDRESS = "192.0.2.7"
OTHER_PASSWORD = "gravel-otter-violet-58"


def unique() -> str:
    return f"u{secrets.token_hex(6)}"


def registration(username: str, **changes: Any) -> RegisterDraft:
    return RegisterDraft(**{"username": username, "password": PASSWORD, "name": "Ada", **changes})


async def register(container: Container, username: str, **changes: Any) -> SignedInView:
    return await container.services.accounts.register(registration(username, **changes), address=ADDRESS)


async def login(container: Container, login: str | int, password: str = PASSWORD) -> SignedInView:
    draft = LoginDraft(login=str(login), password=password)
    return await container.services.accounts.login(draft, address=ADDRESS)


async def device_count(container: Container, person: Person) -> int:
    return len(await rows(container, "SELECT id FROM devices WHERE user_id = $1", person.id))


async def stored_hash(container: Container, user_id: int) -> str:
    found = await rows(container, "SELECT password_hash FROM users WHERE id = $1", user_id)
    return str(found[0]["password_hash"])


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The encoded hashes that Argon2 compares passwords with, in order."""
    seen: list[str] = []
    verify = argon2.PasswordHasher.verify

    def watch(self: argon2.PasswordHasher, encoded: str | bytes, password: str | bytes) -> bool:
        seen.append(str(encoded))
        return verify(self, encoded, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", watch)
    return seen


class TestRegister:
    async def test_register_signs_in_first_device(self, container: Container) -> None:
        username = unique().upper()
        view = await register(container, username, name="Ada Lovelace", device_name="Ada's phone")
        assert (view.user.username, view.user.name, view.user.avatar) == (username, "Ada Lovelace", None)
        assert (view.device.name, view.device.current) == ("Ada's phone", True)
        assert (view.tokens.token_type, view.tokens.expires_in) == ("Bearer", container.settings.access_token_ttl)

    async def test_user_number_has_at_least_eight_digits(self, container: Container) -> None:
        assert (await register(container, unique())).user.id >= 10**7

    async def test_device_name_is_optional(self, container: Container) -> None:
        assert (await register(container, unique())).device.name == "Unnamed device"

    async def test_register_records_device_event(self, container: Container) -> None:
        view = await register(container, unique(), device_name="Phone")
        events = await event_data(container, Person.of(view), "device.added")
        assert events == [{**msgspec.to_builtins(view.device), "current": False}]

    async def test_taken_username_is_refused_in_any_case(self, container: Container) -> None:
        username = unique()
        await register(container, username)
        with pytest.raises(UsernameTaken):
            await register(container, username.upper())

    async def test_refused_registration_creates_no_user(
        self, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        username, number = unique(), secrets.randbelow(10**9) + 10**9
        await register(container, username)
        monkeypatch.setattr(accounts_module, "candidate_numbers", lambda: [number])
        with pytest.raises(UsernameTaken):
            await register(container, username)
        assert await rows(container, "SELECT id FROM peers WHERE id = $1", number) == []

    async def test_concurrent_registrations_of_same_username_refuse_all_but_first(self, container: Container) -> None:
        username = unique()
        results = await asyncio.gather(*[register(container, username) for _ in range(2)], return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["SignedInView", "UsernameTaken"]

    async def test_taken_user_number_is_skipped(
        self, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken, free = (await make.person()).id, secrets.randbelow(10**9) + 10**9
        monkeypatch.setattr(accounts_module, "candidate_numbers", lambda: [taken, free])
        assert (await register(container, unique())).user.id == free

    async def test_registration_gives_up_without_free_user_number(
        self, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken = (await make.person()).id
        monkeypatch.setattr(accounts_module, "candidate_numbers", lambda: [taken])
        with pytest.raises(Overloaded):
            await register(container, unique())

    @pytest.mark.parametrize(
        ("password", "reason"),
        [("short", "too_short"), ("passwordpassword", "too_repetitive"), ("lovelace-lovelace-1", "too_personal")],
    )
    async def test_weak_password_is_refused_with_reason(self, container: Container, password: str, reason: str) -> None:
        with pytest.raises(PasswordWeak) as caught:
            await register(container, unique(), name="Lovelace", password=password)
        assert [(error.field, error.code) for error in caught.value.errors] == [("password", reason)]


class TestLogin:
    @pytest.mark.parametrize("spelled", [str.lower, str.upper, "  {}\t".format])
    async def test_login_accepts_username_in_any_case(self, container: Container, make: Factory, spelled: Any) -> None:
        ada = await make.person(f"Ada{secrets.token_hex(6)}")
        assert (await login(container, spelled(ada.username))).user.id == ada.id

    async def test_login_accepts_user_number(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        assert (await login(container, ada.id)).user.id == ada.id

    async def test_login_creates_new_device(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        view = await login(container, ada.username)
        assert view.device.id != ada.actor.device_id
        assert await device_count(container, ada) == 2

    async def test_login_records_device_event(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada = await make.person()
        published.clear()
        await login(container, ada.username)
        assert [(news.user_id, news.name) for news in published] == [(ada.id, "device.added")]

    async def test_unknown_login_and_wrong_password_give_same_error(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        refusals: list[MessengerError] = []
        for name, password in ((ada.username, OTHER_PASSWORD), (unique(), PASSWORD), ("1" * 16, PASSWORD)):
            with pytest.raises(InvalidCredentials) as caught:
                await login(container, name, password)
            refusals.append(caught.value)
        shown = [(e.status, e.code, e.detail, e.errors, e.response_headers, e.extra) for e in refusals]
        assert shown[1:] == shown[:-1]

    async def test_unknown_login_costs_password_comparison(
        self, container: Container, make: Factory, compared: list[str]
    ) -> None:
        ada = await make.person()
        for name in (ada.username, unique()):
            with pytest.raises(InvalidCredentials):
                await login(container, name, OTHER_PASSWORD)
        real, dummy = map(argon2.extract_parameters, compared)
        assert dummy == real

    async def test_disabled_account_looks_like_unknown_login(
        self, container: Container, make: Factory, compared: list[str]
    ) -> None:
        ada = await make.person()
        own_hash = await stored_hash(container, ada.id)
        await container.services.administration.set_disabled(str(ada.id), disabled=True)
        with pytest.raises(InvalidCredentials):
            await login(container, ada.username)
        assert len(compared) == 1
        assert own_hash not in compared

    async def test_password_changed_during_login_is_refused(
        self, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada = await make.person()
        verify = container.hasher.verify

        async def overtaken(password: str, encoded: str | None, **how: Any) -> Verdict:
            verdict = await verify(password, encoded, **how)
            await container.services.administration.set_password(str(ada.id), OTHER_PASSWORD)
            return verdict

        monkeypatch.setattr(container.hasher, "verify", overtaken)
        with pytest.raises(InvalidCredentials):
            await login(container, ada.username)
        assert await device_count(container, ada) == 0


@pytest.fixture
async def stronger(container: Container, settings: Settings) -> AsyncIterator[Container]:
    """The same services with stronger password parameters."""
    grown = msgspec.structs.replace(settings, password_time_cost=2)
    stronger = Container(grown, engine=container.engine, clock=container.clock)
    yield stronger
    await stronger.close()


class TestPasswordRehash:
    async def test_login_rehashes_password_with_stronger_parameters(self, stronger: Container, make: Factory) -> None:
        ada = await make.person()
        await login(stronger, ada.username)
        assert argon2.extract_parameters(await stored_hash(stronger, ada.id)).time_cost == 2

    async def test_rehashed_password_stays_valid(self, stronger: Container, make: Factory) -> None:
        ada = await make.person()
        await login(stronger, ada.username)
        assert (await login(stronger, ada.username)).user.id == ada.id

    async def test_current_hash_is_not_rehashed(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        before = await stored_hash(container, ada.id)
        await login(container, ada.username)
        assert await stored_hash(container, ada.id) == before


class TestChangePassword:
    async def test_changed_password_replaces_old_password(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await container.services.accounts.change_password(ada.actor, PASSWORD, OTHER_PASSWORD)
        assert (await login(container, ada.username, OTHER_PASSWORD)).user.id == ada.id
        with pytest.raises(InvalidCredentials):
            await login(container, ada.username, PASSWORD)

    async def test_password_change_signs_out_other_devices(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await make.device(ada)
        await make.device(ada)
        await container.services.accounts.change_password(ada.actor, PASSWORD, OTHER_PASSWORD)
        devices = await rows(container, "SELECT id FROM devices WHERE user_id = $1", ada.id)
        assert devices == [{"id": ada.actor.device_id}]

    async def test_password_change_records_removed_devices(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        other = await make.device(ada)
        await container.services.accounts.change_password(ada.actor, PASSWORD, OTHER_PASSWORD)
        assert await event_data(container, ada, "device.removed") == [{"id": str(other.actor.device_id)}]

    async def test_wrong_old_password_is_refused(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await make.device(ada)
        with pytest.raises(InvalidCredentials):
            await container.services.accounts.change_password(ada.actor, OTHER_PASSWORD, OTHER_PASSWORD)
        assert await device_count(container, ada) == 2

    async def test_weak_new_password_is_refused(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        with pytest.raises(PasswordWeak) as caught:
            await container.services.accounts.change_password(ada.actor, PASSWORD, "too short")
        assert [error.field for error in caught.value.errors] == ["new_password"]

    async def test_concurrent_password_changes_apply_once(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        change = container.services.accounts.change_password
        tries = [change(ada.actor, PASSWORD, f"{OTHER_PASSWORD}-{number}") for number in range(2)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert [type(result) for result in results if result is not None] == [InvalidCredentials]


class TestPasswordHashing:
    async def test_hashing_holds_no_database_connection(
        self, stronger: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada, held = await make.person(), []
        pool: Any = stronger.engine.pool

        def watched(work: Any) -> Any:
            async def watch(*args: Any, **how: Any) -> Any:
                held.append(pool.checkedout())
                return await work(*args, **how)

            return watch

        monkeypatch.setattr(stronger.hasher, "hash", watched(stronger.hasher.hash))
        monkeypatch.setattr(stronger.hasher, "verify", watched(stronger.hasher.verify))
        await register(stronger, unique())
        await login(stronger, ada.username)
        await stronger.services.accounts.change_password(ada.actor, PASSWORD, OTHER_PASSWORD)
        await stronger.services.accounts.erase(ada.actor, OTHER_PASSWORD)
        # Registration hashes; login compares and rehashes; the change compares and hashes; erasure compares.
        assert held == [0] * 6
