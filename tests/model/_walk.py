"""A run of random operations: two members, steps drawn from a seed, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from random import Random
from typing import Any

from tests.model._world import World
from tests.support.device import Device
from tests.support.population import Member, Population
from tests.support.proxy import Address

SIDE_BY_SIDE = 4
MOST_DEVICES = 5

Draw = Callable[["Walk", Random], Coroutine[Any, Any, None]]


class Walk(Population):
    """`rough`: the bus and the database fail too. `stay_contacts`: the two members never end their contact. `groups`:
    those that are known, and `tokens` of their links.
    """

    has_groups = True

    def __init__(self, world: World, seed: str, stack: AsyncExitStack) -> None:
        super().__init__(seed, stack)
        chance = Random(seed)
        self.world = world
        self.rough = self.signals_get_lost = chance.random() < 0.5
        self.stay_contacts = chance.random() < 0.3
        self.groups: list[int] = []
        self.tokens: dict[int, list[str]] = {}
        self._stepped = asyncio.Condition()
        self._steps = 0
        self._over = False
        self._lasting: set[asyncio.Task[None]] = set()

    def address(self, chance: Random) -> Address:
        return self.world.target(chance)

    def heal(self) -> None:
        self.world.heal()

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        rows: list[Any] = await self.world.database.fetch(sql, *values)
        return rows

    def expendable(self, member: Member) -> Device | None:
        """A device that may be signed out, so that at least one stays; from now on it may be gone."""
        staying = [device for device in member.signed_in if device not in self.leaving]
        if len(staying) < 2:
            return None
        self.leaving.add(staying[0])
        return staying[0]

    # --- steps ---

    async def go(self, steps: int, draw: Draw) -> None:
        """Run this many steps, a few at a time, and wait for all of them."""
        running: set[asyncio.Task[None]] = set()
        for number in range(steps):
            running.add(asyncio.create_task(draw(self, Random(f"{self.seed}/{number}"))))
            if len(running) >= SIDE_BY_SIDE:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.gather(*done)
            async with self._stepped:
                self._steps += 1
                self._stepped.notify_all()
        await asyncio.gather(*running)
        async with self._stepped:
            self._over = True
            self._stepped.notify_all()
        await asyncio.gather(*self._lasting)

    def last(self, fault: Coroutine[Any, Any, None]) -> None:
        """Let something continue while further steps are taken."""
        self._lasting.add(asyncio.create_task(fault))

    async def steps(self, count: int) -> None:
        """Wait until this many more steps were taken, or no more follow."""
        until = self._steps + count
        async with self._stepped:
            await self._stepped.wait_for(lambda: self._steps >= until or self._over)
