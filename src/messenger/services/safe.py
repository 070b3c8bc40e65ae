"""The safe: versions of an account's client-encrypted secret. The server cannot decrypt it and never logs it."""

from __future__ import annotations

import msgspec

from messenger.actor import Caller
from messenger.errors import SecretNotFound, VersionConflict
from messenger.repositories.secrets import SecretRow
from messenger.schemas.safe import ANY, NONE, Precondition, SecretView
from messenger.schemas.types import timestamp
from messenger.security.envelope import SecretEnvelope
from messenger.services.idempotency import IdempotencyKey, find_response, keep_response
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict


class SafeService:
    """Writes are conditional on the version (HTTP preconditions, RFC 9110 section 13)."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter) -> None:
        self._uow = uow
        self._limiter = limiter

    async def store(
        self,
        caller: Caller,
        envelope: SecretEnvelope,
        *,
        precondition: Precondition | None = None,
        once: IdempotencyKey | None = None,
    ) -> SecretView:
        """Store the next version; an equal envelope keeps the current one. Raises `VersionConflict`."""
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
        await self._limiter.hit("secret_write", actor.user_id)
        return await self._store(caller, envelope, precondition, once)

    @retry_on_conflict
    async def _store(
        self, caller: Caller, envelope: SecretEnvelope, precondition: Precondition | None, once: IdempotencyKey | None
    ) -> SecretView:
        text = msgspec.json.encode(envelope)
        async with self._uow() as uow:
            current = await uow.secrets.current(caller)
            user_id = uow.actor.user_id
            earlier = await find_response(uow, user_id, once, _Stored)
            if earlier is not None:
                return _view(SecretRow(earlier.version, text, uow.now), earlier.created_at)
            _ensure_meets(precondition, current)
            if current is None or current.envelope != text:
                current = SecretRow(current.version + 1 if current else 1, text, uow.now)
                await uow.secrets.append(uow.actor, version=current.version, envelope=text)
            await keep_response(uow, user_id, once, _Stored(current.version, timestamp(current.created_at)))
            return _view(current)

    async def get(self, caller: Caller) -> SecretView:
        """Return the newest version. Raises `SecretNotFound`, and `RateLimited` after ten reads in a day."""
        async with self._uow.read() as uow:
            row = await uow.secrets.current(caller)
            actor = uow.actor
        await self._limiter.hit("secret_read", actor.user_id)
        if row is None:
            raise SecretNotFound
        return _view(row)


class _Stored(msgspec.Struct, frozen=True):
    """The stored part of a response; a repeated request sends the envelope itself."""

    version: int
    created_at: str


def _ensure_meets(precondition: Precondition | None, current: SecretRow | None) -> None:
    if precondition is None:
        return
    version = None if current is None else current.version
    if precondition.expected == NONE:
        met = version is None
    elif precondition.expected == ANY:
        met = version is not None
    else:
        met = version in precondition.versions
    if not met:
        raise VersionConflict(extra={"current_version": version})


def _view(row: SecretRow, created_at: str | None = None) -> SecretView:
    envelope = msgspec.json.decode(row.envelope, type=SecretEnvelope)
    return SecretView(
        version=row.version,
        created_at=created_at or timestamp(row.created_at),
        algorithm=envelope.algorithm,
        kdf=envelope.kdf,
        nonce=envelope.nonce,
        ciphertext=envelope.ciphertext,
        mac=envelope.mac,
        key_id=envelope.key_id,
    )
