"""Released usernames: reserved for 30 days, for the former owner after a rename and for nobody after an erasure."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from collections.abc import Callable

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import InvalidCredentials, PeerNotFound, RateLimited, UsernameTaken, VersionConflict
from messenger.limits import LIMITS
from messenger.schemas.accounts import LoginDraft, RegisterDraft
from messenger.schemas.users import ProfilePatch
from messenger.testing import Factory, Person, StatementLog
from messenger.testing.factories import PASSWORD
from tests.support.tables import rows


def fresh() -> str:
    return f"u{secrets.token_hex(6)}"


async def rename(container: Container, person: Person, username: str) -> None:
    await container.services.profiles.update(person.actor, ProfilePatch(username=username))


async def erase(container: Container, person: Person) -> None:
    await container.services.accounts.erase(person.actor, PASSWORD)


async def register(container: Container, username: str) -> None:
    draft = RegisterDraft(username=username, password=PASSWORD, name="Eve")
    await container.services.accounts.register(draft, address="192.0.2.9")


async def create(container: Container, username: str) -> None:
    await container.services.administration.create_account(
        RegisterDraft(username=username, password=PASSWORD, name="Eve")
    )


async def take(container: Container, username: str) -> None:
    await rename(container, await Factory(container).person(), username)


WAYS = {"registration": register, "the operator": create, "a rename": take}
SPELLINGS: dict[str, Callable[[str], str]] = {"as it was": str, "in capitals": str.upper}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("way", WAYS)
class TestOtherUsers:
    async def test_renamed_username_is_reserved_for_thirty_days(
        self, container: Container, make: Factory, clock: FixedClock, way: str, spelling: str
    ) -> None:
        ada, name = await make.person(), fresh()
        await rename(container, ada, name)
        await rename(container, ada, fresh())
        for days in (0, 29.99):
            clock.advance(days=days)
            with pytest.raises(UsernameTaken):
                await WAYS[way](container, SPELLINGS[spelling](name))
        clock.advance(days=0.01)
        await WAYS[way](container, name)

    async def test_username_of_erased_account_is_reserved_for_thirty_days(
        self, container: Container, make: Factory, clock: FixedClock, way: str, spelling: str
    ) -> None:
        ada = await make.person(fresh())
        await erase(container, ada)
        with pytest.raises(UsernameTaken):
            await WAYS[way](container, SPELLINGS[spelling](ada.username))
        clock.advance(days=30)
        await WAYS[way](container, ada.username)


class TestFormerOwner:
    async def test_former_owner_reclaims_username(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await rename(container, ada, fresh())
        await rename(container, ada, ada.username)
        found = await container.services.profiles.find((await make.person()).actor, username=ada.username)
        assert found.id == ada.id

    async def test_name_reclaimed_and_released_again_is_reserved_again(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        await rename(container, ada, fresh())
        clock.advance(days=20)
        await rename(container, ada, ada.username)
        await rename(container, ada, fresh())
        clock.advance(days=20)
        with pytest.raises(UsernameTaken):
            await register(container, ada.username)

    async def test_reclaimed_username_is_taken(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await rename(container, ada, fresh())
        await rename(container, ada, ada.username)
        with pytest.raises(UsernameTaken):
            await register(container, ada.username)

    async def test_erasure_keeps_earlier_usernames_reserved(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        await rename(container, ada, fresh())
        await erase(container, ada)
        assert await rows(container, "SELECT FROM released_usernames WHERE owner_id = $1", ada.id) == []
        with pytest.raises(UsernameTaken):
            await register(container, ada.username)

    async def test_renames_are_limited(self, limited: Container, make: Factory, clock: FixedClock) -> None:
        ada, limit = await make.person(), LIMITS["username"]
        for _ in range(limit.burst):
            await rename(limited, ada, fresh())
        refused = fresh()
        with pytest.raises(RateLimited):
            await rename(limited, ada, refused)
        await register(limited, refused)
        clock.advance(seconds=limit.every)
        await rename(limited, ada, fresh())

    async def test_profile_saved_with_the_same_name_is_no_rename(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        for _ in range(LIMITS["username"].burst + 1):
            await rename(limited, ada, ada.username)
        await rename(limited, ada, ada.username.upper())
        assert await rows(limited, "SELECT FROM released_usernames WHERE owner_id = $1", ada.id) == []


class TestRelease:
    async def test_refused_rename_releases_no_username(self, container: Container, make: Factory) -> None:
        ada, name = await make.person(), fresh()
        patch = ProfilePatch(username=name)
        with pytest.raises(VersionConflict):
            await container.services.profiles.update(ada.actor, patch, expected=[99])
        assert await rows(container, "SELECT FROM released_usernames WHERE owner_id = $1", ada.id) == []
        await register(container, name)

    async def test_rename_to_reserved_username_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await rename(container, ada, fresh())
        with pytest.raises(UsernameTaken):
            await rename(container, bob, ada.username)
        assert (await container.services.profiles.get(bob.actor)).profile.username == bob.username

    async def test_registration_waiting_for_rename_is_refused(self, container: Container, make: Factory) -> None:
        """The registration has read the table before the rename was committed."""
        ada = await make.person()
        digests = container.services.profiles._usernames
        async with container.uow() as uow:
            name = fresh()
            changes = dict.fromkeys(
                (
                    "name",
                    "about",
                    "status",
                    "status_text",
                    *(f"privacy_{each}" for each in ("last_seen", "avatar", "messages_from", "calls_from")),
                    "privacy_groups_from",
                    "privacy_receipts",
                    "privacy_forwards",
                )
            )
            await uow.users.change_profile(ada.actor, expected=None, username=name, username_key=name, **changes)
            await uow.usernames.move(ada.id, released=digests.of(ada.username), claimed=digests.of(name))
            # In a context of its own: it is another request.
            waiting = asyncio.create_task(register(container, ada.username), context=contextvars.Context())
            while not await rows(
                container, "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%claimed%'"
            ):
                assert not waiting.done()
        with pytest.raises(UsernameTaken):
            await waiting

    async def test_stored_digest_does_not_reveal_the_name(self, container: Container, make: Factory) -> None:
        ada = await make.person(fresh())
        await rename(container, ada, fresh())
        (row,) = await rows(container, "SELECT * FROM released_usernames WHERE owner_id = $1", ada.id)
        assert len(row["digest"]) == 32
        assert ada.username.encode() not in row["digest"]

    async def test_released_username_neither_signs_in_nor_is_found(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await rename(container, ada, fresh())
        draft = LoginDraft(login=ada.username, password=PASSWORD)
        with pytest.raises(InvalidCredentials):
            await container.services.accounts.login(draft, address="192.0.2.9")
        with pytest.raises(PeerNotFound):
            await container.services.profiles.find(bob.actor, username=ada.username)

    async def test_registration_takes_no_additional_statement(
        self, container: Container, statements: StatementLog
    ) -> None:
        async with statements.recording() as sent:
            await register(container, fresh())
        assert sum("released_usernames" in each for each in sent) == 1
