"""Fan-outs: notify large audiences, and remove what is left of erased accounts, in batches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from datetime import timedelta
from time import perf_counter

from messenger.errors import MessengerError
from messenger.events import ContactUpdated, ProfileUpdated
from messenger.repositories.fan_outs import REST, FanOutRow
from messenger.services._audience import AT_ONCE
from messenger.services._group_exit import leave_group
from messenger.services._purges import purge_step
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict

logger = logging.getLogger(__name__)

_LOOK_EVERY = 5.0
"""Seconds after which a worker checks for fan-outs that another one left unfinished."""
_LAST_LOOK = timedelta(seconds=10)
"""Delay of the last pass of an erasure, which removes what concurrent requests wrote: they have ended by then."""


class FanOutService:
    """One batch per transaction, so that no lock is held for long; if a worker dies, others continue."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def drain(self) -> int:
        """Process batches until none is due; returns their number."""
        pieces = 0
        while await self.step():
            pieces += 1
        return pieces

    async def step(self) -> bool:
        """Process one batch of the fan-out that has waited longest; False if nothing is due.

        A fan-out that fails moves behind the others, and its error is raised.
        """
        claimed: list[FanOutRow] = []
        try:
            return await self._step(claimed)
        except Exception:
            if claimed:
                await self._postpone(claimed[-1])
            raise

    @retry_on_conflict
    async def _step(self, claimed: list[FanOutRow]) -> bool:
        async with self._uow() as uow:
            row = await uow.fan_outs.claim()
            if row is None:
                return await purge_step(uow)
            claimed.append(row)
            await (_forget(uow, row) if row.name == ContactUpdated.name else _notify(uow, row))
            return True

    async def _postpone(self, row: FanOutRow) -> None:
        with contextlib.suppress(MessengerError):
            async with self._uow.command() as uow:
                await uow.fan_outs.postpone(row, pause=REST)

    async def run(self) -> None:
        """Run until cancelled: immediately after a request, and periodically for fan-outs of dead workers."""
        requested = self._uow.fan_outs_requested
        while True:
            requested.clear()
            try:
                while True:
                    started = perf_counter()
                    if not await self.step():
                        break
                    # Leave half of the time for requests.
                    await asyncio.sleep(perf_counter() - started)
            except Exception:
                logger.warning("a fan-out failed; retrying", exc_info=True)
            with contextlib.suppress(TimeoutError):
                # Workers start together; jitter keeps them from checking at the same time.
                await asyncio.wait_for(requested.wait(), _LOOK_EVERY * random.uniform(0.5, 1.5))  # noqa: S311


async def _notify(uow: UnitOfWork, row: FanOutRow) -> None:
    """Notify the next mutual contacts that the user's profile has changed; they read its current state."""
    contacts = await uow.contacts.list_mutual(row.user_id, after=row.after or 0, limit=AT_ONCE)
    uow.record(ProfileUpdated(row.user_id), contacts)
    # A pass that starts now includes all earlier changes.
    wanted = row.wanted and row.after is not None
    if len(contacts) == AT_ONCE:
        await uow.fan_outs.advance(row, after=contacts[-1], wanted=wanted)
    else:
        await uow.fan_outs.advance(row, after=None, wanted=wanted, pause=REST)


async def _forget(uow: UnitOfWork, row: FanOutRow) -> None:
    """Remove an erased account from its next group, then from contact lists; finally, remove what its own requests
    wrote meanwhile.
    """
    group = await uow.group_locks.lock_first(row.user_id)
    if group is not None:
        await leave_group(uow, group, row.user_id)
        await uow.fan_outs.advance(row, after=row.after, wanted=True)
        return
    left = await uow.users.forget(row.user_id)
    uow.record(ContactUpdated(row.user_id, {"state": "none"}), left.owners)
    if left.count:
        await uow.fan_outs.advance(row, after=row.after, wanted=True)
    elif row.after is None:
        await uow.fan_outs.advance(row, after=0, wanted=True, pause=_LAST_LOOK)
    else:
        await uow.fan_outs.remove(row)
