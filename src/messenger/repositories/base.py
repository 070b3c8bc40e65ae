"""The two kinds of repository. The first line of a repository's class says which kind it is."""

from __future__ import annotations

from typing import TypeVar

from advanced_alchemy.base import ModelProtocol
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy.ext.asyncio import AsyncSession

from messenger.database.runner import Runner

Model = TypeVar("Model", bound=ModelProtocol)


class StatementRepository:
    """Named SQL statements: for frequent requests, for locks in an order, and for what must be one round trip."""

    def __init__(self, statements: Runner) -> None:
        self._run = statements


class MappedRepository(SQLAlchemyAsyncRepository[Model]):
    """advanced-alchemy over the session of the unit of work: for everything else. No object leaves the unit."""

    def __init__(self, session: AsyncSession) -> None:
        super().__init__(session=session, auto_refresh=False, wrap_exceptions=False)
