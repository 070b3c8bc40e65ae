"""Requests that a fault makes itself, beside the load: the answer, and the time it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from messenger.testing.conversations import pair
from tests.faults._world import World
from tests.support.device import Device

_PATIENCE = 20.0


class Answered(msgspec.Struct, frozen=True):
    """`status` 0: there was no answer."""

    what: str
    status: int
    retry_after: bool
    seconds: float
    said: str

    @property
    def refused_well(self) -> bool:
        """Refused with a `Retry-After`."""
        return self.status in {503, 507} and self.retry_after

    def __str__(self) -> str:
        return f"{self.what} was answered with {self.status} after {self.seconds:.2f} s: {self.said:.200}"


class Probe:
    """Requests of a device, past its proxy, to the server of this number."""

    def __init__(self, world: World, device: Device, number: int = 0) -> None:
        self.device = device
        self._world = world
        self._member = world.population.member(device)
        self._http = httpx.AsyncClient(base_url=world.servers[number].url, timeout=_PATIENCE)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def ask(self, method: str, path: str, **options: Any) -> Answered:
        """One request."""
        token = await self.device.client.keeper.access()
        began = time.monotonic()
        try:
            answer = await self._http.request(method, path, headers={"Authorization": f"Bearer {token}"}, **options)
        except httpx.HTTPError as error:
            return Answered(f"{method} {path}", 0, False, time.monotonic() - began, repr(error))
        seconds = time.monotonic() - began
        return Answered(f"{method} {path}", answer.status_code, "retry-after" in answer.headers, seconds, answer.text)

    async def read(self) -> list[Answered]:
        """What a reconnecting client requests, all at once."""
        paths = f"/history/{self._member.partner.id}", "/profile", "/contacts", "/conversations", "/sync?cursor=e0"
        return await asyncio.gather(*(self.ask("GET", path) for path in paths))

    async def send(self, body: str) -> Answered:
        """Send a message to the partner, recorded like all others."""
        population, target_id = self._world.population, self._member.partner.id
        draft = population.draft(self._member, body)
        population.recorder.invoke(draft.client_id, pair(self._member.id, target_id))
        sent = {"target_id": target_id, "client_id": draft.client_id, "body": body}
        answer = await self.ask("POST", "/messages", json=sent)
        if answer.status in {200, 201}:
            population.recorder.ok(draft.client_id, msgspec.json.decode(answer.said)["seq"])
        else:
            population.recorder.unknown(draft.client_id)
        return answer

    async def health(self) -> list[Answered]:
        """Both health checks."""
        return [await self.ask("GET", path) for path in ("/health/live", "/health/ready")]


@asynccontextmanager
async def probe(world: World, number: int = 0, *, device: int = 0) -> AsyncIterator[Probe]:
    """A probe that is closed with the block."""
    made = Probe(world, world.population.devices[device], number)
    try:
        yield made
    finally:
        await made.aclose()
