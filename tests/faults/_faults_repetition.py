"""Repeated messages: five times at once, with a renewed token, past a worker that died."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import httpx

from messenger.testing.conversations import pair
from tests.faults._fault import fault
from tests.faults._faults_process import kill
from tests.faults._world import World
from tests.support.device import Device
from tests.support.population import Draft

TIMES = 5
ROUNDS = 3


@fault(
    "send_again",
    "G2",
    "each message sent 5 times at once, then again with a new token after its worker died: one row, one response",
)
async def send_again(world: World, chance: Random) -> None:
    async with httpx.AsyncClient(timeout=10.0) as http:
        senders = chance.sample(world.population.devices, 6)
        for _ in range(ROUNDS):
            sent = await asyncio.gather(*(send_at_once(world, http, device) for device in senders))
        world.healed()
        kill([chance.choice(world.workers())])
        for device, (draft, answers) in zip(senders, sent, strict=True):
            await device.client.refresh()
            again = await post(world, http, device, draft)
            views = {(each.json()["id"], each.json()["seq"], each.json()["created_at"]) for each in [*answers, *again]}
            world.expect(len(views) == 1, f"{draft.client_id} was answered as {sorted(views)}")
            other = await _post(world, http, device, draft, f"not {draft.body}")
            world.expect(other is None or other.status_code == 409, f"the id with another body: {other}")


async def send_at_once(world: World, http: httpx.AsyncClient, device: Device) -> tuple[Draft, list[httpx.Response]]:
    """Send a new message several times at the same moment; return the answers."""
    member = world.population.member(device)
    draft = world.population.draft(member, f"five of {len(world.population.drafts)}")
    return draft, await post(world, http, device, draft, times=TIMES)


async def post(
    world: World, http: httpx.AsyncClient, device: Device, draft: Draft, *, times: int = 1
) -> list[httpx.Response]:
    """Send it and record the outcome; return the successful answers."""
    recorder = world.population.recorder

    async def one() -> httpx.Response | None:
        recorder.invoke(draft.client_id, pair(draft.sender.id, draft.sender.partner.id))
        answer = await _post(world, http, device, draft, draft.body)
        if answer is None or not answer.is_success:
            recorder.unknown(draft.client_id)
            return None
        recorder.ok(draft.client_id, answer.json()["seq"])
        return answer

    answers: Sequence[httpx.Response | None] = await asyncio.gather(*(one() for _ in range(times)))
    return [answer for answer in answers if answer is not None]


async def _post(
    world: World, http: httpx.AsyncClient, device: Device, draft: Draft, text: str
) -> httpx.Response | None:
    """None: the connection broke."""
    token = await device.client.keeper.access()
    body = {"target_id": draft.sender.partner.id, "client_id": draft.client_id, "body": text}
    url = f"{world.servers[0].url}/messages"
    try:
        return await http.post(url, json=body, headers={"Authorization": f"Bearer {token}"})
    except httpx.HTTPError:
        return None
