"""The cost of a mapped repository in round trips, against that of a statement. Decision 16 refers to it."""

from __future__ import annotations

import pytest

from messenger.container import Container
from messenger.models import Avatar
from messenger.repositories.base import MappedRepository
from messenger.testing import StatementLog

KEY = "0" * 64


class _Avatars(MappedRepository[Avatar]):
    model_type = Avatar


class TestReadOfOneRow:
    async def test_statement_costs_single_round_trip(self, container: Container, statements: StatementLog) -> None:
        async with statements.recording() as sent, container.uow.read() as uow:
            assert not await uow.avatars.is_servable(KEY)
        assert len(sent) == 1

    async def test_mapped_repository_adds_transaction_and_savepoint(
        self, container: Container, statements: StatementLog
    ) -> None:
        async with statements.recording() as sent, container.uow() as uow:
            assert await _Avatars(uow.session).get_one_or_none(key=KEY) is None
        # The log does not record the SELECT itself: the session executes it as a prepared statement.
        assert [statement.split()[0] for statement in sent] == ["BEGIN;", "SAVEPOINT", "RELEASE", "COMMIT;"]

    async def test_mapped_repository_is_refused_outside_transaction(self, container: Container) -> None:
        async with container.uow.read() as uow:
            with pytest.raises(RuntimeError, match="need a transaction"):
                _ = uow.session
