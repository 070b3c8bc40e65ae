"""Devices: their tokens, the list of devices, signing out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
import pytest

from messenger.actor import Actor, Bearer
from messenger.clock import FixedClock, new_id
from messenger.config import Settings
from messenger.container import Container
from messenger.errors import DeviceNotFound, InvalidRefreshToken, Unauthenticated
from messenger.schemas.accounts import TokensView
from messenger.schemas.types import timestamp
from messenger.security.tokens import token_hash
from messenger.testing import Factory, Person
from tests.support.tables import event_data, rows

ADDRESS = "192.0.2.8"


def bearer(token: str) -> Bearer:
    return Bearer(token_hash(token))


async def refresh(container: Container, token: str) -> TokensView:
    return (await container.services.devices.refresh(token, address=ADDRESS)).tokens


async def opens(container: Container, caller: Actor | Bearer) -> bool:
    try:
        await container.services.devices.authenticate(caller)
    except Unauthenticated:
        return False
    return True


async def devices_of(container: Container, person: Person) -> set[UUID]:
    return {row["id"] for row in await rows(container, "SELECT id FROM devices WHERE user_id = $1", person.id)}


class TestAccessToken:
    async def test_access_token_identifies_device(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        assert await container.services.devices.authenticate(bearer(ada.access_token)) == ada.actor

    async def test_access_token_is_valid_until_expiry(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        clock.advance(seconds=container.settings.access_token_ttl - 0.001)
        assert await opens(container, bearer(ada.access_token))

    async def test_expired_access_token_is_refused(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        clock.advance(seconds=container.settings.access_token_ttl)
        assert not await opens(container, bearer(ada.access_token))

    async def test_guessed_access_token_is_refused(self, container: Container) -> None:
        assert not await opens(container, bearer("mat_guessed"))

    async def test_refresh_token_is_not_accepted_as_access_token(self, container: Container, make: Factory) -> None:
        assert not await opens(container, bearer((await make.person()).refresh_token))

    async def test_device_of_different_account_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        assert not await opens(container, Actor(ada.id, bob.actor.device_id))


class TestOwnLogout:
    async def test_logout_revokes_access_token_and_device(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await container.services.devices.logout(bearer(ada.access_token))
        assert not await opens(container, bearer(ada.access_token))
        assert not await opens(container, ada.actor)

    async def test_logout_revokes_all_refresh_tokens(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        newest = await refresh(container, ada.refresh_token)
        await container.services.devices.logout(ada.actor)
        for token in (ada.refresh_token, newest.refresh_token):
            with pytest.raises(InvalidRefreshToken):
                await refresh(container, token)

    async def test_logout_keeps_and_notifies_other_devices(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        other = await make.device(ada)
        await container.services.devices.logout(ada.actor)
        assert await devices_of(container, ada) == {other.actor.device_id}
        assert await event_data(container, other, "device.removed") == [{"id": str(ada.actor.device_id)}]

    async def test_second_logout_is_refused(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await container.services.devices.logout(ada.actor)
        with pytest.raises(Unauthenticated):
            await container.services.devices.logout(ada.actor)


class TestListDevices:
    async def test_list_shows_oldest_device_first_and_marks_current(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        then, now = clock.now(), clock.advance(hours=1)
        other = await make.device(ada, "Tablet")
        page = await container.services.devices.list_devices(other.actor, after=None, limit=50)
        assert [(item.id, item.current, item.created_at, item.last_activity) for item in page.items] == [
            (ada.actor.device_id, False, timestamp(then), timestamp(then)),
            (other.actor.device_id, True, timestamp(now), timestamp(now)),
        ]
        assert page.items[1].name == "Tablet"

    async def test_device_pages_list_each_device_once(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        expected = [ada.actor.device_id, *[(await make.device(ada)).actor.device_id for _ in range(2)]]
        seen: list[UUID] = []
        after: str | None = None
        for _ in expected:
            page = await container.services.devices.list_devices(
                ada.actor, after=UUID(after) if after else None, limit=1
            )
            seen += [item.id for item in page.items]
            after = page.next
        assert seen == expected
        assert after is None

    async def test_list_omits_devices_of_other_accounts(self, container: Container, make: Factory) -> None:
        ada, _ = await make.people(2)
        page = await container.services.devices.list_devices(ada.actor, after=None, limit=50)
        assert [item.id for item in page.items] == [ada.actor.device_id]


class TestSignOutDevice:
    async def test_own_device_is_signed_out(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        other = await make.device(ada)
        await container.services.devices.sign_out(ada.actor, other.actor.device_id)
        assert not await opens(container, bearer(other.access_token))
        assert await event_data(container, ada, "device.removed") == [{"id": str(other.actor.device_id)}]

    async def test_foreign_device_is_not_found_and_stays_signed_in(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        with pytest.raises(DeviceNotFound):
            await container.services.devices.sign_out(ada.actor, bob.actor.device_id)
        assert await opens(container, bearer(bob.access_token))

    async def test_unknown_device_is_not_found(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        with pytest.raises(DeviceNotFound):
            await container.services.devices.sign_out(ada.actor, new_id())


@pytest.fixture
async def limited(container: Container, settings: Settings) -> AsyncIterator[Container]:
    """The same services with at most two devices per user."""
    limited = Container(
        msgspec.structs.replace(settings, max_devices=2), engine=container.engine, clock=container.clock
    )
    yield limited
    await limited.close()


class TestMaxDevices:
    async def test_device_above_maximum_signs_out_idlest(self, limited: Container, clock: FixedClock) -> None:
        make = Factory(limited)
        ada = await make.person()
        second = await make.device(ada)
        clock.advance(minutes=1)
        await limited.services.profiles.get(ada.actor)
        third = await make.device(ada)
        assert await devices_of(limited, ada) == {ada.actor.device_id, third.actor.device_id}
        assert await event_data(limited, ada, "device.removed") == [{"id": str(second.actor.device_id)}]

    async def test_idle_device_with_open_socket_stays_signed_in(self, limited: Container, clock: FixedClock) -> None:
        make = Factory(limited)
        ada = await make.person()
        await make.connected(ada)
        clock.advance(minutes=1)
        await make.device(ada)
        clock.advance(minutes=1)
        third = await make.device(ada)
        assert await devices_of(limited, ada) == {ada.actor.device_id, third.actor.device_id}

    async def test_idlest_device_is_signed_out_when_all_have_sockets(
        self, limited: Container, clock: FixedClock
    ) -> None:
        make = Factory(limited)
        ada = await make.person()
        second = await make.device(ada)
        await make.connected(ada)
        clock.advance(minutes=1)
        await make.connected(second)
        third = await make.device(ada)
        assert await devices_of(limited, ada) == {second.actor.device_id, third.actor.device_id}

    async def test_socket_of_dead_worker_does_not_keep_device(self, limited: Container, clock: FixedClock) -> None:
        make = Factory(limited)
        ada = await make.person()
        await make.connected(ada)
        await rows(
            limited,
            "UPDATE workers SET seen_at = seen_at - interval '31 seconds'"
            " WHERE id = (SELECT worker_id FROM connections WHERE device_id = $1)",
            ada.actor.device_id,
        )
        clock.advance(minutes=1)
        second, third = [await make.device(ada) for _ in range(2)]
        assert await devices_of(limited, ada) == {second.actor.device_id, third.actor.device_id}

    async def test_lowered_maximum_signs_out_all_excess_devices(
        self, container: Container, limited: Container, clock: FixedClock
    ) -> None:
        ada = await Factory(container).person()
        for _ in range(3):
            clock.advance(minutes=1)
            await Factory(container).device(ada)
        clock.advance(minutes=1)
        newest = await Factory(limited).device(ada)
        assert newest.actor.device_id in await devices_of(limited, ada)
        assert len(await devices_of(limited, ada)) == 2

    async def test_next_sign_in_corrects_concurrent_overshoot(self, limited: Container) -> None:
        make = Factory(limited)
        ada = await make.person()
        await asyncio.gather(*[make.device(ada) for _ in range(6)])
        await make.device(ada)
        assert len(await devices_of(limited, ada)) == 2
