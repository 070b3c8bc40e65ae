"""Accounts as the operator manages them: mapped objects, since no client waits for them."""

from __future__ import annotations

from sqlalchemy import ColumnElement

from messenger.models import User
from messenger.repositories.base import MappedRepository


class AccountRepository(MappedRepository[User]):
    """Accounts as mapped objects, for the command line."""

    model_type = User

    async def page(self, *, after: int, limit: int) -> list[User]:
        """A page of accounts by ascending ID."""
        above: ColumnElement[bool] = User.id > after
        statement = self.statement.where(above).order_by(User.id).limit(limit)
        return list(await self.get_many(statement=statement))

    async def find(self, *, username_key: str | None, number: int | None) -> User | None:
        """Find an account by username or by ID."""
        if number is not None:
            return await self.get_one_or_none(id=number)
        return await self.get_one_or_none(username_key=username_key)
