"""Runs statements on one connection: passes their parameters, authenticates callers, measures, translates errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any, NoReturn, Protocol

from messenger.actor import Actor, Bearer, Caller, KnownTokens
from messenger.database.engine import translate
from messenger.database.pages import Page, Place, is_corrupt, read_around
from messenger.database.rows import Row
from messenger.database.statements import ACTOR_WIDTH, ACTORS_WIDTH, Statement
from messenger.errors import Unauthenticated


class Driver(Protocol):
    """The part of an asyncpg connection that is used."""

    async def fetchrow(self, query: str, *args: Any) -> Any: ...
    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...
    async def execute(self, query: str, *args: Any) -> str: ...


class Connection(Protocol):
    """The part of a pooled connection that is used; `since`: the start of its last statement, by `perf_counter`."""

    driver: Any
    since: float


class Observer(Protocol):
    """Receives the name of each statement, the seconds it took, and whether it failed."""

    def statement(self, name: str, seconds: float, failed: bool) -> None: ...


@dataclass(slots=True)
class Instants:
    """The time of the request, the same in all of its statements."""

    now: datetime
    stale_before: datetime


@dataclass(slots=True)
class Stamp:
    """An actor whose stamp is due, and the hash of the access token, if one was sent."""

    actor: Actor
    token_hash: bytes | None


class Runner:
    """Runs statements on one connection; `writes`: how many of them may write, None: any.

    `actor`: the actor, once a statement has returned it; `due_stamps`: the activity stamps to write.
    """

    __slots__ = (
        "_connection",
        "_driver",
        "_known",
        "_observer",
        "_stale_before",
        "_token_hash",
        "_writes",
        "_written",
        "actor",
        "due_stamps",
        "failed",
        "now",
    )

    def __init__(
        self,
        connection: Connection,
        instants: Instants,
        observer: Observer,
        writes: int | None,
        known: KnownTokens | None = None,
    ) -> None:
        self._connection = connection
        self._known = known
        self._token_hash: bytes | None = None
        self._driver: Driver = connection.driver
        self.now = instants.now
        self._stale_before = instants.stale_before
        self._observer = observer
        self._writes = writes
        self._written = 0
        self.actor: Actor | None = None
        self.due_stamps: list[Stamp] = []
        self.failed = False

    async def first(self, statement: Statement[Row], caller: Caller | None = None, /, **values: Any) -> Row | None:
        """The first row, or None. Raises `Unauthenticated` if the statement authenticates its caller and fails."""
        record = await self._run(self._driver.fetchrow, statement, caller, values)
        if not statement.authenticates:
            return None if record is None else statement.build_one(record)
        if record is None:
            raise Unauthenticated
        self._seen(record)
        return None if record[ACTOR_WIDTH] is None else statement.build_one(record)

    async def all(self, statement: Statement[Row], caller: Caller | None = None, /, **values: Any) -> list[Row]:
        """All rows. Raises as `first` does."""
        records = await self._run(self._driver.fetch, statement, caller, values)
        if not statement.authenticates:
            return statement.build(records)
        if not records:
            raise Unauthenticated
        self._seen(records[0])
        # An authenticated caller has a row even if there are no results.
        if len(records) == 1 and records[0][ACTOR_WIDTH] is None:
            return []
        return statement.build(records)

    async def page(self, page: Page[Row, Place], caller: Caller, /, **values: Any) -> Sequence[Row | Place]:
        """The rows of a page; a row that cannot be read is represented by its place. Raises as `first` does."""
        try:
            return await self.all(page.rows, caller, **values)
        except Exception as error:
            if not is_corrupt(error):
                raise

        async def read(part: Sequence[Place]) -> list[Row]:
            keys = {page.key(place) for place in part}
            rows = await self.all(page.rows, caller, **{**values, **page.part(part)})
            # Other rows may have moved into this part of the page since its places were read.
            return [row for row in rows if page.key(row) in keys]

        places = await self.all(page.places, caller, **values)
        # A single place without a key stands for a page without rows.
        return places if places and page.key(places[0]) is None else await read_around(places, read)

    async def execute(self, statement: Statement[Any], /, **values: Any) -> int:
        """Run a statement without results; returns the number of rows that it affected."""
        tag: str = await self._run(self._driver.execute, statement, None, values)
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def batch(self, statement: Statement[Row], callers: Sequence[Caller], /, **columns: Any) -> list[Row | None]:
        """A row for each of these callers, who are all of one kind; None for an unauthenticated one."""
        records = await self._run(self._driver.fetch, statement, callers[0], {**columns, **_columns_of(callers)})
        rows: list[Row | None] = [None] * len(callers)
        for record, row in zip(records, statement.build(records), strict=True):
            place = record[ACTORS_WIDTH - 1] - 1
            rows[place] = row
            if record[2]:
                caller = callers[place]
                token_hash = caller.token_hash if isinstance(caller, Bearer) else None
                self.due_stamps.append(Stamp(Actor(record[0], record[1]), token_hash))
        return rows

    def _seen(self, record: Any) -> None:
        user_id, device_id, stale = record[:ACTOR_WIDTH]
        if device_id is None:
            return
        self.actor = Actor(user_id, device_id)
        if stale and not self.due_stamps:
            self.due_stamps.append(Stamp(self.actor, self._token_hash))
        token_hash, known = self._token_hash, self._known
        if token_hash is not None and known is not None and token_hash not in known.devices:
            known.learn(token_hash, device_id)

    async def _run(
        self,
        send: Callable[..., Awaitable[Any]],
        statement: Statement[Any],
        caller: Caller | None,
        given: dict[str, Any],
    ) -> Any:
        if statement.writes and self._writes is not None:
            self._count_write(statement)
        compiled = statement.compiled_for(caller)
        given.setdefault("now", self.now)
        given.setdefault("stale_before", self._stale_before)
        if isinstance(caller, Bearer):
            given["token_hash"] = self._token_hash = caller.token_hash
        elif caller is not None:
            given["user_id"], given["device_id"] = caller.user_id, caller.device_id
        self._connection.since = started = perf_counter()
        failed = True
        try:
            result = await send(compiled.sql, *[given[name] for name in compiled.parameters])
            failed = False
            return result
        except Exception as error:
            _raise_translated(error)
        finally:
            self.failed = self.failed or failed
            self._observer.statement(statement.name, perf_counter() - started, failed)

    def _count_write(self, statement: Statement[Any]) -> None:
        self._written += 1
        if self._writes == 0:
            raise RuntimeError(f"{statement.name} writes, and this unit of work is read-only")
        if self._written > 1:
            raise RuntimeError(f"{statement.name} is a second write in a command; use a transaction")


def _columns_of(callers: Sequence[Caller]) -> dict[str, list[Any]]:
    bearers = [caller for caller in callers if isinstance(caller, Bearer)]
    if bearers:
        return {"token_hashes": [caller.token_hash for caller in bearers]}
    actors = [caller for caller in callers if isinstance(caller, Actor)]
    return {"user_ids": [actor.user_id for actor in actors], "device_ids": [actor.device_id for actor in actors]}


def _raise_translated(error: Exception) -> NoReturn:
    translated = translate(error)
    if translated is None:
        # The error will be logged, and PostgreSQL's DETAIL quotes the row, which may contain a user's text.
        if getattr(error, "detail", None):
            error.detail = None  # type: ignore[attr-defined]
        raise error
    raise translated from error
