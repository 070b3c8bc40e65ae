"""Settings of an account that others do not see."""

from __future__ import annotations

from messenger.actor import Caller
from messenger.schemas.users import SettingsPatch, SettingsView
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict


class SettingsService:
    """One round trip each."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter) -> None:
        self._uow = uow
        self._limiter = limiter

    async def get(self, caller: Caller) -> SettingsView:
        """The caller's settings."""
        async with self._uow.read() as uow:
            row = await uow.users.settings(caller)
        return SettingsView(row.auto_join)

    async def update(self, caller: Caller, patch: SettingsPatch) -> SettingsView:
        """Change the given settings."""
        await self._limiter.hit_leased("change", caller)
        return await self._update(caller, patch)

    @retry_on_conflict
    async def _update(self, caller: Caller, patch: SettingsPatch) -> SettingsView:
        auto_join = patch.auto_join if isinstance(patch.auto_join, str) else None
        async with self._uow() as uow:
            row = await uow.users.change_settings(caller, auto_join=auto_join)
            # An invitation that relies on the former setting is judged again.
            uow.invalidate_rules(uow.actor.user_id)
        return SettingsView(row.auto_join)
