"""What a request costs in function calls and memory, independent of time. Budgets only go down.

`calls.json` says what one request may cost on a warm connection, from the application's `scope` to its last `send`:
`python`, calls of Python functions (a resumed coroutine counts again); `c`, calls of C functions; `peak`, the peak
memory in bytes. Calls are the same in every run and on every machine, with the locked versions and the Python that
the file names; with another Python the tests are skipped.

A test fails where more is used, and where much less is used: an improvement is recorded, so that it is not lost
unnoticed.

    MESSENGER_TEST_WRITE_BUDGETS=lower .venv/bin/pytest tests/budgets/test_calls.py

writes new and decreased budgets; `=all` also increased ones, for a reason that the commit message gives.
`MESSENGER_TEST_LIST_CALLS=FOLDER` writes the calls of each request in order: compare two lists to see what a change
calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from messenger.app import create_app
from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.database.engine import create_engine
from messenger.testing import Factory, Person
from tests.budgets._budgets import PYTHON, Budgets, complaint, settle
from tests.budgets._metering import Meter, Price, counted
from tests.support.driver import Request, Socket

pytestmark = pytest.mark.skipif(
    Budgets.read().python != PYTHON, reason=f"calls are counted with Python {Budgets.read().python}, not {PYTHON}"
)

CONTACTS, MESSAGES, EVENTS = 50, 50, 100

READS = {
    "GET /health/live": "/health/live",
    "GET /profile": "/profile",
    f"GET /contacts ({CONTACTS})": f"/contacts?limit={CONTACTS}",
    f"GET /statuses ({CONTACTS})": "/statuses",
    f"GET /history ({MESSAGES})": f"/history/{{friend}}?limit={MESSAGES}",
    f"GET /conversations ({CONTACTS})": f"/conversations?limit={CONTACTS}",
    f"GET /sync ({EVENTS})": f"/sync?cursor=e0&limit={EVENTS}",
}
# The fields in which pages have their rows.
ROWS = ("items", "events")


class World:
    """An application on one connection, a user with many contacts, messages and events, and two users who have
    exchanged messages.
    """

    def __init__(self, container: Container) -> None:
        self.container = container
        self.app: Any = create_app(container)
        self.factory = Factory(container)
        self.numbers = itertools.count(1)

    async def make(self) -> None:
        self.ada, self.friend = await self.factory.friends()
        for _ in range(MESSAGES):
            await self.factory.message(self.ada, self.friend)
        for _ in range(CONTACTS - 1):
            other = await self.factory.person()
            await self.factory.befriend(other, self.ada)
            await self.factory.message(other, self.ada)
        self.bob, self.eve = await self.factory.friends()
        await self.factory.message(self.bob, self.eve)

    def asked(self, path: str) -> Request:
        """A read by Ada."""
        return Request(self.app, "GET", path.format(friend=self.friend.id), self.ada)

    def draft(self) -> dict[str, object]:
        """A new message to Eve; all have the same length."""
        return {"target_id": self.eve.id, "client_id": f"{next(self.numbers):08}", "body": "Hello " * 10}

    async def sent(self) -> None:
        """A message over HTTP, sent by Bob."""
        await Request(self.app, "POST", "/messages", self.bob, self.draft()).answered()

    @contextlib.asynccontextmanager
    async def socket(self, person: Person) -> AsyncIterator[tuple[Socket, Meter]]:
        """A live socket, and the meter that counts its work."""
        cursor = (await self.container.services.sync.sync(person.actor, cursor=None, limit=1)).cursor
        socket, meter = Socket(self.app, person, cursor), Meter()
        with meter.children():
            life = asyncio.create_task(socket.converse())
            await socket.receive("caught_up")
        # The device has acknowledged earlier events, so that no acknowledgement is counted.
        await self.container.realtime.acks.finish()
        try:
            yield socket, meter
        finally:
            socket.leave()
            await life


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(settings: Settings) -> AsyncIterator[World]:
    """One connection, so that it is warm; no activity stamp is due, since the clock stands still."""
    settings = msgspec.structs.replace(settings, pool_size=1, activity_resolution=30.0)
    engine = create_engine(settings.database_url, settings)
    container = Container(settings, engine=engine, clock=FixedClock())
    # The batch that records who is online does not belong to one socket: it counts as written.
    board = container.realtime.presence
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(board, "connected", lambda socketed: board.on_registered(socketed))
        world = World(container)
        await world.make()
        yield world
    await container.close()
    await engine.dispose()


@pytest.mark.parametrize("what", READS)
async def test_read_stays_within_call_budget(what: str, world: World) -> None:
    answer = world.asked(READS[what])
    await answer.answered()
    assert answer.status == 200
    rows = [len(answer.body[name]) for name in ROWS if name in answer.body]
    assert rows == [int(number) for number in re.findall(r"\((\d+)\)", what)]
    problem = settle(what, await counted(lambda: world.asked(READS[what]).answered()))
    assert problem is None, problem


async def test_send_stays_within_call_budget(world: World) -> None:
    problem = settle("POST /messages", await counted(world.sent))
    assert problem is None, problem


async def test_send_to_connected_recipient_stays_within_call_budget(world: World) -> None:
    async with world.socket(world.eve) as (socket, _):

        async def received() -> None:
            # Eve's device has received the message and all are notified; this does not belong to the sender's price.
            assert (await socket.receive("event"))["event"] == "message.created"
            socket.connection.pong()
            await world.container.realtime.acks.finish()
            await socket.receive("event")

        problem = settle("POST /messages, to a socket", await counted(world.sent, between=received))
    assert problem is None, problem


async def test_send_over_socket_stays_within_call_budget(world: World) -> None:
    async with world.socket(world.bob) as (socket, meter):

        async def sent() -> None:
            socket.say({"type": "request", "id": 1, "method": "message.send", "data": world.draft()})
            assert "error" not in await socket.receive("reply")

        problem = settle("message.send", await counted(sent, meter=meter))
    assert problem is None, problem


class TestRegressions:
    """The meter detects what it is meant to detect."""

    async def test_needless_call_per_row_is_detected(self, world: World) -> None:
        path = READS[f"GET /conversations ({CONTACTS})"]
        honest = await counted(lambda: world.asked(path).answered())

        def needless(row: object) -> object:
            return row

        async def wasteful() -> None:
            await world.asked(path).answered()
            for row in range(CONTACTS):
                needless(row)

        problem = complaint(honest.price, (await counted(wasteful)).price)
        assert problem is not None
        assert "costs more" in problem

    async def test_needless_task_is_detected(self, world: World) -> None:
        honest = await counted(world.sent)

        async def wasteful() -> None:
            await asyncio.create_task(world.sent())

        problem = complaint(honest.price, (await counted(wasteful)).price)
        assert problem is not None
        assert "costs more" in problem

    async def test_calls_in_separate_task_are_counted(self, world: World) -> None:
        def alone() -> None: ...

        async def beside() -> None:
            for _ in range(100):
                alone()

        async def wasteful() -> None:
            await asyncio.create_task(beside())

        assert (await counted(wasteful)).price.python > 100

    @pytest.mark.parametrize(
        ("price", "word"),
        [
            (Price(1000, 1000, 100_000), None),
            (Price(1020, 1020, 105_000), None),
            (Price(1021, 1000, 100_000), "more"),
            (Price(1000, 1021, 100_000), "more"),
            (Price(1000, 1000, 106_000), "more"),
            (Price(900, 900, 80_000), None),
            (Price(899, 1000, 100_000), "cheaper"),
            (Price(1000, 1000, 79_000), "cheaper"),
            # An increase is reported before a decrease.
            (Price(500, 1021, 100_000), "more"),
        ],
    )
    def test_call_budgets_refuse_increase_and_stale_slack(self, price: Price, word: str | None) -> None:
        problem = complaint(Price(1000, 1000, 100_000), price)
        if word is None:
            assert problem is None
        else:
            assert problem is not None
            assert word in problem

    def test_new_operation_needs_call_budget(self) -> None:
        assert "no budget" in (complaint(None, Price(1, 1, 1)) or "")
