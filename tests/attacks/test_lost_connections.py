"""A database that goes away in mid-operation: no false success, no 500, no client kept waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from asyncpg.transaction import Transaction
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.database.engine import translate
from messenger.errors import DatabaseUnavailable
from messenger.repositories import activity
from messenger.schemas.users import ProfilePatch
from messenger.testing import Factory
from tests.support.tables import rows


class TestFailedActivityStamp:
    async def test_stamp_aborting_transaction_fails_request(
        self, container: Container, make: Factory, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada = await make.person()
        clock.advance(minutes=5)
        rollback = Transaction.rollback

        async def fail(driver: Any, *_: Any) -> None:
            await driver.execute("SELECT 1 / 0")

        async def lost(self: Any) -> None:
            if self._nested:
                raise TimeoutError
            await rollback(self)

        with monkeypatch.context() as patched:
            patched.setattr(activity, "touch", fail)
            patched.setattr(Transaction, "rollback", lost)
            with pytest.raises(DatabaseUnavailable):
                await container.services.profiles.update(ada.actor, ProfilePatch(about="Kept?"))
        kept = await rows(container, "SELECT about FROM users WHERE id = $1", ada.id)
        assert kept == [{"about": ""}]


class TestUnresponsiveDatabase:
    async def test_unanswered_statement_is_not_rolled_back(
        self, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rolled_back: list[Transaction] = []

        async def silent(self: Any) -> None:
            rolled_back.append(self)
            await asyncio.sleep(60)

        # The first connection of an engine rolls back once by itself.
        async with container.uow.read():
            pass
        monkeypatch.setattr(Transaction, "rollback", silent)
        drivers: list[Any] = []

        async def unanswered() -> None:
            async with container.uow() as uow:
                drivers.append(uow._checkout.driver)
                raise DatabaseUnavailable

        with pytest.raises(DatabaseUnavailable):
            await unanswered()
        assert rolled_back == []
        assert drivers[0].is_closed()
        async with container.uow.read() as again:
            assert again._checkout.driver is not drivers[0]


class TestConnecting:
    @pytest.mark.parametrize(
        "error", [asyncpg.CannotConnectNowError, asyncpg.InvalidPasswordError, asyncpg.InvalidCatalogNameError]
    )
    def test_refused_connection_means_database_unavailable(self, error: type[Exception]) -> None:
        wrapped = AsyncAdapt_asyncpg_dbapi.Error(  # type: ignore[no-untyped-call]
            "the database system is starting up", error("starting up")
        )
        wrapped.__cause__ = error("starting up")
        assert isinstance(translate(wrapped), DatabaseUnavailable)
