"""The response to a cancelled request never goes to another client (redis-py's CVE-2023-28858). `MESSENGER_PROOF=long`
cancels ten thousand requests in each way; `MESSENGER_PROOF_SEED` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, cast

import httpx
import msgspec
import pytest
import pytest_asyncio

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.testing import Factory, Person
from tests.attacks._cost import Victim, victim
from tests.attacks._marks import Marked, RequestReader, any_request
from tests.attacks._raw import dial
from tests.support.driver import Request

IS_LONG = os.environ.get("MESSENGER_PROOF") == "long"
CANCELLED = 10_000 if IS_LONG else 500
SECONDS = 1200 if IS_LONG else 60
PEOPLE, AT_ONCE = 20, 24
# Far fewer than the concurrent requests, so that many are cancelled while they wait for a connection.
POOL = 4


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("MESSENGER_PROOF_SEED") or secrets.randbits(32))
    print(f"MESSENGER_PROOF_SEED={seed}")  # noqa: T201
    return random.Random(seed)


def _befriended(crowd: list[Marked]) -> list[Marked]:
    for one, other in zip(crowd[::2], crowd[1::2], strict=True):
        one.friend, other.friend = other, one
    return crowd


def _marks() -> list[str]:
    first = secrets.randbelow(10**9) * 100
    return [f"mark{first + number}x" for number in range(PEOPLE)]


# --- the server's own tasks -----------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def narrow(settings: Settings) -> AsyncIterator[Container]:
    """Services over a pool that is too small for the load."""
    container = Container(msgspec.structs.replace(settings, pool_size=POOL, pool_timeout=30.0))
    yield container
    await container.close()


@pytest_asyncio.fixture(loop_scope="session")
async def crowd(narrow: Container) -> list[Marked]:
    make = Factory(narrow)
    people = [(mark, await make.person(mark, name=mark)) for mark in _marks()]
    for (_, one), (_, other) in zip(people[::2], people[1::2], strict=True):
        await make.befriend(one, other)
    return _befriended([Marked(mark, person.id, person.access_token) for mark, person in people])


class Restless:
    """Many concurrent requests, until enough of them were cancelled. `target`: the application."""

    def __init__(self, target: Any, crowd: list[Marked], chance: random.Random) -> None:
        self._target = target
        self._many_connections = crowd
        self._chance = chance
        self.cancelled = 0

    async def run(self) -> None:
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._ask_on())

    async def _ask_on(self) -> None:
        while self.cancelled < CANCELLED:
            await self._turn()

    async def _turn(self) -> None:
        raise NotImplementedError


class Storm(Restless):
    """Requests as tasks of the server, many of which are cancelled at a random point."""

    async def _turn(self) -> None:
        asked = any_request(self._many_connections, self._chance)
        request = _request(self._target, asked)
        task = asyncio.create_task(request.answered())
        if self._chance.random() < 0.7:
            await self._give_up(task)
        with suppress(asyncio.CancelledError):
            await task
        if task.cancelled():
            self.cancelled += 1
        else:
            _check(asked, request)

    async def _give_up(self, task: asyncio.Task[None]) -> None:
        """After some turns of the event loop, or some milliseconds: before, during or after the statements."""
        if self._chance.random() < 0.5:
            for _ in range(self._chance.randrange(40)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(self._chance.uniform(0, 0.03))
        task.cancel()


def _request(app: Any, asked: RequestReader) -> Request:
    return Request(app, asked.method, asked.path, cast(Person, asked.who), asked.body)


def _check(asked: RequestReader, request: Request) -> None:
    answer = b"".join(message.get("body", b"") for message in request.sent[1:])
    asked.check(request.sent[0]["status"], answer)


class TestCancelledTasks:
    @pytest.mark.timeout(SECONDS + 60)
    async def test_cancelled_tasks_mix_no_answers_and_leak_no_resources(
        self, narrow: Container, crowd: list[Marked], chance: random.Random
    ) -> None:
        app = create_app(narrow)
        pool = cast(Any, narrow.engine.pool)
        # Open all connections, so that their files are counted before and after.
        await asyncio.gather(*(_ask(app, any_request(crowd, chance)) for _ in range(AT_ONCE)))
        before = len(asyncio.all_tasks())
        storm = Storm(app, crowd, chance)
        await storm.run()
        async with asyncio.timeout(10):
            while pool.checkedout() or len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0.01)
        assert storm.cancelled >= CANCELLED
        assert sum(who.proved for who in crowd) > PEOPLE
        # Each connection still works, with no transaction left open.
        for asked in [any_request(crowd, chance) for _ in range(10 * POOL)]:
            await _ask(app, asked)
        async with narrow.uow.read() as uow:
            states = await uow._checkout.driver.fetch(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND state LIKE 'idle in transaction%' AND state_change < now() - interval '5 s'"
            )
        assert states == []


async def _ask(app: Any, asked: RequestReader) -> None:
    request = _request(app, asked)
    await request.answered()
    _check(asked, request)


class TestNegativeControl:
    """The marks detect redis-py's fault in a server that has it."""

    async def test_response_left_on_connection_is_detected(self, chance: random.Random) -> None:
        people = _befriended([Marked(mark, number, mark) for number, mark in enumerate(_marks())])
        marks = {f"Bearer {who.token}".encode(): who for who in people}
        left: deque[bytes] = deque()

        async def desynchronised(scope: Any, _: Any, send: Any) -> None:
            who = marks[dict(scope["headers"])[b"authorization"]]
            assert who.friend is not None
            left.append(f"{who.mark} {who.friend.mark}".encode())
            await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": left.popleft()})

        with pytest.raises(ExceptionGroup) as raised:
            await Storm(desynchronised, people, chance).run()
        assert raised.group_contains(AssertionError, match="was shown")


