"""Users under load while faults happen: each device listens and sends, and each response is recorded with its time. Of
two devices of a user one sends over bare HTTP, an attempt at a time, so that responses are seen unchanged; the other
uses the Python client, over its socket while it has one. Half of the messages go to groups, whose members change.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any, Protocol

import httpx

from messenger.client import ApiError, ClientError
from tests.support.answers import NOT_A_MEMBER, Answer, is_refusal
from tests.support.device import Device
from tests.support.group_load import ORGANIZERS, GroupLoad, Organizer
from tests.support.population import Draft, Population
from tests.support.proxy import Address

PATIENCE = 5.0
"""Seconds for which a sender waits for a response."""
_PAUSE = 0.6
_AGAIN = 0.15
_GIVEN_UP = 0.1
_TO_GROUPS = 0.5


class Sender:
    """A device that writes to its partner repeatedly, each message until its outcome is known, or until it is given up:
    then the outcome stays unknown, and the message may exist.
    """

    def __init__(self, population: FaultPopulation, device: Device, *, bare: bool) -> None:
        self.device = device
        self.bare = bare
        self.good_since = 0.0
        """When the latest successful attempt began, by `time.monotonic`."""
        self.idle = asyncio.Event()
        self._population = population
        self._member = population.member(device)
        self._chance = Random(f"{population.seed}/{device.name}")
        self._http = httpx.AsyncClient(timeout=PATIENCE)

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            while True:
                self.idle.set()
                await self._population.going.wait()
                self.idle.clear()
                await self._settle(self._draft())
                await asyncio.sleep(self._chance.uniform(0, _PAUSE))
        finally:
            await self._http.aclose()

    def _draft(self) -> Draft:
        """To a group that the device believes its user to be in, or to the partner."""
        groups = list(self.device.state.groups)
        to_group = bool(groups) and self._chance.random() < _TO_GROUPS
        target_id = self._chance.choice(groups) if to_group else None
        return self._population.draft(self._member, f"{self._chance.getrandbits(64):x}", target_id=target_id)

    async def _settle(self, draft: Draft) -> None:
        """An app retries with the same `client_id`; its user may give up earlier."""
        attempt = self._attempt if self.bare else self._attempt_by_client
        while not await self._timed(attempt, draft):
            if self._chance.random() < _GIVEN_UP:
                return
            await asyncio.sleep(self._chance.uniform(0, _AGAIN))

    async def _timed(self, attempt: Callable[[Draft], Any], draft: Draft) -> bool:
        """One attempt; whether the outcome is known: sent, or refused because the user is no member any more."""
        began = time.monotonic()
        try:
            good: bool = await attempt(draft)
        except _NotAMember:
            return True
        if good:
            self.good_since = began
            self._population.note_good(began)
        return good

    async def _attempt(self, draft: Draft) -> bool:
        population = self._population
        body = {"target_id": draft.target_id, "client_id": draft.client_id, "body": draft.body}
        token = await self.device.client.keeper.access()
        population.recorder.invoke(draft.client_id, population.conversation(draft.sender.id, draft.target_id))
        began = time.monotonic()
        try:
            answer = await self._http.post(
                f"{self.device.proxy.url}/messages", json=body, headers={"Authorization": f"Bearer {token}"}
            )
        except httpx.HTTPError:
            population.recorder.unknown(draft.client_id)
            population.note(Answer(began, time.monotonic() - began, 0))
            return False
        seconds = time.monotonic() - began
        if answer.status_code == 401 and await self.device.client.keeper.access() != token:
            # The token was renewed meanwhile: sent again with the new one.
            population.recorder.fail(draft.client_id)
            return False
        refused = draft.is_for_group and is_refusal(answer, *NOT_A_MEMBER)
        noted = Answer(began, seconds, answer.status_code, "retry-after" in answer.headers, refused)
        population.note(noted, answer.text, of_group=draft.is_for_group)
        if refused:
            population.recorder.fail(draft.client_id)
            raise _NotAMember
        if not answer.is_success:
            # Only the server knows whether a refusal came before the commit.
            population.recorder.unknown(draft.client_id)
            return False
        population.recorder.ok(draft.client_id, answer.json()["seq"])
        return True

    async def _attempt_by_client(self, draft: Draft) -> bool:
        try:
            await self._population.send(self.device, draft, within=0.0)
        except ApiError as error:
            refused = draft.is_for_group and error.code in NOT_A_MEMBER
            self._population.note_refusal(error.status, str(error), valid=refused, of_group=draft.is_for_group)
            if refused:
                raise _NotAMember from None
            return False
        except ClientError:
            return False
        return True


class _NotAMember(Exception):
    """The sender is not in the group any more."""


class Place(Protocol):
    """Where the users are: the world of a fault, or other servers."""

    def address(self, chance: Random) -> Address: ...
    async def fetch(self, sql: str, *values: Any) -> list[Any]: ...
    def report(self, problem: str) -> None: ...


class FaultPopulation(Population):
    """`going`: set while messages are to be sent. `answers`: responses over bare HTTP in this cycle.

    `busy`: the machine does other work, too. What waits for a group behind other changes of it, each many round trips
    long, may then be refused as overloaded.
    """

    # Workers die, and the bus with them: signals are not stored, and get lost.
    signals_get_lost = True

    def __init__(
        self,
        world: Place,
        seed: str,
        stack: AsyncExitStack,
        answers: frozenset[int],
        *,
        has_groups: bool = True,
        busy: bool = False,
    ) -> None:
        super().__init__(seed, stack)
        self.world = world
        self.has_groups = has_groups
        self.load = GroupLoad(self, patience=PATIENCE)
        self.changes = self.load.recorder
        self.organizers: list[Organizer] = []
        self.going = asyncio.Event()
        self.senders: list[Sender] = []
        self.answers: list[Answer] = []
        self.statuses: Counter[int] = Counter()
        self.acknowledged = 0
        self._allowed = answers
        self._busy = busy
        self._goods: list[tuple[float, float]] = []
        self._moved = asyncio.Event()

    def address(self, chance: Random) -> Address:
        return self.world.address(chance)

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        return await self.world.fetch(sql, *values)

    async def gather(self, pairs: int) -> None:
        """Create all users and their senders."""
        for number in range(pairs):
            await self.meet((2, 2), Random(f"{self.seed}/{number}"))
        if self.has_groups:
            async with httpx.AsyncClient(timeout=PATIENCE) as http:
                await self.load.begin(http)
            self.organizers = [Organizer(self.load, number) for number in range(ORGANIZERS)]
        self.senders = [Sender(self, device, bare=number % 2 == 0) for number, device in enumerate(self.devices)]
        for each in self._actors:
            task = asyncio.create_task(each.run())
            task.add_done_callback(self._note_end)
            self._stack.push_async_callback(_end, task)

    @property
    def _actors(self) -> list[Sender | Organizer]:
        return [*self.senders, *self.organizers]

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.world.report(f"a sender or an organizer ended: {task.exception()!r}")

    # --- records ---

    def note(self, answer: Answer, said: str = "", *, of_group: bool = False) -> None:
        """Record a response, and check that its status is allowed."""
        self.answers.append(answer)
        self.note_refusal(answer.status, said, valid=answer.refused, of_group=of_group)
        if answer.status == 503 and not answer.retry_after:
            self.world.report(f"503 without Retry-After: {said:.200}")

    def note_refusal(self, status: int, said: str, *, valid: bool = False, of_group: bool = False) -> None:
        """Count a status; report one that is not allowed."""
        self.statuses[status] += 1
        valid = valid or (self._busy and of_group and "overloaded" in said)
        if status >= 300 and status not in self._allowed and not valid:
            self.world.report(f"a request was answered with {status}: {said:.300}")

    async def ask_for_group(
        self, device: Device, http: httpx.AsyncClient, method: str, path: str, body: Any
    ) -> httpx.Response | None:
        """One request about a group, noted like a message; None: nobody knows whether it was carried out."""
        token = await device.client.keeper.access()
        began = time.monotonic()
        try:
            answer = await http.request(
                method, device.proxy.url + path, json=body, headers={"Authorization": f"Bearer {token}"}
            )
        except httpx.HTTPError:
            self.note(Answer(began, time.monotonic() - began, 0))
            return None
        seconds = time.monotonic() - began
        if answer.status_code == 401 and await device.client.keeper.access() != token:
            return answer
        refused = is_refusal(answer)
        said = f"{method} {path}: {answer.text}"
        self.note(
            Answer(began, seconds, answer.status_code, "retry-after" in answer.headers, refused), said, of_group=True
        )
        return None if answer.is_server_error else answer

    def note_good(self, began: float) -> None:
        """A message was acknowledged."""
        self.acknowledged += 1
        self._goods.append((began, time.monotonic()))
        self._moved.set()

    # --- waiting ---

    async def more(self, count: int, *, seconds: float) -> None:
        """Wait until this many further messages were acknowledged."""
        until = self.acknowledged + count
        await self._until(lambda: self.acknowledged >= until, seconds)

    async def first_good(self, since: float, *, seconds: float) -> float:
        """Wait for a successful attempt that began since then; return when it ended."""
        await self._until(lambda: any(began >= since for began, _ in self._goods), seconds)
        return min(ended for began, ended in self._goods if began >= since)

    async def all_good(self, since: float, *, seconds: float) -> None:
        """Wait until each sender had one."""
        await self._until(lambda: all(sender.good_since >= since for sender in self.senders), seconds)

    async def rest(self, *, seconds: float) -> None:
        """Stop sending: attempts under way are finished first."""
        self.going.clear()
        async with asyncio.timeout(seconds):
            for each in self._actors:
                await each.idle.wait()

    def begin_cycle(self) -> None:
        """Forget the responses of the previous cycle."""
        self.answers.clear()
        self._goods.clear()
        self.going.set()

    async def _until(self, happened: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not happened():
                self._moved.clear()
                await self._moved.wait()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
