"""What each kind of unit of work may do, how its caller is identified, and the stamp that it leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.actor import Actor, Bearer, Caller
from messenger.clock import FixedClock, new_id
from messenger.config import Settings
from messenger.container import Container
from messenger.database.runner import Stamp
from messenger.errors import PeerNotFound, Unauthenticated
from messenger.security.tokens import token_hash
from messenger.testing import Factory, Person
from messenger.unit_of_work import UnitOfWorkFactory
from tests.support.units_of_work import GET, PUT, Recorder, count_of

NOW = FixedClock().now()


class TestReadMode:
    async def test_write_in_read_mode_is_refused(self, factory: UnitOfWorkFactory, key: str) -> None:
        async with factory.read() as uow:
            with pytest.raises(RuntimeError, match=r"probe\.put writes, and this unit of work is read-only"):
                await uow.statements.execute(PUT, key=key)
        assert await count_of(factory, key) is None

    async def test_read_mode_allows_many_reads(self, factory: UnitOfWorkFactory, key: str) -> None:
        async with factory.read() as uow:
            assert [await uow.statements.all(GET, key=key) for _ in range(3)] == [[], [], []]

    async def test_mapped_repository_in_read_mode_is_refused(self, factory: UnitOfWorkFactory) -> None:
        async with factory.read() as uow:
            with pytest.raises(RuntimeError, match="need a transaction"):
                _ = uow.accounts


class TestCommandMode:
    async def test_single_write_commits_without_transaction(self, factory: UnitOfWorkFactory, key: str) -> None:
        async with factory.command() as uow:
            await uow.statements.execute(PUT, key=key)
        assert await count_of(factory, key) == 1

    async def test_second_write_in_command_mode_is_refused(self, factory: UnitOfWorkFactory, key: str) -> None:
        async with factory.command() as uow:
            await uow.statements.execute(PUT, key=key)
            with pytest.raises(RuntimeError, match=r"probe\.put is a second write in a command"):
                await uow.statements.execute(PUT, key=f"{key}2")
        assert await count_of(factory, f"{key}2") is None

    async def test_command_mode_allows_reads_beside_write(self, factory: UnitOfWorkFactory, key: str) -> None:
        async with factory.command() as uow:
            await uow.statements.first(GET, key=key)
            await uow.statements.execute(PUT, key=key)
            found = await uow.statements.first(GET, key=key)
        assert found is not None

    async def test_mapped_repository_in_command_mode_is_refused(self, factory: UnitOfWorkFactory) -> None:
        async with factory.command() as uow:
            with pytest.raises(RuntimeError, match="need a transaction"):
                _ = uow.accounts


class TestCallerLookup:
    @pytest.mark.parametrize("mode", ["__call__", "command", "read"])
    async def test_token_and_device_identify_same_caller(
        self, factory: UnitOfWorkFactory, make: Factory, mode: str
    ) -> None:
        ada = await make.person()
        for caller in (ada.actor, Bearer(token_hash(ada.access_token))):
            async with getattr(factory, mode)() as uow:
                assert await uow.devices.authenticate(caller) == ada.actor

    async def test_token_and_device_read_same_row(self, factory: UnitOfWorkFactory, make: Factory) -> None:
        ada = await make.person()
        async with factory.read() as uow:
            by_token = await uow.users.profile(Bearer(token_hash(ada.access_token)))
            assert by_token == await uow.users.profile(ada.actor)

    async def test_token_and_device_read_same_rows(self, factory: UnitOfWorkFactory, make: Factory) -> None:
        ada, bob = await make.friends()
        async with factory.read() as uow:
            rows = await uow.contacts.list_page(Bearer(token_hash(ada.access_token)), state=None, after=0, limit=9)
            assert [row.target_id for row in rows] == [bob.id]
            assert rows == await uow.contacts.list_page(ada.actor, state=None, after=0, limit=9)

    async def test_caller_is_known_after_the_first_statement(self, factory: UnitOfWorkFactory, make: Factory) -> None:
        ada = await make.person()
        async with factory.read() as uow:
            with pytest.raises(RuntimeError, match="no statement"):
                _ = uow.actor
            await uow.users.profile(Bearer(token_hash(ada.access_token)))
            assert uow.actor == ada.actor

    async def test_caller_without_rows_is_known(self, factory: UnitOfWorkFactory, make: Factory) -> None:
        ada = await make.person()
        async with factory.read() as uow:
            assert await uow.messages.find(ada.actor, new_id()) is None
            assert uow.actor == ada.actor

    async def test_empty_page_identifies_caller_when_stamp_is_due(self, engine: AsyncEngine, make: Factory) -> None:
        ada = await make.person()
        for resolution, known in ((30.0, None), (0.0, ada.actor)):
            recorder, clock = Recorder(), FixedClock()
            clock.advance(seconds=1)
            async with UnitOfWorkFactory(engine, clock, recorder, recorder, resolution=resolution).read() as uow:
                assert await uow.contacts.list_page(ada.actor, state=None, after=0, limit=9) == []
                assert (uow.statements.actor, uow.statements.due_stamps) == (
                    known,
                    [Stamp(known, None)] if known else [],
                )

    @pytest.mark.parametrize("caller", [Bearer(bytes(32)), Actor(1, new_id())], ids=["unknown token", "unknown device"])
    async def test_unknown_caller_is_unauthenticated(self, factory: UnitOfWorkFactory, caller: Caller) -> None:
        async with factory.read() as uow:
            with pytest.raises(Unauthenticated):
                await uow.contacts.list_page(caller, state=None, after=0, limit=9)
            with pytest.raises(Unauthenticated):
                await uow.users.profile(caller)

    async def test_device_of_other_user_is_refused(self, factory: UnitOfWorkFactory, make: Factory) -> None:
        ada, bob = await make.people(2)
        async with factory.read() as uow:
            with pytest.raises(Unauthenticated):
                await uow.devices.authenticate(Actor(ada.id, bob.actor.device_id))

    async def test_expired_token_is_unauthenticated(
        self, engine: AsyncEngine, make: Factory, settings: Settings
    ) -> None:
        ada = await make.person()
        for seconds, good in ((settings.access_token_ttl - 1, True), (settings.access_token_ttl, False)):
            clock = FixedClock(NOW + timedelta(seconds=seconds))
            recorder = Recorder()
            async with UnitOfWorkFactory(engine, clock, recorder, recorder).read() as uow:
                if good:
                    await uow.devices.authenticate(Bearer(token_hash(ada.access_token)))
                else:
                    with pytest.raises(Unauthenticated):
                        await uow.devices.authenticate(Bearer(token_hash(ada.access_token)))


class TestActivityStamp:
    @pytest.fixture
    def at(self, engine: AsyncEngine) -> Any:
        """A factory at this many seconds after the users signed in, which renews stamps older than 30."""

        def made(seconds: float) -> UnitOfWorkFactory:
            recorder = Recorder()
            clock = FixedClock(NOW + timedelta(seconds=seconds))
            return UnitOfWorkFactory(engine, clock, recorder, recorder, resolution=30)

        return made

    @staticmethod
    async def _seen(outside: Any, person: Person) -> tuple[float, float]:
        """Seconds since the user signed in: of the user's stamp, and the device's."""
        user = await outside.fetchval("SELECT last_activity FROM users WHERE id = $1", person.id)
        device = await outside.fetchval("SELECT last_activity FROM devices WHERE id = $1", person.actor.device_id)
        return (user - NOW).total_seconds(), (device - NOW).total_seconds()

    @pytest.mark.parametrize("mode", ["__call__", "command", "read"])
    async def test_old_stamp_is_renewed(self, at: Any, make: Factory, outside: Any, mode: str) -> None:
        ada = await make.person()
        async with getattr(at(31), mode)() as uow:
            await uow.devices.authenticate(ada.actor)
        assert await self._seen(outside, ada) == (31, 31)

    async def test_recent_stamp_stays(self, at: Any, make: Factory, outside: Any) -> None:
        ada = await make.person()
        async with at(30).read() as uow:
            await uow.devices.authenticate(ada.actor)
        assert await self._seen(outside, ada) == (0, 0)

    async def test_stamp_never_moves_back(self, at: Any, make: Factory, outside: Any) -> None:
        ada = await make.person()
        async with at(100).read() as late:
            await late.devices.authenticate(ada.actor)
        async with at(60).read() as early:
            await early.devices.authenticate(ada.actor)
            # A worker whose clock is behind, and which read the row before the other one wrote it.
            early.statements.due_stamps.append(ada.actor)
        assert await self._seen(outside, ada) == (100, 100)

    async def test_only_calling_device_is_stamped(self, at: Any, make: Factory, outside: Any) -> None:
        ada = await make.person()
        phone = await make.device(ada)
        async with at(31).read() as uow:
            await uow.devices.authenticate(phone.actor)
        assert await self._seen(outside, ada) == (31, 0)

    async def test_refused_request_is_stamped(self, at: Any, make: Factory, outside: Any) -> None:
        ada = await make.person()
        with pytest.raises(PeerNotFound):
            await _authenticate_and_raise(at(31)(), ada, PeerNotFound())
        assert await self._seen(outside, ada) == (31, 31)

    async def test_failed_request_is_not_stamped(self, at: Any, make: Factory, outside: Any) -> None:
        ada = await make.person()
        with pytest.raises(ValueError, match="a bug"):
            await _authenticate_and_raise(at(31)(), ada, ValueError("a bug"))
        assert await self._seen(outside, ada) == (0, 0)

    async def test_stamp_does_not_wait_for_locked_row(self, at: Any, make: Factory, outside: Any) -> None:
        ada = await make.person()
        async with outside.transaction():
            await outside.execute("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", ada.id)
            await outside.execute("SELECT FROM devices WHERE user_id = $1 FOR NO KEY UPDATE", ada.id)
            async with at(31).read() as uow:
                await uow.devices.authenticate(ada.actor)
        assert await self._seen(outside, ada) == (0, 0)


class TestFailingStamp:
    """A failing stamp does not affect the request: a trigger refuses every change of a device."""

    @pytest.fixture
    async def broken(self, fresh_database_url: str, settings: Settings, clock: FixedClock) -> AsyncIterator[Container]:
        container = Container(msgspec.structs.replace(settings, database_url=fresh_database_url), clock=clock)
        yield container
        await container.close()

    @pytest.fixture
    async def ada(self, broken: Container, fresh_database_url: str, clock: FixedClock) -> Person:
        ada = await Factory(broken).person()
        connection = await asyncpg.connect(fresh_database_url)
        await connection.execute(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no stamps today'; END $$;
            CREATE TRIGGER refuse BEFORE UPDATE ON devices FOR EACH ROW EXECUTE FUNCTION refuse();
            """
        )
        await connection.close()
        clock.advance(minutes=1)
        return ada

    @pytest.mark.parametrize("mode", ["__call__", "command", "read"])
    async def test_request_succeeds_despite_failing_stamp(
        self, broken: Container, ada: Person, key: str, mode: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with getattr(broken.uow, mode)() as uow:
            await uow.devices.authenticate(ada.actor)
            if mode != "read":
                await uow.statements.execute(PUT, key=key)
        assert await count_of(broken.uow, key) == (None if mode == "read" else 1)
        assert "an activity stamp failed" in caplog.text

    async def test_refusal_is_kept_despite_failing_stamp(self, broken: Container, ada: Person) -> None:
        with pytest.raises(PeerNotFound):
            await _authenticate_and_raise(broken.uow(), ada, PeerNotFound())


async def _authenticate_and_raise(unit: Any, person: Person, error: Exception) -> None:
    async with unit as uow:
        await uow.devices.authenticate(person.actor)
        raise error
