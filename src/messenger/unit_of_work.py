"""The unit of work: the only owner of a connection and a session. No mapped object leaves it."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from messenger.actor import Actor, KnownTokens
from messenger.clock import Clock
from messenger.database.checkout import Checkout
from messenger.database.engine import translate
from messenger.database.pool import ConnectionPool
from messenger.database.runner import Instants, Observer, Runner
from messenger.errors import ConcurrentUpdate, DatabaseUnavailable, MessengerError, Overloaded
from messenger.events import Announcer, Event, WakeUp
from messenger.repositories import Repositories
from messenger.repositories.activity import write_stamps

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

Mode = Literal["transaction", "command", "read"]
"""`transaction`: BEGIN … COMMIT. `command`: one writing statement, which commits itself. `read`: no writes."""

_MAY_WRITE: dict[Mode, int | None] = {"transaction": None, "command": 1, "read": 0}
ATTEMPTS = 4


class NestedUnitOfWork(RuntimeError):
    """A unit of work was opened inside another; pass the open one to steps that use cases share."""


_current: ContextVar[UnitOfWork | None] = ContextVar("unit_of_work", default=None)


class UnitOfWork(Repositories):
    """One connection, one transaction, one set of repositories; made by the factory alone."""

    _checkout: Checkout

    def __init__(self, factory: UnitOfWorkFactory, mode: Mode) -> None:
        self._factory = factory
        self._mode: Mode = mode
        self._recorded: list[tuple[Event, tuple[int, ...]]] = []
        self._news: list[WakeUp] = []
        self._groups_read: tuple[int, ...] = ()
        self._rules: set[int] = set()
        self._required: dict[int, int] = {}
        self._closed: set[int] = set()
        self._fans_out = False
        self._session: AsyncSession | None = None

    # --- what a service uses ---

    @property
    def now(self) -> datetime:
        """The request's time, the same in each of its statements."""
        return self.statements.now

    @property
    def actor(self) -> Actor:
        """The caller, once a statement has authenticated it."""
        actor = self.statements.actor
        if actor is None:
            raise RuntimeError("no statement of this unit of work has returned its caller")
        return actor

    def skip_stamp(self) -> None:
        """Discard the due activity stamps: the request does not count as activity, or the device was removed."""
        self.statements.due_stamps.clear()

    def record(self, event: Event, audience: Iterable[int]) -> None:
        """Append the event to the streams of these users, with the commit. Only inside a transaction."""
        if self._mode != "transaction":
            raise RuntimeError("events are recorded in a transaction, or by a command's own statement")
        self._recorded.append((event, tuple(audience)))

    def announce(self, news: Iterable[WakeUp]) -> None:
        """Announce, after the commit, events that a statement has already appended."""
        self._news.extend(news)

    def announce_receipts(self, group_ids: Iterable[int]) -> None:
        """Announce, after the commit, that members of these groups have received or read more."""
        self._groups_read += tuple(group_ids)

    async def request_fan_out(self, event: Event) -> None:
        """Notify all contacts of the event's user in batches, starting right after the commit."""
        assert event.peer is not None
        await self.fan_outs.request(event.peer, event.name)
        self.start_fan_outs()

    def start_fan_outs(self) -> None:
        """Start the requested fan-outs right after the commit, instead of at the next poll."""
        self._fans_out = True

    def invalidate_rules(self, user_id: int) -> None:
        """Advance the version of this user's contact rules with the commit.

        A concurrent use case that `require_rules` an older version runs again.
        """
        self._rules.add(user_id)

    def require_rules(self, versions: Mapping[int, int]) -> None:
        """The versions of contact rules, by user, that authorized the events.

        If one of them has changed at the commit, the use case fails with `ConcurrentUpdate`.
        """
        self._required.update(versions)

    def close_stream(self, user_id: int) -> None:
        """Close this user's stream with the commit; nothing is appended to it afterwards."""
        self._closed.add(user_id)

    async def flush(self) -> None:
        """Send the mapped session's pending changes now. The caller gives the reason in a comment."""
        if self._session is not None:
            await self._session.flush()

    # --- what repositories use ---

    @property
    def session(self) -> AsyncSession:
        """A session over this unit's own connection and transaction, opened at the first use by a mapped repository."""
        if self._session is None:
            if self._mode != "transaction":
                raise RuntimeError("mapped repositories need a transaction")
            engine = self._factory.engine
            assert self._checkout.connection is not None
            connection = Connection(engine.sync_engine, connection=self._checkout.connection.fairy)
            self._session = AsyncSession(bind=AsyncConnection(engine, connection), expire_on_commit=False)
        return self._session

    # --- life cycle ---

    async def __aenter__(self) -> Self:
        outer = _current.get()
        if outer is not None and outer._checkout.connection is not None:
            raise NestedUnitOfWork("a unit of work is open already; pass it on instead of opening another")
        factory = self._factory
        pool = factory.pool
        connection = pool.acquire_nowait()
        if connection is None:
            try:
                connection = await pool.acquire()
            except Exception as error:
                raise _translated(error) from error
        self._checkout = Checkout(connection)
        writes = _MAY_WRITE[self._mode]
        self.statements = Runner(connection, factory.instants(), factory.observer, writes, factory.known)
        _current.set(self)
        if self._mode == "transaction":
            try:
                await self._checkout.begin()
            except BaseException as error:
                await self._abandon()
                raise _translated(error) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            await self._abandon(error)
            translated = _translated(error)
            if translated is not error:
                raise translated from error
            return
        # A single statement has committed itself, and most often no stamp is due.
        if self._mode == "transaction" or self.statements.due_stamps:
            try:
                await self._finish()
            except BaseException as failure:
                await self._abandon()
                raise _translated(failure) from failure
        self._checkout.release()
        _current.set(None)
        if self._fans_out:
            self._factory.fan_outs_requested.set()
        if self._news or self._groups_read:
            await self._send_wake_ups()

    async def _finish(self) -> None:
        in_transaction = self._mode == "transaction"
        # PostgreSQL answers COMMIT in a failed transaction with a silent ROLLBACK, and asyncpg ignores that.
        if in_transaction and self.statements.failed:
            raise RuntimeError("a statement failed in this transaction and was ignored; nothing can be committed")
        if self._session is not None:
            await self._session.commit()
        if self._recorded or self._rules or self._closed:
            self._news.extend(
                await self.events.append(
                    self._recorded, rules=sorted(self._rules), closed=sorted(self._closed), judged=self._required
                )
            )
        await self._stamp()
        if in_transaction:
            await self._checkout.commit()

    async def _stamp(self) -> None:
        statements = self.statements
        if statements.due_stamps:
            due, statements.due_stamps = statements.due_stamps, []
            await write_stamps(self._checkout.driver, due, statements.now)

    async def _abandon(self, error: BaseException | None = None) -> None:
        """Roll back and return the connection to the pool; `error`: the error of the use case, if there was one."""
        try:
            if isinstance(error, DatabaseUnavailable):
                # Do not wait for a rollback by a server that did not answer a statement.
                self._checkout.discard()
            else:
                close = None if self._session is None else self._session.close
                # A refused request counts as activity of its user, too.
                stamp = self._stamp if isinstance(error, MessengerError) else None
                await self._checkout.roll_back(before=close, after=stamp)
        finally:
            # A long-lived task, such as a socket's, must not keep its last unit of work.
            _current.set(None)

    async def _send_wake_ups(self) -> None:
        try:
            await self._factory.announcer.announce(self._news)
            if self._groups_read:
                self._factory.announcer.announce_receipts(set(self._groups_read))
        except Exception:
            logger.warning("a wake-up failed; readers continue by cursor", exc_info=True)


