"""Idempotency keys: a repeated request with the same key gets the first response again."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from messenger.unit_of_work import UnitOfWork

T = TypeVar("T")


class IdempotencyKey(msgspec.Struct, frozen=True):
    """An `Idempotency-Key` as the client sent it, and a hash of the request's body."""

    key: str
    fingerprint: bytes


async def find_response(uow: UnitOfWork, scope: object, once: IdempotencyKey | None, kind: type[T]) -> T | None:
    """The earlier response to this request; None if there is none. Raises `IdempotencyKeyReused`.

    `scope`: the account, or the client's address if the account is not known yet.
    """
    if once is None:
        return None
    answer = await uow.idempotency.claim(str(scope), once.key, once.fingerprint)
    return None if answer is None else msgspec.json.decode(answer, type=kind)


async def keep_response(uow: UnitOfWork, scope: object, once: IdempotencyKey | None, answer: object) -> None:
    """Store the response in the transaction of the request's work."""
    if once is not None:
        await uow.idempotency.keep(str(scope), once.key, msgspec.json.encode(answer))
