"""The engine, and the one place where the database's errors become the domain's."""

from __future__ import annotations

from typing import Protocol

import asyncpg
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from messenger.database.connection import Connector
from messenger.database.pool import ConnectionPool
from messenger.database.stream_epoch import check_epoch
from messenger.errors import (
    ConcurrentUpdate,
    DatabaseUnavailable,
    MessengerError,
    Overloaded,
    StorageFull,
    UsernameTaken,
    ValidationFailed,
)


class PoolOptions(Protocol):
    """What the engine needs of the settings."""

    @property
    def pool_size(self) -> int: ...
    @property
    def pool_timeout(self) -> float: ...
    @property
    def statement_timeout(self) -> float: ...


CONSTRAINTS: dict[str, type[MessengerError]] = {
    "uq_users_username_key": UsernameTaken,
}
"""Violations that say something to the client, by the constraint's name."""

REPEATABLE = frozenset({"uq_messages_sender_id", "uq_conversations_low_id", "pk_idempotency_keys", "pk_secrets"})
"""Violations that a second run of the same use case turns into an answer: it finds the row that won."""

DIALECT = "postgresql+asyncpg://"
"""The URL of an engine whose connections are made by a `Connector`."""

SILENCE = 2.0
"""Seconds after which a statement without an answer is given up, and its connection with it.

So whoever asks is told within three that the database is away; the pool looks every quarter of a second. A statement
that is only slow is ended by the server itself (`statement_timeout`), which goes on with it until then.
"""

_TRANSIENT = frozenset({"40001", "40P01"})
_BUSY = frozenset({"53300", "55P03", "57014"})
_READ_ONLY = "25006"
# asyncpg's own, for an argument that it can't encode: the server is not even asked.
_UNENCODABLE = "22000"
_UNTRANSLATABLE = frozenset({"22P05", "22021"})


_CONNECT_SECONDS = 2.0


def create_engine(url: str, options: PoolOptions) -> AsyncEngine:
    """An engine over a `ConnectionPool`, which never resets: the unit of work leaves no transaction open."""
    settings = {
        "statement_timeout": str(round(options.statement_timeout * 1000)),
        # A wait for a lock times out, with an error, before the connection does.
        "lock_timeout": str(round(min(options.statement_timeout, SILENCE - 0.2) * 1000)),
        "idle_in_transaction_session_timeout": "30000",
        "jit": "off",
        # The plans that the tests check are those that run, and planning these statements costs more than running them.
        "plan_cache_mode": "force_generic_plan",
        # Hot data is in memory or on an SSD: random page reads cost no more.
        "random_page_cost": "1.1",
        "timezone": "UTC",
    }
    return create_async_engine(
        DIALECT,
        async_creator=Connector(url, timeout=_CONNECT_SECONDS, settings=settings, on_connect=check_epoch).connect,
        poolclass=ConnectionPool,
        pool_size=options.pool_size,
        pool_timeout=options.pool_timeout,
        # What a mapped object holds is nothing for an error's message.
        hide_parameters=True,
        silence=SILENCE,
        pool_reset_on_return=None,
    )


def translate(error: BaseException) -> BaseException | None:
    """The domain's error for a database's, or None where `error` is a fault of ours and goes on as it is."""
    cause = _driver_error(error)
    if isinstance(cause, asyncpg.PostgresError):
        return _by_sqlstate(cause)
    if isinstance(cause, asyncpg.InterfaceError) and "expects" in str(cause):
        # A wrong number of arguments is a statement of ours that is wrong, not a database that is away.
        return None
    if isinstance(cause, (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)):
        return DatabaseUnavailable()
    return None


def _driver_error(error: BaseException) -> BaseException:
    """asyncpg's own exception, out of SQLAlchemy's two wrappings."""
    if isinstance(error, sa_exc.DBAPIError) and error.orig is not None:
        error = error.orig
    # Of a connection that can't be made, the pool passes on the inner wrapping alone.
    if isinstance(error, AsyncAdapt_asyncpg_dbapi.Error):
        return error.__cause__ or error
    return error


def _by_sqlstate(error: asyncpg.PostgresError) -> BaseException | None:
    state: str = error.sqlstate or ""
    if state in _TRANSIENT:
        return ConcurrentUpdate(state)
    if state == "23505":
        constraint: str = error.constraint_name or ""
        if constraint in REPEATABLE:
            return ConcurrentUpdate(constraint)
        known = CONSTRAINTS.get(constraint)
        return known() if known else None
    if state in _BUSY:
        return Overloaded()
    if state == "53100":
        return StorageFull()
    if state == _UNENCODABLE:
        return ValidationFailed("A value is out of range")
    if state in _UNTRANSLATABLE:
        return ValidationFailed("A text contains a character that cannot be stored")
    # 28 and 3D: it refuses our password, or has lost our database; to a client that is the same as away.
    if state[:2] in {"08", "28", "3D", "53", "57"} or state == _READ_ONLY:
        return DatabaseUnavailable()
    return None