# --- clients that hang up -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Victim]:
    with victim(tmp_path_factory.mktemp("victim"), database_url, pool_size=POOL, pool_timeout=30) as server:
        yield server


@pytest.fixture(scope="module")
def callers(hosting: Victim) -> list[Marked]:
    """Users of that server, in pairs of contacts."""
    crowd = _befriended([Marked(mark, *hosting.join(mark)) for mark in _marks()])
    with httpx.Client(base_url=hosting.url, timeout=30) as client:
        for who in crowd:
            assert who.friend is not None
            body = {"target_id": who.friend.id}
            assert client.post("/subscribe", json=body, headers=who.headers).status_code == 200
    return crowd


class Callers(Restless):
    """Clients with keep-alive connections and pipelined requests, many of which disconnect early."""

    async def _turn(self) -> None:
        async with dial(self._target) as (reader, writer):
            while self._chance.random() < 0.4:
                await self._talk(reader, writer)
            self.cancelled += await self._hang_up(reader, writer)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Several pipelined requests, answered in order."""
        asked = self._some()
        writer.write(b"".join(map(_bytes, asked)))
        for each in asked:
            each.check(*await _answer(reader))

    async def _hang_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """Disconnect within a body, a request or a response; return the number of cancelled requests."""
        asked = self._some()
        said = b"".join(map(_bytes, asked))
        how = self._chance.random()
        if how < 0.25:
            said = said[: self._chance.randrange(1, len(said))]
        writer.write(said)
        await writer.drain()
        if how < 0.8:
            await asyncio.sleep(self._chance.uniform(0, 0.04))
        else:
            await reader.read(self._chance.randrange(1, 400))
        return len(asked)

    def _some(self) -> list[RequestReader]:
        return [any_request(self._many_connections, self._chance) for _ in range(self._chance.choice((1, 1, 1, 2, 5)))]


def _bytes(asked: RequestReader) -> bytes:
    body = b"" if asked.body is None else msgspec.json.encode(asked.body)
    kind = b"" if asked.body is None else b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    head = f"{asked.method} {asked.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {asked.who.token}\r\n"
    return head.encode() + kind + b"\r\n" + body


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


class TestDisconnectingClients:
    @pytest.mark.timeout(SECONDS + 60)
    async def test_disconnects_mix_no_answers_and_leak_no_resources(
        self, hosting: Victim, callers: list[Marked], chance: random.Random
    ) -> None:
        before = await asyncio.to_thread(hosting.state)
        calls = Callers(hosting, callers, chance)
        await calls.run()
        async with asyncio.timeout(15):
            while True:
                state = await asyncio.to_thread(hosting.state)
                if state["connections"] == state["requests"] == state["on_loan"] == 0:
                    break
                await asyncio.sleep(0.05)
        assert calls.cancelled >= CANCELLED
        assert sum(who.proved for who in callers) > PEOPLE
        # A client that disconnects is not an error, and leaves no log line.
        assert await asyncio.to_thread(hosting.log.read_text) == ""
        assert state["tasks"] <= before["tasks"]
        assert state["files"] <= before["files"] + POOL