class UnitOfWorkFactory:
    """Opens units of work over one engine; one for each process."""

    def __init__(
        self, engine: AsyncEngine, clock: Clock, announcer: Announcer, observer: Observer, *, resolution: float = 30.0
    ) -> None:
        self.engine = engine
        self.announcer = announcer
        self.observer = observer
        self.known = KnownTokens()
        self.fan_outs_requested = asyncio.Event()
        self._clock = clock
        self._resolution = timedelta(seconds=resolution)

    def __call__(self) -> UnitOfWork:
        """A transaction."""
        return UnitOfWork(self, "transaction")

    def command(self) -> UnitOfWork:
        """Without BEGIN and COMMIT: at most one statement that writes, and commits itself."""
        return UnitOfWork(self, "command")

    def read(self) -> UnitOfWork:
        """Without BEGIN and COMMIT: no statement that writes except the activity stamp."""
        return UnitOfWork(self, "read")

    @property
    def pool(self) -> ConnectionPool:
        """The engine's pool; a new one after the engine was disposed."""
        pool = self.engine.sync_engine.pool
        assert isinstance(pool, ConnectionPool)
        return pool

    def instants(self) -> Instants:
        now = self._clock.now()
        return Instants(now, now - self._resolution)


def retry_on_conflict(use_case: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run a use case again after `ConcurrentUpdate`, at most `ATTEMPTS` times in all. Raises `Overloaded` then."""

    @functools.wraps(use_case)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, ATTEMPTS):
            try:
                return await use_case(*args, **kwargs)
            except ConcurrentUpdate:
                # A random delay, so that two use cases do not conflict again.
                await asyncio.sleep(random.uniform(0, 0.01 * attempt))  # noqa: S311
        try:
            return await use_case(*args, **kwargs)
        except ConcurrentUpdate as error:
            raise Overloaded from error

    return run


def _translated(error: BaseException) -> BaseException:
    return translate(error) or error
