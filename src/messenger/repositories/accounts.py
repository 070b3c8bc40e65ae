"""Accounts from the operator's side: rare and unhurried, so mapped objects over advanced-alchemy's repository."""

from __future__ import annotations

from sqlalchemy import ColumnElement

from messenger.models import User
from messenger.repositories.base import MappedRepository


class AccountRepository(MappedRepository[User]):
    """Accounts as mapped objects, for the command line; they never leave their unit of work."""

    model_type = User

    async def page(self, *, after: int, limit: int) -> list[User]:
        """Accounts by ascending number."""
        above: ColumnElement[bool] = User.id > after
        statement = self.statement.where(above).order_by(User.id).limit(limit)
        return list(await self.get_many(statement=statement))

    async def find(self, *, username_key: str | None, number: int | None) -> User | None:
        """By name or by number."""
        if number is not None:
            return await self.get_one_or_none(id=number)
        return await self.get_one_or_none(username_key=username_key)
