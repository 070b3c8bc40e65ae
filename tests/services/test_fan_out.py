"""Large audiences: notified in batches after the commit, each contact once, even if a worker dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import DatabaseUnavailable, InvalidCredentials
from messenger.events import ProfileUpdated
from messenger.repositories.contacts import ContactRepository
from messenger.repositories.events import _APPEND
from messenger.repositories.fan_outs import REST
from messenger.schemas.users import ProfilePatch
from messenger.services._audience import AT_ONCE
from messenger.services.fan_out import FanOutService
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.services._population import contacts_of
from tests.support.tables import rows

MANY = 2 * AT_ONCE + 40


async def events_by_user(container: Container, name: str, users: Sequence[int]) -> dict[int, int]:
    found = await rows(
        container,
        "SELECT user_id, count(*) AS count FROM events WHERE name = $1 AND user_id = ANY ($2) GROUP BY user_id",
        name,
        users,
    )
    return {row["user_id"]: row["count"] for row in found}


async def change_profile(container: Container, person: Person, text: str) -> None:
    await container.services.profiles.update(person.actor, ProfilePatch(status_text=text))


@pytest.fixture(autouse=True)
async def nothing_due(container: Container) -> None:
    """Remove the fan-outs that other tests of this process left behind."""
    await rows(container, "DELETE FROM fan_outs")


class TestProfileFanOut:
    async def test_few_contacts_are_notified_with_the_change(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        contacts = await contacts_of(container, ada, AT_ONCE)
        await change_profile(container, ada, "On a train")
        assert await events_by_user(container, "profile.updated", contacts) == dict.fromkeys(contacts, 1)
        assert await container.services.fan_out.drain() == 0

    async def test_many_contacts_are_notified_in_batches(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        contacts = await contacts_of(container, ada, MANY)
        await change_profile(container, ada, "On a train")
        assert await events_by_user(container, "profile.updated", [ada.id, *contacts]) == {ada.id: 1}
        assert await container.services.fan_out.drain() == 3
        assert await events_by_user(container, "profile.updated", contacts) == dict.fromkeys(contacts, 1)

    async def test_request_wakes_the_worker_at_once(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        contacts = await contacts_of(container, ada, MANY)
        worker = asyncio.create_task(container.services.fan_out.run())
        try:
            await change_profile(container, ada, "On a train")
            while len(await events_by_user(container, "profile.updated", contacts)) < MANY:
                await asyncio.sleep(0)
        finally:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker

    async def test_changes_during_pass_share_next_pass(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        contacts = await contacts_of(container, ada, MANY)
        for number in range(5):
            await change_profile(container, ada, f"Stop {number}")
            await container.services.fan_out.drain()
        assert await events_by_user(container, "profile.updated", contacts) == dict.fromkeys(contacts, 1)
        clock.advance(seconds=REST.total_seconds())
        await container.services.fan_out.drain()
        assert await events_by_user(container, "profile.updated", contacts) == dict.fromkeys(contacts, 2)
        clock.advance(seconds=REST.total_seconds())
        assert await container.services.fan_out.drain() == 0

    async def test_change_during_a_pass_reaches_contacts_already_notified(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        contacts = await contacts_of(container, ada, MANY)
        await change_profile(container, ada, "One")
        assert await container.services.fan_out.step()
        await change_profile(container, ada, "Two")
        await container.services.fan_out.drain()
        clock.advance(seconds=REST.total_seconds())
        await container.services.fan_out.drain()
        found = await events_by_user(container, "profile.updated", contacts)
        assert [found[user] for user in contacts[:AT_ONCE]] == [2] * AT_ONCE

    async def test_worker_continues_pass_of_dead_worker(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        contacts = await contacts_of(container, ada, MANY)
        await change_profile(container, ada, "On a train")
        assert await container.services.fan_out.step()
        await FanOutService(container.uow).drain()
        assert await events_by_user(container, "profile.updated", contacts) == dict.fromkeys(contacts, 1)

    async def test_failing_fan_out_does_not_delay_other_users(
        self, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada, bob = await make.person(), await make.person()
        contacts = await contacts_of(container, ada, MANY)
        others = await contacts_of(container, bob, MANY)
        for each in (ada, bob):
            await change_profile(container, each, "On a train")
        list_mutual = ContactRepository.list_mutual

        async def failing(self: ContactRepository, owner_id: int, **page: Any) -> list[int]:
            if owner_id == ada.id:
                raise DatabaseUnavailable
            return await list_mutual(self, owner_id, **page)

        with monkeypatch.context() as patch:
            patch.setattr(ContactRepository, "list_mutual", failing)
            with pytest.raises(DatabaseUnavailable):
                await container.services.fan_out.step()
            await container.services.fan_out.drain()
        assert await events_by_user(container, "profile.updated", others) == dict.fromkeys(others, 1)
        assert await events_by_user(container, "profile.updated", contacts) == {}
        await rows(container, "UPDATE fan_outs SET due = now() - interval '1 hour'")
        await container.services.fan_out.drain()
        assert await events_by_user(container, "profile.updated", contacts) == dict.fromkeys(contacts, 1)

    async def test_two_workers_at_once_notify_each_contact_once(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        hers, his = await contacts_of(container, ada, MANY), await contacts_of(container, bob, MANY)
        for person in (ada, bob):
            await change_profile(container, person, "On a train")
        await asyncio.gather(*(FanOutService(container.uow).drain() for _ in range(3)))
        await container.services.fan_out.drain()
        assert await events_by_user(container, "profile.updated", hers) == dict.fromkeys(hers, 1)
        assert await events_by_user(container, "profile.updated", his) == dict.fromkeys(his, 1)

    async def test_due_time_set_by_fast_clock_is_ignored(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        contacts = await contacts_of(container, ada, MANY)
        clock.advance(hours=1)
        await change_profile(container, ada, "On a train")
        clock.advance(hours=-1)
        await container.services.fan_out.drain()
        assert await events_by_user(container, "profile.updated", contacts) == dict.fromkeys(contacts, 1)

    async def test_finished_pass_is_swept(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada = await make.person()
        await contacts_of(container, ada, MANY)
        await change_profile(container, ada, "On a train")
        await container.services.maintenance.sweep()
        await container.services.fan_out.drain()
        await container.services.maintenance.sweep()
        assert len(await rows(container, "SELECT FROM fan_outs")) == 1
        clock.advance(seconds=REST.total_seconds() + 1)
        await container.services.maintenance.sweep()
        assert await rows(container, "SELECT FROM fan_outs") == []


class TestErasureFanOut:
    async def test_account_is_removed_from_many_contact_lists_in_batches(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        contacts = await contacts_of(container, ada, MANY)
        await container.services.accounts.erase(ada.actor, PASSWORD)
        with pytest.raises(InvalidCredentials):
            await make.device(ada)
        await container.services.fan_out.drain()
        assert await events_by_user(container, "contact.updated", contacts) == dict.fromkeys(contacts, 1)
        assert await rows(container, "SELECT FROM contacts WHERE $1 IN (owner_id, target_id)", ada.id) == []

    async def test_rows_written_by_concurrent_requests_are_removed_at_last(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        message = await make.message(bob, ada)
        await container.services.accounts.erase(ada.actor, PASSWORD)
        await container.services.fan_out.drain()
        await rows(container, "INSERT INTO hidden_messages VALUES ($1, $2, now())", ada.id, message.id)
        await rows(
            container,
            "INSERT INTO events (user_id, position, name, at) VALUES ($1, 10000, 'profile.updated', now())",
            ada.id,
        )
        await container.services.fan_out.drain()
        assert len(await rows(container, "SELECT FROM fan_outs")) == 1
        clock.advance(seconds=11)
        await container.services.fan_out.drain()
        for table in ("hidden_messages", "events", "fan_outs"):
            assert await rows(container, f"SELECT FROM {table} WHERE user_id = $1", ada.id) == []


class TestAppend:
    """The cost of appending by number of streams, in rows that the plan's nodes touch."""

    @staticmethod
    async def _rows_touched(container: Container, users: Sequence[int]) -> float:
        event = ProfileUpdated(users[0])
        sql = _APPEND.compiled_for(None)
        count = len(users)
        values: dict[str, Any] = {
            "users": users,
            "names": [event.name] * count,
            "subjects": [None] * count,
            "peers": [event.peer] * count,
            "payloads": [None] * count,
            "rules": [],
            "closed": [],
            "judged": [],
            "judged_rules": [],
            "now": container.clock.now(),
        }
        async with container.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            transaction = driver.transaction()
            await transaction.start()
            try:
                explained = await driver.fetchval(
                    f"EXPLAIN (ANALYZE, FORMAT JSON) {sql.sql}", *(values[name] for name in sql.parameters)
                )
            finally:
                await transaction.rollback()

        def touched(node: dict[str, Any]) -> float:
            filtered = sum(value for name, value in node.items() if name.startswith("Rows Removed"))
            own = (node["Actual Rows"] + filtered) * node["Actual Loops"]
            return float(own) + sum(map(touched, node.get("Plans", [])))

        return touched(explained[0]["Plan"])

    async def test_append_cost_is_linear_in_streams(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        users = await contacts_of(container, ada, 4000)
        few, many = [await self._rows_touched(container, users[:count]) for count in (500, 4000)]
        assert many / few < 10
