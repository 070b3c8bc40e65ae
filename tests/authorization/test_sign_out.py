"""Signing out closes sockets within a second and revokes tokens at once, on every worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from messenger.config import Settings
from messenger.container import Container
from messenger.testing import Factory, Person
from tests.authorization._people import Cast
from tests.support.sockets import Realtime

SECONDS = 1.0
NEW_PASSWORD = "harbour-violet-tundra-58"


class Device:
    """A device that is connected to both workers: a socket on one, a waiting request on the other."""

    def __init__(self, person: Person, workers: list[Realtime], ticket: str, socket: Any, waiting: Any) -> None:
        self.person = person
        self._workers = workers
        self._ticket = ticket
        self._socket = socket
        self._waiting = waiting

    async def ended(self) -> tuple[int, int]:
        """How its socket and the waiting request end, within a second."""
        async with asyncio.timeout(SECONDS):
            return (await self._socket.closed())[0], (await self._waiting).status_code

    async def answers(self, *refresh_tokens: str) -> set[int]:
        """The answers of each worker to each of the device's tokens."""
        found = {await _handshake(self._workers[0], query=f"?ticket={self._ticket}")}
        for worker in self._workers:
            async with httpx.AsyncClient(base_url=worker.http) as client:
                found.add((await client.get("/profile", headers=self.person.headers)).status_code)
                for token in (self.person.refresh_token, *refresh_tokens):
                    found.add((await client.post("/token/refresh", json={"refresh_token": token})).status_code)
            found.add(await _handshake(worker, headers=self.person.headers))
        return found

    async def works(self) -> bool:
        """Whether its socket still answers."""
        return bool((await self._socket.ask("ping"))["data"] is None)


async def _handshake(worker: Realtime, **options: Any) -> int:
    try:
        async with worker.wire(live=False, **options):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@asynccontextmanager
async def device(person: Person, workers: list[Realtime], *, home: int = 0) -> AsyncIterator[Device]:
    """A device with a socket on one worker and a waiting request on the other."""
    here, there = workers[home], workers[1 - home]
    async with httpx.AsyncClient(base_url=here.http) as client:
        ticket = (await client.post("/ws/ticket", headers=person.headers)).json()["ticket"]
    cursor = (await there.sync(person)).json()["cursor"]
    async with here.wire(person) as socket:
        waiting = asyncio.create_task(there.sync(person, cursor=cursor, wait=20))
        yield Device(person, workers, ticket, socket, waiting)
        waiting.cancel()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def operator(settings: Settings) -> AsyncIterator[Container]:
    """The container of the command line: it serves no requests, and publishes to the bus."""
    container = Container(msgspec.structs.replace(settings, bus_url="postgres:", pool_size=2))
    yield container
    await container.close()


class Deed(msgspec.Struct, frozen=True):
    """A way to sign out a device: itself, another device of the account, or the operator."""

    method: str
    path: str
    body: dict[str, Any] | None
    by_itself: bool


DEEDS = {
    "logout": Deed("POST", "/logout", None, by_itself=True),
    "another device signs it out": Deed("DELETE", "/devices/{device_id}", None, by_itself=False),
    "change of the password": Deed(
        "POST", "/password", {"old_password": "{password}", "new_password": NEW_PASSWORD}, by_itself=False
    ),
    "erasure by another device": Deed("DELETE", "/account", {"password": "{password}"}, by_itself=False),
    "erasure by itself": Deed("DELETE", "/account", {"password": "{password}"}, by_itself=True),
}


async def do(deed: Deed, worker: Realtime, doomed: Person, other: Person) -> None:
    body = {key: value.format(password=doomed.password) for key, value in deed.body.items()} if deed.body else None
    path = deed.path.format(device_id=doomed.actor.device_id)
    actor = doomed if deed.by_itself else other
    async with httpx.AsyncClient(base_url=worker.http) as client:
        answer = await client.request(deed.method, path, headers=actor.headers, json=body)
    assert answer.status_code == 204, answer.text


