"""A group with as many members as it may have: what a message costs, and that nobody else gets in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from messenger.container import Container
from messenger.errors.groups import GroupFull
from messenger.limits import MAX_MEMBERS
from messenger.schemas.admission import JoinDraft, LinkDraft
from messenger.schemas.groups import GroupView
from messenger.schemas.messages import ReceiptDraft
from messenger.schemas.users import SettingsPatch
from messenger.testing import Factory, Person
from tests.support.digest import digest
from tests.support.groups import create_group, invite, leave, send
from tests.support.tables import rows


async def admit(container: Container, owner: Person, group: GroupView, *people: Person) -> None:
    """Make these people members, in one transaction."""
    async with container.uow() as uow:
        locked = await uow.group_locks.lock(owner.actor, group.id)
        assert locked is not None
        for person in people:
            await uow.memberships.admit(locked, person.id, visible_from=0)
        await uow.group_locks.advance(locked, [])


async def count_events(container: Container, people: list[Person]) -> int:
    (row,) = await rows(
        container, "SELECT count(*) AS count FROM events WHERE user_id = ANY($1)", [each.id for each in people]
    )
    return int(row["count"])


async def test_message_received_and_read_by_all_members_writes_three_events_each(
    container: Container, make: Factory
) -> None:
    people = await make.people(MAX_MEMBERS)
    ada, *others = people
    group = await create_group(container, ada)
    await admit(container, ada, group, *others)
    before = await count_events(container, people)
    await send(container, ada, group)
    receipt = container.services.conversations.receipt
    for draft in (ReceiptDraft(target_id=group.id, delivered_seq=1), ReceiptDraft(target_id=group.id, read_seq=1)):
        await asyncio.gather(*(receipt(person.actor, draft) for person in others))
    # The message in each stream, and both receipts in that of each reader.
    assert await count_events(container, people) - before == 3 * MAX_MEMBERS - 2
    link = await container.services.group_links.create(ada.actor, group.id, LinkDraft())
    with pytest.raises(GroupFull):
        await container.services.group_links.join((await make.person()).actor, link.token, JoinDraft())


Way = Callable[[], Awaitable[Any]]


class Full(NamedTuple):
    """A full group of `MOST` members, and the ways into it of users who were invited, asked or had a link before."""

    group: GroupView
    owner: Person
    members: list[Person]
    ways: dict[str, Way]


MOST = 4


@pytest.fixture
async def full(container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch) -> Full:
    monkeypatch.setattr("messenger.services._groups.MAX_MEMBERS", MOST)
    monkeypatch.setattr("messenger.services._invitations.MAX_MEMBERS", MOST)
    ada, invited, asker, joiner, willing, *others = await make.people(4 + MOST)
    group = await create_group(container, ada)
    services = container.services
    for person in (invited, willing):
        await make.befriend(ada, person)
    await invite(container, ada, group, invited)
    await services.settings.update(willing.actor, SettingsPatch(auto_join="contacts"))
    link = await services.group_links.create(ada.actor, group.id, LinkDraft(max_uses=9))
    asking = await services.group_links.create(ada.actor, group.id, LinkDraft(approval=True))
    await services.group_links.join(asker.actor, asking.token, JoinDraft())
    await admit(container, ada, group, *others)
    ways: dict[str, Way] = {
        "invitation": lambda: services.invitations.accept(invited.actor, group.id),
        "link": lambda: services.group_links.join(joiner.actor, link.token, JoinDraft()),
        "request": lambda: services.group_links.answer(ada.actor, group.id, asker.id, accept=True),
        "auto_join": lambda: invite(container, ada, group, willing),
    }
    return Full(group, ada, others, ways)


class TestNextMember:
    @pytest.mark.parametrize("way", ["invitation", "link", "request"])
    async def test_refused_member_changes_no_row(self, container: Container, full: Full, way: str) -> None:
        """No version, number, count or stream, so that no device misses or repeats anything."""
        before = await digest(container)
        with pytest.raises(GroupFull):
            await full.ways[way]()
        assert await digest(container) == before

    async def test_refused_contact_with_auto_join_changes_no_row(self, container: Container, full: Full) -> None:
        before = await digest(container)
        assert await full.ways["auto_join"]() == ["group_full"]
        assert await digest(container) == before

    async def test_last_place_is_given_once(self, container: Container, full: Full) -> None:
        await leave(container, full.members[0], full.group)
        results = await asyncio.gather(*(way() for way in full.ways.values()), return_exceptions=True)
        refused = [each for each in results if isinstance(each, GroupFull) or each == ["group_full"]]
        assert (len(refused), len(results)) == (3, 4)
        assert (await container.services.groups.get(full.owner.actor, full.group.id)).member_count == MOST
