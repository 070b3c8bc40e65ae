"""Rows that can't be shown: left out of their page, told once, counted. What comes after them comes all the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from messenger.actor import Actor, Caller
from messenger.unit_of_work import UnitOfWorkFactory

logger = logging.getLogger(__name__)

Kind = Literal["event", "message", "conversation", "contact"]
Row = TypeVar("Row")
View = TypeVar("View")

_REMEMBERED = 10_000

_PLACES: dict[Kind, str] = {
    "event": "position {0.position}",
    "message": "{0.seq} with {0.target_id}",
    "conversation": "{0.conversation_id}",
    "contact": "{0.target_id}",
}


class Unreadable:
    """Makes views of a page's rows. `count` is told the kind of each row that was met for the first time."""

    def __init__(self, uow: UnitOfWorkFactory, count: Callable[[Kind], None]) -> None:
        self._uow = uow
        self._count = count
        self._known: dict[tuple[str, str, int], None] = {}

    async def shown(self, kind: Kind, caller: Caller, show: Callable[[Row], View], rows: Sequence[Row]) -> list[View]:
        """What these rows show to the caller, but for those that can't be shown; outside of a unit of work."""
        try:
            return [show(row) for row in rows]
        except Exception:
            # Which it is is looked for only now: a page of sound rows pays nothing for it.
            return await self._one_by_one(kind, caller, show, rows)

    async def _one_by_one(
        self, kind: Kind, caller: Caller, show: Callable[[Row], View], rows: Sequence[Row]
    ) -> list[View]:
        owner = await self._owner(caller)
        views = []
        for row in rows:
            try:
                views.append(show(row))
            except Exception as error:
                self._tell(kind, _PLACES[kind].format(row), owner, error)
        return views

    async def _owner(self, caller: Caller) -> int:
        """Whose page it is: pages don't say so themselves."""
        if isinstance(caller, Actor):
            return caller.user_id
        async with self._uow.read() as uow:
            return (await uow.devices.authenticate(caller)).user_id

    def _tell(self, kind: Kind, place: str, owner: int, error: Exception) -> None:
        known = (kind, place, owner)
        if known in self._known:
            return
        self._known[known] = None
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._count(kind)
        # Neither the error's words nor its trace: they may quote what somebody wrote.
        logger.error("%s could not be shown: %s of user %s (%s)", kind, place, owner, _reason(error))


def _reason(error: Exception) -> str:
    """The error's class, and where it was raised."""
    trace: Any = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{type(error).__name__} in {trace.tb_frame.f_code.co_qualname}"