class TestSignOut:
    @pytest.mark.parametrize("home", [0, 1], ids=["socket there", "socket elsewhere"])
    @pytest.mark.parametrize("name", DEEDS)
    async def test_signed_out_device_is_refused_on_every_worker(
        self, workers: list[Realtime], make: Factory, name: str, home: int
    ) -> None:
        doomed = await make.person()
        other = await make.device(doomed)
        async with device(doomed, workers, home=home) as lost:
            await do(DEEDS[name], workers[0], doomed, other)
            assert await lost.ended() == (4401, 401)
            assert await lost.answers() == {401}

    @pytest.mark.parametrize("name", ["logout", "another device signs it out", "change of the password"])
    async def test_other_device_stays_signed_in(self, workers: list[Realtime], make: Factory, name: str) -> None:
        doomed = await make.person()
        other = await make.device(doomed)
        async with device(other, workers) as kept, device(doomed, workers) as lost:
            await do(DEEDS[name], workers[0], doomed, other)
            await lost.ended()
            assert await kept.works()

    @pytest.mark.parametrize("name", ["erasure by another device", "erasure by itself"])
    async def test_erasure_signs_out_every_device(self, workers: list[Realtime], make: Factory, name: str) -> None:
        doomed = await make.person()
        other = await make.device(doomed)
        async with device(other, workers, home=1) as second, device(doomed, workers) as first:
            await do(DEEDS[name], workers[0], doomed, other)
            assert [await first.ended(), await second.ended()] == [(4401, 401)] * 2
            assert await first.answers() | await second.answers() == {401}

    @pytest.mark.parametrize("deed", ["disabled", "given a new password"])
    async def test_operator_disabling_account_signs_out_devices(
        self, workers: list[Realtime], operator: Container, make: Factory, deed: str
    ) -> None:
        doomed = await make.person()
        other = await make.device(doomed)
        async with device(other, workers, home=1) as second, device(doomed, workers) as first:
            if deed == "disabled":
                await operator.services.administration.set_disabled(str(doomed.id), disabled=True)
            else:
                await operator.services.administration.set_password(str(doomed.id), NEW_PASSWORD)
            await operator.bus.flush()
            assert [await first.ended(), await second.ended()] == [(4401, 401)] * 2
            assert await first.answers() | await second.answers() == {401}


async def refresh(worker: Realtime, token: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=worker.http) as client:
        return await client.post("/token/refresh", json={"refresh_token": token})


async def renewed(person: Person, worker: Realtime) -> Person:
    """The device with its next pair of tokens."""
    tokens = (await refresh(worker, person.refresh_token)).json()["tokens"]
    return msgspec.structs.replace(person, access_token=tokens["access_token"], refresh_token=tokens["refresh_token"])


class TestRefreshFamily:
    async def test_every_worker_returns_same_successor_until_first_use(
        self, workers: list[Realtime], make: Factory
    ) -> None:
        ada = await make.person()
        answers = [(await refresh(worker, ada.refresh_token)).json()["tokens"] for worker in (*workers, *workers)]
        assert {(each["access_token"], each["refresh_token"]) for each in answers} == {
            (answers[0]["access_token"], answers[0]["refresh_token"])
        }

    async def test_late_reuse_revokes_token_family_on_every_worker(
        self, workers: list[Realtime], make: Factory, cast: Cast
    ) -> None:
        first = await make.person()
        second = await renewed(first, workers[0])
        await cast.fetch(
            "UPDATE refresh_tokens SET used_at = used_at - interval '61 seconds' WHERE device_id = $1",
            first.actor.device_id,
        )
        async with device(second, workers, home=1) as lost:
            answer = await refresh(workers[0], first.refresh_token)
            assert (answer.status_code, answer.json()["code"]) == (401, "refresh_token_reused")
            assert await lost.ended() == (4401, 401)
            assert await lost.answers(first.refresh_token) == {401}

    async def test_opening_socket_supersedes_older_refresh_token_on_every_worker(
        self, workers: list[Realtime], make: Factory
    ) -> None:
        first = await make.person()
        second = await renewed(first, workers[0])
        async with workers[1].wire(second):
            answers = [await refresh(worker, first.refresh_token) for worker in workers]
        assert {(each.status_code, each.json()["code"]) for each in answers} == {(401, "refresh_token_superseded")}
        assert (await workers[0].sync(second)).status_code == 200

    async def test_concurrent_refreshes_return_same_successor(self, workers: list[Realtime], make: Factory) -> None:
        ada = await make.person()
        answers = await asyncio.gather(*(refresh(worker, ada.refresh_token) for worker in workers * 4))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.text.partition("expires_in")[0] for answer in answers}) == 1
