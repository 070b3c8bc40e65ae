"""Confirming the password of a signed-in caller, before what cannot be undone."""

from __future__ import annotations

from messenger.actor import Caller
from messenger.errors import InvalidCredentials
from messenger.repositories.users import IdentityRow
from messenger.security.passwords import PasswordHasher
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWorkFactory


class PasswordCheck:
    """Counts attempts, and verifies passwords outside of any unit of work: hashing is slow."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter, hasher: PasswordHasher) -> None:
        self._uow = uow
        self._limiter = limiter
        self._hasher = hasher

    async def confirm(self, caller: Caller, password: str) -> IdentityRow:
        """The caller, whose password this is. Raises `InvalidCredentials`, `RateLimited`, `Unauthenticated`."""
        async with self._uow.read() as uow:
            identity = await uow.users.identity(caller)
        await self._limiter.hit("password", identity.user_id)
        source = str(identity.user_id)
        verdict = await self._hasher.verify(password, identity.password_hash, source=source, known=True)
        if not verdict.ok:
            raise InvalidCredentials
        return identity
