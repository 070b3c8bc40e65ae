"""Devices: refreshing tokens, listing devices and signing them out."""

from __future__ import annotations

from uuid import UUID

from messenger.actor import Actor, Caller
from messenger.errors import (
    DeviceNotFound,
    InvalidRefreshToken,
    RefreshTokenReused,
    RefreshTokenSuperseded,
    Unauthenticated,
)
from messenger.events import DeviceRemoved
from messenger.repositories.devices import REFRESH_GRACE, DeviceRow
from messenger.schemas.accounts import DevicePage, DeviceView, RefreshedView
from messenger.schemas.types import timestamp
from messenger.security.tokens import token_hash
from messenger.services._tokens import TokenIssuer
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict

_FIRST_ID = UUID(int=0)


class DeviceService:
    """What a signed-in device can do to itself and to the other devices of its account."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter, issuer: TokenIssuer) -> None:
        self._uow = uow
        self._limiter = limiter
        self._issuer = issuer

    async def refresh(self, refresh_token: str, *, address: str) -> RefreshedView:
        """The next pair of tokens: the same pair until it is used, in case a response was lost.

        Raises `InvalidRefreshToken`; once the next pair is used, `RefreshTokenSuperseded` for a minute after the
        rotation and then `RefreshTokenReused`, which signs the device out.
        """
        view = await self._refresh(refresh_token, address)
        if isinstance(view, RefreshedView):
            return view
        if view is not RefreshTokenSuperseded:
            await self._limiter.hit("refresh", address)
        raise view()

    @retry_on_conflict
    async def _refresh(self, refresh_token: str, address: str) -> RefreshedView | type[Unauthenticated]:
        old_hash, pair = token_hash(refresh_token), self._issuer.successor(refresh_token)
        # An error would roll back, and with it the sign-out that a reused token causes: it is raised by the caller.
        async with self._uow() as uow:
            row = await uow.devices.find_refresh(old_hash)
            if row is None or row.expires_at <= uow.now:
                return InvalidRefreshToken
            stored = self._issuer.stored(pair, uow.now)
            is_unused = row.has_unused_successor(stored.access_hash)
            grace_ends = None if row.used_at is None else row.used_at + REFRESH_GRACE
            if grace_ends is not None and not is_unused and uow.now > grace_ends:
                await remove_devices(uow, row.user_id, device_id=row.device_id)
                return RefreshTokenReused
            await self._limiter.hit_within(uow, "refresh_device", row.device_id)
            if row.used_at is None:
                digest = self._issuer.address_digest(row.user_id, address)
                await uow.devices.rotate(row, old_hash=old_hash, tokens=stored, address_digest=digest)
                self._uow.known.learn(stored.access_hash, row.device_id)
                return RefreshedView(tokens=self._issuer.view(pair))
            if is_unused:
                await uow.devices.renew(row, access_expires_at=stored.access_expires_at)
                return RefreshedView(tokens=self._issuer.view(pair))
            return RefreshTokenSuperseded

    def has_lease(self, caller: Caller) -> bool:
        """Count a request of this device against its lease, without the database; False: use `count_request`."""
        return self._limiter.try_lease("request", caller)

    async def count_request(self, caller: Caller) -> None:
        """Count a request of this device. Raises `RateLimited`."""
        await self._limiter.hit_leased("request", caller)

    async def count_handshake(self, caller: Caller) -> None:
        """Count a handshake of this device. Raises `RateLimited`, `Unauthenticated`."""
        await self._limiter.hit_leased("handshake", caller)

    async def authenticate(self, caller: Caller) -> Actor:
        """Authenticate the caller. Raises `Unauthenticated`."""
        async with self._uow.read() as uow:
            return await uow.devices.authenticate(caller)

    # --- list and sign out ---

    @retry_on_conflict
    async def logout(self, caller: Caller) -> None:
        """Sign this device out."""
        async with self._uow() as uow:
            actor = await uow.devices.authenticate(caller)
            await remove_devices(uow, actor.user_id, device_id=actor.device_id)

    async def list_devices(self, caller: Caller, *, after: UUID | None, limit: int) -> DevicePage:
        """List the account's devices, oldest first."""
        async with self._uow.read() as uow:
            rows = await uow.devices.list_page(caller, after=after or _FIRST_ID, limit=limit + 1)
        items = [_device(row) for row in rows[:limit]]
        return DevicePage(items=items, next=str(items[-1].id) if len(rows) > limit else None)

    @retry_on_conflict
    async def sign_out(self, caller: Caller, device_id: UUID) -> None:
        """Sign out a device of the account. Raises `DeviceNotFound`."""
        async with self._uow() as uow:
            actor = await uow.devices.authenticate(caller)
            if not await remove_devices(uow, actor.user_id, device_id=device_id):
                raise DeviceNotFound


async def remove_devices(
    uow: UnitOfWork, user_id: int, *, device_id: UUID | None = None, keep: UUID | None = None
) -> list[UUID]:
    """Sign devices out and record it in the account's stream; a step of several use cases."""
    removed = await uow.devices.remove(user_id, device_id=device_id, keep=keep)
    for each in removed:
        uow.record(DeviceRemoved({"id": str(each)}), [user_id])
    return removed


def _device(row: DeviceRow) -> DeviceView:
    return DeviceView(
        id=row.id,
        name=row.name,
        created_at=timestamp(row.created_at),
        last_activity=timestamp(row.last_activity),
        current=row.current,
    )
