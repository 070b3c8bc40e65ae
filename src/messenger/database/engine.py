"""Creates the engine, and translates database errors to errors of the domain."""

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
    """The settings that the engine uses; times are in seconds."""

    @property
    def pool_size(self) -> int: ...
    @property
    def pool_timeout(self) -> float: ...
    @property
    def statement_timeout(self) -> float: ...


CONSTRAINTS: dict[str, type[MessengerError]] = {
    "uq_users_username_key": UsernameTaken,
}
"""Constraint violations that are errors of the client, by constraint name."""

REPEATABLE = frozenset({"uq_messages_sender_id", "uq_conversations_low_id", "pk_idempotency_keys", "pk_secrets"})
"""Constraints whose violation is resolved by running the use case again: it then finds the row that exists."""

DIALECT = "postgresql+asyncpg://"
"""The URL of an engine whose connections a `Connector` opens."""

SILENCE = 2.0
"""Seconds after which a connection without a response to a statement is terminated.

Clients thus learn within three seconds that the database is unavailable. A slow statement is cancelled by PostgreSQL
(`statement_timeout`).
"""

_TRANSIENT = frozenset({"40001", "40P01"})
_BUSY = frozenset({"53300", "55P03", "57014"})
_READ_ONLY = "25006"
# Raised by asyncpg for an argument that it cannot encode; nothing is sent to the server.
_UNENCODABLE = "22000"
_UNTRANSLATABLE = frozenset({"22P05", "22021"})


_CONNECT_SECONDS = 2.0


def create_engine(url: str, options: PoolOptions) -> AsyncEngine:
    """An engine with a `ConnectionPool`. Released connections are not reset, since no transaction is left open."""
    settings = {
        "statement_timeout": str(round(options.statement_timeout * 1000)),
        # A wait for a lock times out, with an error, before the connection does.
        "lock_timeout": str(round(min(options.statement_timeout, SILENCE - 0.2) * 1000)),
        "idle_in_transaction_session_timeout": "30000",
        "jit": "off",
        # Planning these statements takes longer than running them; and tests check the generic plans.
        "plan_cache_mode": "force_generic_plan",
        # Hot data is in memory or on an SSD, where random reads cost little more than sequential ones.
        "random_page_cost": "1.1",
        "timezone": "UTC",
    }
    connector = Connector(
        url,
        timeout=_CONNECT_SECONDS,
        settings=settings,
        on_connect=check_epoch,
        # asyncpg would parse and plan statements of more than 15 KiB, such as the one that sends a batch, each time.
        max_cacheable_statement_size=0,
    )
    return create_async_engine(
        DIALECT,
        async_creator=connector.connect,
        poolclass=ConnectionPool,
        pool_size=options.pool_size,
        pool_timeout=options.pool_timeout,
        # Error messages must not contain users' data.
        hide_parameters=True,
        silence=SILENCE,
        pool_reset_on_return=None,
    )


def translate(error: BaseException) -> BaseException | None:
    """The domain error for a database error; None if it is a programming error, which is raised unchanged."""
    cause = _driver_error(error)
    if isinstance(cause, asyncpg.PostgresError):
        return _by_sqlstate(cause)
    if isinstance(cause, asyncpg.InterfaceError) and "expects" in str(cause):
        # A wrong number of arguments is a programming error; the database is available.
        return None
    if isinstance(cause, (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)):
        return DatabaseUnavailable()
    return None


def _driver_error(error: BaseException) -> BaseException:
    """The exception of asyncpg inside SQLAlchemy's two wrappers."""
    if isinstance(error, sa_exc.DBAPIError) and error.orig is not None:
        error = error.orig
    # Errors of connecting have the inner wrapper only.
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
    # 28 and 3D: the credentials are rejected, or the database does not exist; for a client it is unavailable.
    if state[:2] in {"08", "28", "3D", "53", "57"} or state == _READ_ONLY:
        return DatabaseUnavailable()
    return None
