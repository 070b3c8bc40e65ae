"""Makes the views of a page, and skips the rows that cannot be shown, so that all other rows are delivered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from messenger.actor import Actor, Caller
from messenger.database.pages import Corrupt
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
    """Makes the views of a page. A row that cannot be shown is logged, and its kind passed to `count`, once."""

    def __init__(self, uow: UnitOfWorkFactory, count: Callable[[Kind], None]) -> None:
        self._uow = uow
        self._count = count
        self._known: dict[tuple[str, str, int], None] = {}

    async def shown(
        self, kind: Kind, caller: Caller, show: Callable[[Row], View], rows: Sequence[Row | Corrupt]
    ) -> list[View]:
        """The views of these rows, without those that cannot be shown; call it outside of a unit of work."""
        # `show` fails for a corrupt row, too: a page is only searched for those if it fails.
        sound: Sequence[Any] = rows
        try:
            return [show(row) for row in sound]
        except Exception:
            return await self._one_by_one(kind, caller, show, rows)

    async def _one_by_one(
        self, kind: Kind, caller: Caller, show: Callable[[Row], View], rows: Sequence[Row | Corrupt]
    ) -> list[View]:
        owner = await self._owner(caller)
        views = []
        for row in rows:
            if isinstance(row, Corrupt):
                self._report(kind, _PLACES[kind].format(row), owner, "it cannot be read")
                continue
            try:
                views.append(show(row))
            except Exception as error:
                self._report(kind, _PLACES[kind].format(row), owner, _reason(error))
        return views

    async def _owner(self, caller: Caller) -> int:
        """Whose page it is; a page's rows do not contain this."""
        if isinstance(caller, Actor):
            return caller.user_id
        async with self._uow.read() as uow:
            return (await uow.devices.authenticate(caller)).user_id

    def _report(self, kind: Kind, place: str, owner: int, reason: str) -> None:
        known = (kind, place, owner)
        if known in self._known:
            return
        self._known[known] = None
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._count(kind)
        logger.error("%s could not be shown: %s of user %s (%s)", kind, place, owner, reason)


def _reason(error: Exception) -> str:
    """The error's class, and where it was raised; its text and its traceback could quote a user's data."""
    trace: Any = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{type(error).__name__} in {trace.tb_frame.f_code.co_qualname}"
