"""Sweeps after the database's clock is changed: nothing is removed because of a wrong clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from messenger.clock import FixedClock, SharedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.schemas.messages import ConversationPatch
from messenger.services._sweep_guard import HOST_DIFFERENCE, SETTLED_AFTER, SweepGuard
from messenger.testing import Factory, Person
from tests.support.tables import rows

FAR = timedelta(days=100)


@pytest.fixture
async def fresh(fresh_database_url: str, settings: Settings, clock: FixedClock) -> AsyncIterator[Container]:
    container = Container(msgspec.structs.replace(settings, database_url=fresh_database_url), clock=clock)
    yield container
    await container.close()


@pytest.fixture
async def users(fresh: Container) -> list[Person]:
    """Ten users; the first has sent the second a message that expires."""
    make = Factory(fresh)
    ada, bob = await make.friends()
    await make.message(ada, bob)
    await fresh.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=3600))
    await make.message(ada, bob, "It will expire")
    return [ada, bob, *await make.people(8)]


async def held(container: Container) -> dict[str, str]:
    """The contents of all tables from which a sweep could remove rows."""
    tables = ("devices", "refresh_tokens", "messages", "events", "rate_buckets", "familiar_addresses")
    return {table: str(await rows(container, f"SELECT * FROM {table} ORDER BY 1, 2")) for table in tables}


def passes_held(container: Container, reason: str) -> float:
    value = container.metrics.registry.get_sample_value("messenger_sweeps_held_total", {"reason": reason})
    return value or 0.0


class TestClockJump:
    async def test_clock_jump_stops_sweeps_and_logs_error(
        self, fresh: Container, users: list[Person], clock: FixedClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        await fresh.services.maintenance.sweep()
        before, right = await held(fresh), clock.now()
        clock.set(right + FAR)
        for _ in range(3):
            assert await fresh.services.maintenance.sweep() == {}
        assert await held(fresh) == before
        assert passes_held(fresh, "clock") == 3
        assert "clock jumped by 100 days" in caplog.text
        clock.set(right)
        assert not any((await fresh.services.maintenance.sweep()).values())
        assert (await fresh.services.devices.refresh(users[0].refresh_token, address="192.0.2.1")).tokens

    async def test_clock_is_trusted_after_a_day_without_a_jump(
        self, fresh: Container, users: list[Person], clock: FixedClock
    ) -> None:
        await fresh.services.maintenance.sweep()
        clock.set(clock.now() + FAR)
        await fresh.services.maintenance.sweep()
        clock.advance(seconds=SETTLED_AFTER.total_seconds() - 1)
        assert await fresh.services.maintenance.sweep() == {}
        clock.advance(seconds=1)
        assert (await fresh.services.maintenance.sweep())["idle_devices"] == len(users)

    async def test_second_jump_restarts_waiting_day(
        self, fresh: Container, users: list[Person], clock: FixedClock
    ) -> None:
        await fresh.services.maintenance.sweep()
        clock.set(clock.now() + FAR)
        await fresh.services.maintenance.sweep()
        clock.advance(hours=23)
        clock.set(clock.now() + FAR)
        await fresh.services.maintenance.sweep()
        clock.advance(hours=23)
        assert await fresh.services.maintenance.sweep() == {}

    async def test_passing_time_is_no_jump(self, fresh: Container, users: list[Person], clock: FixedClock) -> None:
        await fresh.services.maintenance.sweep()
        clock.advance(hours=2)
        assert (await fresh.services.maintenance.sweep())["expired_messages"] == 1

    async def test_small_corrections_are_no_jump(
        self, fresh: Container, users: list[Person], clock: FixedClock
    ) -> None:
        for _ in range(30):
            clock.set(clock.now() + timedelta(minutes=4))
            await fresh.services.maintenance.sweep()
        (row,) = await rows(fresh, "SELECT count(*) AS n FROM messages WHERE body IS NULL")
        assert row["n"] == 1


class TestRestart:
    """A server that starts while the clock is wrong can only judge the clock by what the sweep would remove."""

    async def test_most_devices_are_not_signed_out_at_once(
        self, fresh: Container, users: list[Person], clock: FixedClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        right = clock.now()
        clock.set(right + FAR)
        assert (await fresh.services.maintenance.sweep())["idle_devices"] == 0
        assert passes_held(fresh, "devices") == 1
        assert f"{len(users)} of {len(users)} devices would be signed out" in caplog.text
        clock.set(right)
        assert (await fresh.services.devices.refresh(users[0].refresh_token, address="192.0.2.1")).tokens

    async def test_idle_devices_are_signed_out_after_a_day(
        self, fresh: Container, users: list[Person], clock: FixedClock
    ) -> None:
        clock.set(clock.now() + FAR)
        await fresh.services.maintenance.sweep()
        clock.advance(days=1)
        assert (await fresh.services.maintenance.sweep())["idle_devices"] == len(users)

    async def test_few_of_many_are_signed_out_as_usual(
        self, fresh: Container, users: list[Person], clock: FixedClock
    ) -> None:
        await rows(
            fresh,
            "UPDATE refresh_tokens SET expires_at = $2 WHERE device_id = ANY ($1)",
            [person.actor.device_id for person in users[:2]],
            clock.now() - timedelta(seconds=1),
        )
        await rows(fresh, "UPDATE devices SET access_expires_at = $1", clock.now() - timedelta(seconds=1))
        assert (await fresh.services.maintenance.sweep())["idle_devices"] == 2


class TestHostClock:
    def shared(self, off: timedelta) -> SharedClock:
        shared = SharedClock()
        asked = shared.elapsed()
        shared.learn(shared.now() + off, asked=asked, answered=asked)
        return shared

    def test_clock_far_from_the_hosts_is_doubted(self) -> None:
        for off in (HOST_DIFFERENCE, -HOST_DIFFERENCE):
            doubt = SweepGuard(self.shared(off * 1.1)).doubt()
            assert doubt is not None
            assert "this host" in doubt

    def test_clock_near_the_hosts_is_trusted(self) -> None:
        for off in (HOST_DIFFERENCE, -HOST_DIFFERENCE):
            assert SweepGuard(self.shared(off * 0.9)).doubt() is None

    def test_sweeps_wait_for_database_time(self) -> None:
        assert not SweepGuard(SharedClock()).is_ready
        assert SweepGuard(self.shared(timedelta())).is_ready
