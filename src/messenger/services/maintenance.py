"""Maintenance: sweeps that each worker runs periodically, over a bounded number of rows."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import timedelta

from messenger.clock import Clock
from messenger.events import DeviceRemoved, GroupInvited, GroupRequested
from messenger.repositories.sweeps import BATCH, LAPSED_AT_ONCE, SWEEPS
from messenger.services._gone import record_gone
from messenger.services._group_exit import succeed_owner
from messenger.services._images import discard_image
from messenger.services._sweep_guard import SweepGuard
from messenger.storage.object_store import ObjectStore
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict

logger = logging.getLogger(__name__)

_IMAGES_A_PASS = 100
_GROUPS_A_PASS = 100
_REQUESTS_A_PASS = BATCH
DISABLED_FOR = timedelta(days=7)
"""After this long, a disabled owner of a group is succeeded."""


class MaintenanceService:
    """Removes expired rows and files."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        clock: Clock,
        store: ObjectStore,
        *,
        events_kept_for: timedelta,
        on_held: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._uow = uow
        self._clock = clock
        self._store = store
        self._events_kept_for = events_kept_for
        self._on_held = on_held
        self._guard = SweepGuard(clock)

    async def sweep(self) -> dict[str, int]:
        """Run every sweep once; returns the number of removals of each. Removes nothing if the clock is in doubt."""
        removed: dict[str, int] = {}
        if not self._guard.is_ready:
            return removed
        doubt = self._guard.doubt()
        if doubt is not None:
            self._hold("clock", "%s; nothing is swept", doubt)
            return removed
        for name in SWEEPS:
            async with self._uow.command() as uow:
                removed[name] = await uow.sweeps.sweep(name, events_kept_for=self._events_kept_for)
        removed["expired_messages"] = await self._expire_messages()
        removed["group_invitations"] = await self._lapse_invitations()
        removed["group_requests"] = await self._lapse_requests()
        removed["idle_devices"] = await self._sign_out_idle()
        removed["disabled_owners"] = await self._succeed_owners()
        async with self._uow.read() as uow:
            keys = await uow.avatars.list_unreferenced(_IMAGES_A_PASS, now=self._clock.now())
        gone = [await discard_image(self._uow, self._store, key) for key in keys]
        removed["avatars"] = sum(gone)
        return removed

    @retry_on_conflict
    async def _expire_messages(self) -> int:
        async with self._uow() as uow:
            expired = await uow.sweeps.expire_messages()
            record_gone(uow, expired)
        return expired[0].emptied

    @retry_on_conflict
    async def _lapse_invitations(self) -> int:
        """Remove old invitations, and notify the users who saw them."""
        async with self._uow() as uow:
            lapsed = await uow.sweeps.lapse_invitations()
            for each in lapsed:
                if each.seen:
                    uow.record(GroupInvited(each.group_id), [each.user_id])
        return len(lapsed)

    async def _lapse_requests(self) -> int:
        """Remove old requests to join, and notify moderators; some requests a transaction."""
        total = 0
        while total < _REQUESTS_A_PASS:
            count = await self._lapse_some_requests()
            total += count
            if count < LAPSED_AT_ONCE:
                break
        return total

    @retry_on_conflict
    async def _lapse_some_requests(self) -> int:
        async with self._uow() as uow:
            lapsed = await uow.sweeps.lapse_requests()
            for each in lapsed:
                uow.record(GroupRequested(each.group_id, user_id=each.user_id), each.moderators)
        return len(lapsed)

    async def _succeed_owners(self) -> int:
        """Replace owners of groups who have been disabled for a week; one group a transaction."""
        for count in range(_GROUPS_A_PASS):
            if not await self._succeed_owner():
                return count
        return _GROUPS_A_PASS

    @retry_on_conflict
    async def _succeed_owner(self) -> bool:
        async with self._uow() as uow:
            group = await uow.group_locks.lock_disabled_owner(uow.now - DISABLED_FOR)
            if group is not None:
                await succeed_owner(uow, group)
            return group is not None

    async def _sign_out_idle(self) -> int:
        if not self._guard.has_settled:
            async with self._uow.read() as uow:
                share = await uow.sweeps.idle_share()
            if not share.is_usual:
                self._hold(
                    "devices", "%d of %d devices would be signed out; none was signed out", share.idle, share.all
                )
                return 0
        return await self._remove_idle()

    def _hold(self, what: str, why: str, *values: object) -> None:
        self._on_held(what)
        logger.error(why + "; check the database's clock (sweeps resume after a day without a change)", *values)

    @retry_on_conflict
    async def _remove_idle(self) -> int:
        async with self._uow() as uow:
            idle = await uow.sweeps.idle_devices()
            for device in idle:
                uow.record(DeviceRemoved({"id": str(device.id)}), [device.user_id])
        return len(idle)

    async def run(self, every: float = 60.0) -> None:
        """Sweep until cancelled; after a full batch, continue with a short pause."""
        while True:
            busy = False
            try:
                removed = await self.sweep()
                busy = any(count >= BATCH for count in removed.values())
                if any(removed.values()):
                    logger.info("swept %s", {name: count for name, count in removed.items() if count})
            except Exception:
                logger.warning("a sweep failed; it will be retried", exc_info=True)
            # Workers start together; jitter keeps them from sweeping at the same time.
            await asyncio.sleep(1.0 if busy else every * random.uniform(0.5, 1.5))  # noqa: S311
