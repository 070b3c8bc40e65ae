"""Pages of members while others join and leave."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

from messenger.container import Container
from messenger.schemas.admission import JoinDraft, LinkDraft, LinkView
from messenger.schemas.groups import GroupView
from messenger.testing import Factory, Person
from tests.support.groups import create_group, leave

TURNS = 60


def place(after: str | None) -> tuple[int, int]:
    """The place in the list that a page's `next` names, as the controller reads it."""
    if after is None:
        return (-9, 0)
    rank, _, user_id = after.partition(".")
    return (-int(rank), int(user_id))


async def list_members(container: Container, reader: Person, group: GroupView, *, limit: int) -> list[int]:
    """All pages, one after the other."""
    found: list[int] = []
    after: str | None = None
    while True:
        page = await container.services.members.list_page(reader.actor, group.id, after=place(after), limit=limit)
        found += [each.user.id for each in page.items]
        after = page.next
        if after is None:
            return found


class Movement:
    """People who join and leave until `end`; `turns`: how often they have."""

    def __init__(self, container: Container, group: GroupView, link: LinkView) -> None:
        self._container, self._group, self._link = container, group, link
        self.turns = 0
        self.ended = False

    async def come_and_go(self, person: Person) -> None:
        while not self.ended:
            await self._container.services.group_links.join(person.actor, self._link.token, JoinDraft())
            await leave(self._container, person, self._group)
            self.turns += 1


async def test_steady_members_are_listed_once_during_joins_and_departures(container: Container, make: Factory) -> None:
    people = sorted(await make.people(24), key=lambda each: each.id)
    # Each of those who move is listed between two who stay.
    steady, restless = people[::2], people[1::4]
    ada = steady[0]
    group = await create_group(container, ada)
    link = await container.services.group_links.create(ada.actor, group.id, LinkDraft())
    for person in steady[1:]:
        await container.services.group_links.join(person.actor, link.token, JoinDraft())
    movement = Movement(container, group, link)
    moving = [asyncio.create_task(movement.come_and_go(each)) for each in restless]
    limits = itertools.cycle((1, 2, 3, 5, 7))
    try:
        while movement.turns < TURNS:
            listed = Counter(await list_members(container, ada, group, limit=next(limits)))
            assert {person.id: listed[person.id] for person in steady} == {person.id: 1 for person in steady}
            assert max(listed.values()) == 1
    finally:
        movement.ended = True
        await asyncio.gather(*moving)
