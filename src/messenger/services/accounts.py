"""Accounts: registration, sign-in, password and erasure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from messenger.actor import Caller
from messenger.addresses import site
from messenger.clock import new_id
from messenger.errors import ConcurrentUpdate, InvalidCredentials
from messenger.events import ContactUpdated, DeviceAdded, DeviceRemoved, WakeUp
from messenger.schemas.accounts import DeviceView, LoginDraft, RegisterDraft, SignedInView
from messenger.schemas.text import clean_device_name, clean_name
from messenger.schemas.types import timestamp
from messenger.security.passwords import PasswordHasher, ensure_strong
from messenger.security.tokens import TokenPair
from messenger.services._images import discard_image
from messenger.services._numbers import candidate_numbers
from messenger.services._passwords import PasswordCheck
from messenger.services._tokens import TokenIssuer
from messenger.services._usernames import UsernameDigests, username_key
from messenger.services._views import user_view
from messenger.services.devices import remove_devices
from messenger.services.idempotency import IdempotencyKey, find_response, keep_response
from messenger.services.rate_limits import RateLimiter
from messenger.storage.object_store import ObjectStore
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict

_UNNAMED_DEVICE = "Unnamed device"


class _Origin(NamedTuple):
    """The context of a request that creates a device: its kind, its address, and its `Idempotency-Key`, if any."""

    kind: str
    address: str
    once: IdempotencyKey | None

    @property
    def scope(self) -> str:
        """The scope in which an `Idempotency-Key` is unique."""
        return f"{self.kind}:{self.address}"


def _source(address: str) -> str:
    """The source whose requests share a queue when passwords are checked."""
    return site(address) or address


class _PasswordMoved(InvalidCredentials):
    """The password hash was replaced after it was verified."""


class AccountService:
    """Passwords are hashed between units of work, never inside one."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        limiter: RateLimiter,
        hasher: PasswordHasher,
        issuer: TokenIssuer,
        store: ObjectStore,
        usernames: UsernameDigests,
        *,
        max_devices: int,
        password_min_length: int,
    ) -> None:
        self._uow = uow
        self._limiter = limiter
        self._hasher = hasher
        self._password = PasswordCheck(uow, limiter, hasher)
        self._issuer = issuer
        self._store = store
        self._usernames = usernames
        self._max_devices = max_devices
        self._password_min_length = password_min_length

    # --- sign-up and sign-in ---

    async def register(self, draft: RegisterDraft, *, address: str, once: IdempotencyKey | None = None) -> SignedInView:
        """Create an account and its first device. Raises `UsernameTaken`, `PasswordWeak`, `RateLimited`."""
        await self._limiter.hit("register", address)
        name = clean_name(draft.name)
        ensure_strong(draft.password, minimum=self._password_min_length, personal=[draft.username, name])
        encoded = await self._hasher.hash(draft.password, source=_source(address))
        return await self._register(
            draft, name, encoded, _Origin("register", address, self._issuer.keyed_fingerprint(once))
        )

    @retry_on_conflict
    async def _register(self, draft: RegisterDraft, name: str, encoded: str, origin: _Origin) -> SignedInView:
        async with self._uow() as uow:
            earlier = await find_response(uow, origin.scope, origin.once, SignedInView)
            if earlier is not None:
                return _with_tokens(earlier, self._issuer.pair(origin.scope, origin.once, earlier.device.id))
            user_id = await create_user(uow, self._usernames, username=draft.username, name=name, encoded=encoded)
            view = await self._sign_in(uow, user_id, draft.device_name, encoded, origin)
            await keep_response(uow, origin.scope, origin.once, _without_tokens(view))
            return view

    async def login(self, draft: LoginDraft, *, address: str, once: IdempotencyKey | None = None) -> SignedInView:
        """Sign in on a new device. Raises `InvalidCredentials`, after the same time for an unknown login."""
        key, number = parse_login(draft.login)
        # The limit counts the normalized login, so other spellings of it share one limit.
        login = key or str(number)
        await self._count_login(login, address)
        origin = _Origin("login", address, self._issuer.keyed_fingerprint(once))
        try:
            return await self._verified_login(key, number, draft, origin)
        except _PasswordMoved:
            # A concurrent sign-in made the hash stronger, or the password was changed: verify it again.
            return await self._verified_login(key, number, draft, origin)

    async def _count_login(self, login: str, address: str) -> None:
        await self._limiter.hit("login_address", address)
        network = site(address)
        if network is not None:
            await self._limiter.hit("login_site", network)
        await self._limiter.hit("login_account", self._issuer.keyed_login(f"{login} {address}"))

    async def _verified_login(
        self, key: str | None, number: int | None, draft: LoginDraft, origin: _Origin
    ) -> SignedInView:
        async with self._uow.read() as uow:
            found = await uow.users.find_credentials(username_key=key, number=number)
        known = found is not None and self._issuer.address_digest(found.id, origin.address).hex() in found.familiar
        if not known:
            # Shared by all unfamiliar addresses.
            await self._limiter.hit("login_strangers", self._issuer.keyed_login(key or str(number)))
        source = _source(origin.address)
        encoded = found.password_hash if found else None
        verdict = await self._hasher.verify(draft.password, encoded, source=source, known=known)
        if found is None or not verdict.ok:
            raise InvalidCredentials
        stronger = await self._hasher.hash(draft.password, source=source, known=True) if verdict.rehash else None
        return await self._login(found.id, draft, found.password_hash, stronger, origin)

    @retry_on_conflict
    async def _login(
        self, user_id: int, draft: LoginDraft, encoded: str, stronger: str | None, origin: _Origin
    ) -> SignedInView:
        async with self._uow() as uow:
            earlier = await find_response(uow, origin.scope, origin.once, SignedInView)
            if earlier is not None:
                return _with_tokens(earlier, self._issuer.pair(origin.scope, origin.once, earlier.device.id))
            if stronger is not None and await uow.users.replace_password(user_id, old=encoded, new=stronger):
                encoded = stronger
            view = await self._sign_in(uow, user_id, draft.device_name, encoded, origin)
            await keep_response(uow, origin.scope, origin.once, _without_tokens(view))
            return view

    async def _sign_in(
        self,
        uow: UnitOfWork,
        user_id: int,
        device_name: str | None,
        encoded: str,
        origin: _Origin,
    ) -> SignedInView:
        now, device_id = uow.now, new_id()
        pair = self._issuer.pair(origin.scope, origin.once, device_id)
        name = clean_device_name(device_name or "") or _UNNAMED_DEVICE
        row = await uow.devices.sign_in(
            user_id,
            device_id=device_id,
            name=name,
            password_hash=encoded,
            tokens=self._issuer.stored(pair, now),
            address_digest=self._issuer.address_digest(user_id, origin.address),
            at_most=self._max_devices,
        )
        if row is None:
            raise _PasswordMoved
        at = timestamp(now)
        device = DeviceView(id=device_id, name=name, created_at=at, last_activity=at, current=True)
        for evicted in row.evicted:
            uow.record(DeviceRemoved({"id": str(evicted)}), [user_id])
        uow.record(DeviceAdded({**msgspec.to_builtins(device), "current": False}), [user_id])
        return SignedInView(user=user_view(row.user), device=device, tokens=self._issuer.view(pair))

    # --- the password ---

    async def change_password(self, caller: Caller, old: str, new: str) -> None:
        """Set a new password and sign out every other device. Raises `InvalidCredentials`, `PasswordWeak`."""
        identity = await self._password.confirm(caller, old)
        ensure_strong(
            new,
            minimum=self._password_min_length,
            personal=[identity.username, identity.name],
            field="new_password",
        )
        encoded = await self._hasher.hash(new, source=str(identity.user_id), known=True)
        await self._change_password(caller, identity.password_hash or "", encoded)

    @retry_on_conflict
    async def _change_password(self, caller: Caller, old: str, new: str) -> None:
        async with self._uow() as uow:
            actor = await uow.devices.authenticate(caller)
            if not await uow.users.replace_password(actor.user_id, old=old, new=new):
                raise InvalidCredentials
            await remove_devices(uow, actor.user_id, keep=actor.device_id)

    async def erase(self, caller: Caller, password: str) -> None:
        """Erase the account. Messages that others have stay, without a name. Raises `InvalidCredentials`."""
        identity = await self._password.confirm(caller, password)
        avatar = await self._erase(caller, username_key(identity.username))
        if avatar is not None:
            await discard_image(self._uow, self._store, avatar)

    @retry_on_conflict
    async def _erase(self, caller: Caller, key: str) -> str | None:
        async with self._uow() as uow:
            # The lock on the peer prevents new contacts while the existing ones are removed.
            user_id = await uow.contacts.lock_pair(caller)
            avatar = await uow.avatars.set(user_id, None)
            # A fan-out removes the rest after the commit in batches, and also what concurrent requests of the account
            # still write.
            knew = await uow.users.erase(user_id, username_key=key, username_digest=self._usernames.of(key))
            uow.start_fan_outs()
            uow.record(ContactUpdated(user_id, {"state": "none"}), knew.owners)
            uow.close_stream(user_id)
            # The account's stream is closed; the wake-up closes its open sockets.
            uow.announce([WakeUp(user_id, 0, DeviceRemoved.name)])
            # The calling device is removed with the account, so there is nothing to stamp.
            uow.skip_stamp()
            return avatar.old_key


async def create_user(uow: UnitOfWork, usernames: UsernameDigests, *, username: str, name: str, encoded: str) -> int:
    """Create an account under an unused ID; a step of two use cases. Raises `UsernameTaken`."""
    user_id = await uow.users.create(
        candidates=candidate_numbers(),
        username=username,
        username_key=username_key(username),
        username_digest=usernames.of(username_key(username)),
        name=name,
        password_hash=encoded,
    )
    if user_id is None:
        raise ConcurrentUpdate("every candidate ID is in use")
    return user_id


def parse_login(login: str) -> tuple[str | None, int | None]:
    """A login as a username key, or as an ID; no username is a number."""
    login = login.strip()
    if login.isascii() and login.isdigit():
        return None, int(login) if len(login) <= 16 else 0
    return username_key(login), None


def _without_tokens(view: SignedInView) -> SignedInView:
    blank = msgspec.structs.replace(view.tokens, access_token="", refresh_token="")
    return msgspec.structs.replace(view, tokens=blank)


def _with_tokens(view: SignedInView, pair: TokenPair) -> SignedInView:
    tokens = msgspec.structs.replace(view.tokens, access_token=pair.access, refresh_token=pair.refresh)
    return msgspec.structs.replace(view, tokens=tokens)
