"""The mapped session: opened on first use, over the unit's own connection, in its own transaction."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.clock import FixedClock
from messenger.errors import UsernameTaken
from messenger.events import ProfileUpdated
from messenger.models import User
from messenger.testing import Factory, Person, StatementLog
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory
from tests.support.units_of_work import Number, checked_out, probe

RENAME = probe("rename", "UPDATE users SET name = 'Hot' WHERE id = :id", writes=True)
IS_COLD = probe("is_cold", "SELECT count(*)::int AS number FROM users WHERE id = :id AND name = 'Cold'", Number)


@pytest.fixture
async def ada(make: Factory) -> Person:
    return await make.person(name="Ada")


async def _user(uow: UnitOfWork, person: Person) -> User:
    user = await uow.accounts.find(username_key=None, number=person.id)
    assert user is not None
    return user


async def _name(factory: UnitOfWorkFactory, person: Person) -> str:
    async with factory() as uow:
        return (await _user(uow, person)).name


class TestMappedSession:
    async def test_session_sees_statements_of_transaction(self, factory: UnitOfWorkFactory, ada: Person) -> None:
        async with factory() as uow:
            await uow.statements.execute(RENAME, id=ada.id)
            assert (await _user(uow, ada)).name == "Hot"

    async def test_statements_see_flushed_changes(self, factory: UnitOfWorkFactory, ada: Person) -> None:
        async with factory() as uow:
            (await _user(uow, ada)).name = "Cold"
            # What this test is about: the statement below does not go through the session.
            await uow.flush()
            assert await uow.statements.first(IS_COLD, id=ada.id) == Number(1)

    async def test_clean_exit_commits_unflushed_changes(self, factory: UnitOfWorkFactory, ada: Person) -> None:
        async with factory() as uow:
            (await _user(uow, ada)).name = "Cold"
        assert await _name(factory, ada) == "Cold"

    @pytest.mark.parametrize("flushed", [True, False])
    async def test_error_rolls_back_session_and_statements(
        self, factory: UnitOfWorkFactory, ada: Person, flushed: bool
    ) -> None:
        async def use_case() -> None:
            async with factory() as uow:
                await uow.statements.execute(RENAME, id=ada.id)
                (await _user(uow, ada)).name = "Cold"
                if flushed:
                    # One of the two cases: what is already in the database is rolled back as well.
                    await uow.flush()
                raise ValueError("a bug")

        with pytest.raises(ValueError, match="a bug"):
            await use_case()
        assert await _name(factory, ada) == "Ada"

    async def test_cancellation_rolls_back_session_and_statements(
        self, engine: AsyncEngine, factory: UnitOfWorkFactory, ada: Person
    ) -> None:
        ready = asyncio.Event()

        async def use_case() -> None:
            async with factory() as uow:
                await uow.statements.execute(RENAME, id=ada.id)
                (await _user(uow, ada)).name = "Cold"
                # Also cancelled with an open savepoint.
                await uow.flush()
                ready.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(use_case())
        await ready.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert checked_out(engine) == 0
        assert await _name(factory, ada) == "Ada"

    async def test_violation_at_commit_is_translated(
        self, engine: AsyncEngine, factory: UnitOfWorkFactory, ada: Person, make: Factory
    ) -> None:
        bob = await make.person()

        async def use_case() -> None:
            async with factory() as uow:
                (await _user(uow, bob)).username_key = ada.username

        with pytest.raises(UsernameTaken):
            await use_case()
        assert checked_out(engine) == 0

    async def test_events_commit_with_session(
        self, engine: AsyncEngine, factory: UnitOfWorkFactory, ada: Person
    ) -> None:
        async with factory() as uow:
            uow.record(ProfileUpdated(ada.id), [ada.id])
            (await _user(uow, ada)).name = "Cold"
        assert factory.announcer.news[0].name == "profile.updated"  # type: ignore[attr-defined]

    async def test_session_takes_no_second_connection(self, engine: AsyncEngine, factory: Any, ada: Person) -> None:
        async with factory() as uow:
            await _user(uow, ada)
            assert checked_out(engine) == 1
        assert checked_out(engine) == 0

    async def test_unused_session_is_never_opened(self, statements: StatementLog, factory: Any, ada: Person) -> None:
        async with statements.recording() as sent:
            async with factory() as uow:
                await uow.statements.execute(RENAME, id=ada.id)
                # Nothing is pending where there is no session.
                await uow.flush()
            await asyncio.sleep(0)
        assert not [statement for statement in sent if "SAVEPOINT" in statement]

    async def test_object_keeps_values_after_commit(self, factory: UnitOfWorkFactory, ada: Person) -> None:
        async with factory() as uow:
            user = await _user(uow, ada)
            created_at = user.created_at
        assert created_at == FixedClock().now()
