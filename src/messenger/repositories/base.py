"""The two kinds of repository. The first line of a repository's class says which kind it is."""

from __future__ import annotations

from typing import TypeVar

from advanced_alchemy.base import ModelProtocol
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy.ext.asyncio import AsyncSession

from messenger.database.runner import Runner

Model = TypeVar("Model", bound=ModelProtocol)


class StatementRepository:
    """Uses named SQL statements: for frequent requests, for ordered locks, and where one round trip is required."""

    def __init__(self, statements: Runner) -> None:
        self._run = statements


class MappedRepository(SQLAlchemyAsyncRepository[Model]):
    """Uses advanced-alchemy over the session of the unit of work, for all other data. No object leaves the unit."""

    def __init__(self, session: AsyncSession) -> None:
        super().__init__(session=session, auto_refresh=False, wrap_exceptions=False)
