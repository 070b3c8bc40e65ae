"""Administration: accounts as the operator manages them on the command line."""

from __future__ import annotations

from datetime import datetime

from messenger.clock import Clock
from messenger.errors import InvalidCredentials, PeerNotFound
from messenger.models import User
from messenger.schemas.accounts import AccountView, RegisterDraft
from messenger.schemas.text import clean_name
from messenger.schemas.types import timestamp, timestamp_or_none
from messenger.security.passwords import PasswordHasher, ensure_strong
from messenger.services._usernames import UsernameDigests
from messenger.services.accounts import create_user, parse_login
from messenger.services.devices import remove_devices
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict


class AdministrationService:
    """Works on mapped objects, since no client waits for it."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        clock: Clock,
        hasher: PasswordHasher,
        usernames: UsernameDigests,
        *,
        password_min_length: int,
    ) -> None:
        self._uow = uow
        self._clock = clock
        self._hasher = hasher
        self._usernames = usernames
        self._password_min_length = password_min_length

    async def create_account(self, draft: RegisterDraft) -> AccountView:
        """Create an account without a device. Raises `UsernameTaken`, `PasswordWeak`."""
        name = clean_name(draft.name)
        ensure_strong(draft.password, minimum=self._password_min_length, personal=[draft.username, name])
        return await self._create_account(draft.username, name, await self._hasher.hash(draft.password))

    @retry_on_conflict
    async def _create_account(self, username: str, name: str, encoded: str) -> AccountView:
        async with self._uow() as uow:
            user_id = await create_user(uow, self._usernames, username=username, name=name, encoded=encoded)
            return _view(await _require(uow, str(user_id)))

    async def list_accounts(self, *, after: int = 0, limit: int = 100) -> list[AccountView]:
        """List accounts by ascending ID."""
        async with self._uow() as uow:
            return [_view(user) for user in await uow.accounts.page(after=after, limit=limit)]

    @retry_on_conflict
    async def set_disabled(self, login: str, *, disabled: bool) -> AccountView:
        """Disable an account and sign out its devices, or enable it again. Raises `PeerNotFound`."""
        async with self._uow() as uow:
            user = await _require(uow, login)
            at: datetime | None = self._clock.now() if disabled else None
            user.disabled_at = at
            # Removing the devices below is a statement outside the session.
            await uow.flush()
            uow.invalidate_rules(user.id)
            if disabled:
                await remove_devices(uow, user.id)
            return _view(user)

    async def set_password(self, login: str, password: str) -> AccountView:
        """Set a new password and sign out every device. Raises `PeerNotFound`, `PasswordWeak`."""
        ensure_strong(password, minimum=self._password_min_length, personal=[login])
        return await self._set_password(login, await self._hasher.hash(password))

    @retry_on_conflict
    async def _set_password(self, login: str, encoded: str) -> AccountView:
        async with self._uow() as uow:
            user = await _require(uow, login)
            if user.deleted_at is not None:
                raise InvalidCredentials("An erased account has no password")
            user.password_hash = encoded
            # As above: the next statement does not go through the session.
            await uow.flush()
            await remove_devices(uow, user.id)
            return _view(user)


async def _require(uow: UnitOfWork, login: str) -> User:
    key, number = parse_login(login)
    user = await uow.accounts.find(username_key=key, number=number)
    if user is None:
        raise PeerNotFound(f"There is no account {login}")
    return user


def _view(user: User) -> AccountView:
    return AccountView(
        user.id,
        user.username,
        user.name,
        timestamp(user.created_at),
        timestamp(user.last_activity),
        timestamp_or_none(user.disabled_at),
        timestamp_or_none(user.deleted_at),
    )
