"""Idempotency keys: a request that is repeated under the same key gets the response that it had."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from messenger.unit_of_work import UnitOfWork

T = TypeVar("T")


class IdempotencyKey(msgspec.Struct, frozen=True):
    """An `Idempotency-Key` as it was sent, and a hash of the request's body."""

    key: str
    fingerprint: bytes


async def find_response(uow: UnitOfWork, scope: object, once: IdempotencyKey | None, kind: type[T]) -> T | None:
    """The response that this request had before, or None: do the work. Raises `IdempotencyKeyReused`.

    `scope`: the account, or the address where no account is known yet.
    """
    if once is None:
        return None
    answer = await uow.idempotency.claim(str(scope), once.key, once.fingerprint)
    return None if answer is None else msgspec.json.decode(answer, type=kind)


async def keep_response(uow: UnitOfWork, scope: object, once: IdempotencyKey | None, answer: object) -> None:
    """Store the response in the transaction of the work itself."""
    if once is not None:
        await uow.idempotency.keep(str(scope), once.key, msgspec.json.encode(answer))
