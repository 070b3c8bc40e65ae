"""Two at once in a group: what is answered was true at its place in the order, and the members stay consistent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from messenger.client import State
from messenger.client.codec import EventFrame, event_of
from messenger.config import Settings
from messenger.container import Container
from messenger.errors import Conflict, Forbidden, MessageNotFound, NotFound, NotTheSender, PeerNotFound
from messenger.errors.groups import LinkNotFound, Muted, NotPermitted, RankTooLow, SlowMode
from messenger.schemas.admission import BanDraft, JoinDraft, LinkDraft, LinkView
from messenger.schemas.groups import GroupView, LeaveDraft, MemberPatch, RankName, TransferDraft
from messenger.schemas.messages import MessageDraft, MessagePatch, MessageView
from messenger.schemas.moments import moment
from messenger.testing import Factory, Person
from tests.support.groups import change_permissions, change_settings, create_group
from tests.support.tables import held, rows, waiting

LOCK = "SELECT FROM conversations WHERE peer_id = $1 FOR NO KEY UPDATE"
REFUSED = [("ban", PeerNotFound), ("mute", Muted), ("forbid", NotPermitted), ("slow", SlowMode)]
RANKS = ("member", "moderator", "admin", "owner")


async def make_link(container: Container, owner: Person, group: GroupView, **fields: Any) -> LinkView:
    return await container.services.group_links.create(owner.actor, group.id, LinkDraft(**fields))


async def join(container: Container, link: LinkView, *people: Person) -> None:
    for person in people:
        await container.services.group_links.join(person.actor, link.token, JoinDraft())


async def set_rank(container: Container, actor: Person, group: GroupView, member: Person, rank: RankName) -> None:
    await container.services.members.update(actor.actor, group.id, member.id, MemberPatch(role=rank))


async def send(container: Container, sender: Person, group: GroupView, body: str = "Hello") -> MessageView:
    draft = MessageDraft(target_id=group.id, client_id=str(uuid4()), body=body)
    return (await container.services.messages.send(sender.actor, draft))[0]


async def members(container: Container, group: GroupView) -> dict[int, str]:
    """The members with their ranks, from the table."""
    found = await rows(
        container,
        "SELECT m.user_id, m.rank FROM members AS m JOIN conversations AS c ON c.id = m.conversation_id"
        " WHERE c.peer_id = $1",
        group.id,
    )
    return {row["user_id"]: RANKS[row["rank"]] for row in found}


async def notices(container: Container, group: GroupView) -> list[dict[str, Any]]:
    """All notices of the group, in order."""
    return await rows(
        container,
        "SELECT action, actor_id, user_id, after_seq, before::text, after::text FROM group_notices"
        " WHERE group_id = $1 ORDER BY after_seq, id",
        group.id,
    )


async def apply(container: Container, change: str, actor: Person, group: GroupView, member: Person) -> None:
    """Keep a member from sending, in one of several ways."""
    services = container.services
    if change == "ban":
        await services.bans.ban(actor.actor, group.id, member.id, BanDraft())
    elif change == "mute":
        patch = MemberPatch(muted_until=moment(container.clock.now() + timedelta(days=1)))
        await services.members.update(actor.actor, group.id, member.id, patch)
    elif change == "forbid":
        await change_permissions(container, actor, group, post="moderator")
    else:
        await change_settings(container, actor, group, slow_mode=600)


def unexpected(results: list[Any], *expected: type[Exception]) -> list[Any]:
    """The errors of other types."""
    return [each for each in results if isinstance(each, BaseException) and not isinstance(each, expected)]


class TestMessageBesideBan:
    async def test_no_message_follows_the_notice_of_a_ban(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, await make_link(container, ada, group), bob)
        begun = asyncio.Event()

        async def write(number: int) -> MessageView:
            if number == 60:
                begun.set()
            return await send(container, bob, group)

        async def ban() -> None:
            await begun.wait()
            await container.services.bans.ban(ada.actor, group.id, bob.id, BanDraft())

        banning = asyncio.create_task(ban())
        results: list[MessageView | BaseException] = []
        for wave in range(6):
            results += await asyncio.gather(*(write(50 * wave + n) for n in range(50)), return_exceptions=True)
        await banning
        assert unexpected(results, PeerNotFound) == []
        sent = [each.seq for each in results if isinstance(each, MessageView)]
        (banned,) = [each for each in await notices(container, group) if each["action"] == "banned"]
        assert 0 < len(sent) < 300
        assert max(sent) == banned["after_seq"]
        (stored,) = await rows(
            container,
            "SELECT c.last_seq FROM conversations AS c WHERE c.peer_id = $1",
            group.id,
        )
        assert stored["last_seq"] == len(sent)

    @pytest.mark.parametrize(("change", "refusal"), REFUSED)
    async def test_message_waiting_behind_change_is_refused(
        self, container: Container, make: Factory, change: str, refusal: type[Exception]
    ) -> None:
        """The sending statement has checked the message before the change commits, and waits for its lock."""
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, await make_link(container, ada, group), bob)
        await send(container, bob, group)
        async with held(container, LOCK, group.id):
            changing = asyncio.create_task(apply(container, change, ada, group, bob))
            await waiting(container, 1)
            sending = asyncio.create_task(send(container, bob, group))
            await waiting(container, 2)
        await changing
        with pytest.raises(refusal):
            await sending

    @pytest.mark.parametrize(("change", "refusal"), [("ban", MessageNotFound), ("mute", Muted)])
    async def test_edit_waiting_behind_change_is_refused(
        self, container: Container, make: Factory, change: str, refusal: type[Exception]
    ) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, await make_link(container, ada, group), bob)
        message = await send(container, bob, group)
        async with held(container, LOCK, group.id):
            changing = asyncio.create_task(apply(container, change, ada, group, bob))
            await waiting(container, 1)
            patch = MessagePatch(body="Later")
            editing = asyncio.create_task(container.services.messages.edit(bob.actor, message.id, patch))
            await waiting(container, 2)
        await changing
        with pytest.raises(refusal):
            await editing
        assert (await container.services.messages.get(ada.actor, message.id)).body == "Hello"

    async def test_deletion_waiting_behind_demotion_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, await make_link(container, ada, group), bob, eve)
        await set_rank(container, ada, group, bob, "moderator")
        message = await send(container, eve, group)
        async with held(container, LOCK, group.id):
            demoting = asyncio.create_task(set_rank(container, ada, group, bob, "member"))
            await waiting(container, 1)
            deleting = asyncio.create_task(container.services.messages.delete(bob.actor, message.id, who="everyone"))
            await waiting(container, 2)
        await demoting
        with pytest.raises(NotTheSender):
            await deleting


class TestJoining:
    async def test_link_of_ten_uses_admits_exactly_ten(self, container: Container, make: Factory) -> None:
        ada, *people = await make.people(201)
        group = await create_group(container, ada)
        link = await make_link(container, ada, group, max_uses=10)
        results: list[Any] = await asyncio.gather(
            *(container.services.group_links.join(person.actor, link.token, JoinDraft()) for person in people),
            return_exceptions=True,
        )
        assert unexpected(results, LinkNotFound) == []
        assert sum(not isinstance(each, BaseException) for each in results) == 10
        assert len(await members(container, group)) == 11
        (shown,) = (await container.services.group_links.list_links(ada.actor, group.id)).items
        assert shown.uses == 10

    async def test_user_is_no_member_after_join_beside_ban(self, container: Container, make: Factory) -> None:
        ada, *people = await make.people(41)
        group = await create_group(container, ada)
        link = await make_link(container, ada, group)

        async def both(person: Person) -> None:
            steps = [
                container.services.group_links.join(person.actor, link.token, JoinDraft()),
                container.services.bans.ban(ada.actor, group.id, person.id, BanDraft()),
                container.services.group_links.join(person.actor, link.token, JoinDraft()),
            ]
            results: list[Any] = await asyncio.gather(*steps, return_exceptions=True)
            assert unexpected(results, LinkNotFound) == []

        for first in range(0, len(people), 4):
            await asyncio.gather(*(both(person) for person in people[first : first + 4]))
        assert await members(container, group) == {ada.id: "owner"}
        assert (await container.services.groups.get(ada.actor, group.id)).member_count == 1

    async def test_joins_change_no_number_and_no_badge(self, container: Container, make: Factory) -> None:
        ada, *people = await make.people(51)
        group = await create_group(container, ada)
        await join(container, await make_link(container, ada, group), *people)
        (listed,) = (await container.services.conversations.list_page(ada.actor, cursor=None, limit=10)).items
        assert (listed.last_seq, listed.unread) == (0, 0)


class TestRanks:
    async def test_demoted_admin_cannot_demote_moderator(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, await make_link(container, ada, group), bob, eve)
        outcomes = set()
        for round_ in range(40):
            await set_rank(container, ada, group, bob, "admin")
            await set_rank(container, ada, group, eve, "moderator")
            steps = [
                set_rank(container, ada, group, bob, "member"),
                set_rank(container, bob, group, eve, "member"),
            ]
            first, second = await asyncio.gather(*(steps if round_ % 2 else steps[::-1]), return_exceptions=True)
            demoting, demoted = (first, second) if round_ % 2 else (second, first)
            assert demoting is None
            assert demoted is None or isinstance(demoted, RankTooLow)
            ranks = await members(container, group)
            assert ranks[bob.id] == "member"
            assert ranks[eve.id] == ("member" if demoted is None else "moderator")
            by_bob = [each for each in await notices(container, group) if each["action"] == "role"][-2:]
            if demoted is None:
                assert [each["user_id"] for each in by_bob] == [eve.id, bob.id]
            outcomes.add(type(demoted))
        assert outcomes == {type(None), RankTooLow}


def replay(found: list[dict[str, Any]], owner_id: int) -> dict[int, str]:
    """The members and their ranks as the notices report them."""
    standing: dict[int, str] = {}
    for each in found:
        user, action = each["user_id"], each["action"]
        if action == "created":
            standing[owner_id] = "owner"
        elif action in {"joined", "joined_by_link"}:
            assert user not in standing, "joined twice"
            standing[user] = "member"
        elif action in {"left", "removed"}:
            del standing[user]
        elif action == "banned":
            standing.pop(user, None)
        elif action == "owner":
            former = json.loads(each["before"])
            if former in standing:
                standing[former] = "admin"
            standing[user] = "owner"
        elif action == "role" and json.loads(each["after"] or "null") in RANKS:
            assert standing[user] == json.loads(each["before"])
            standing[user] = json.loads(each["after"])
    return standing


class Crowd:
    """Random use cases of random users of one group, each on one of several workers."""

    def __init__(
        self, workers: list[Container], group: GroupView, link: LinkView, people: list[Person], seed: int
    ) -> None:
        self.workers, self.group, self.link, self.people = workers, group, link, people
        self.random = random.Random(seed)

    async def step(self) -> None:
        one, other = self.random.sample(self.people, 2)
        kind = self.random.choice(
            ["join", "join", "join", "leave", "leave", "follow", "transfer", "remove", "ban", "unban", "rank", "rank"]
        )
        rank: RankName = self.random.choice(["member", "moderator", "admin"])
        services, group_id = self.random.choice(self.workers).services, self.group.id
        steps: dict[str, Any] = {
            "join": lambda: services.group_links.join(one.actor, self.link.token, JoinDraft()),
            "leave": lambda: services.ownership.leave(one.actor, group_id, LeaveDraft()),
            "follow": lambda: services.ownership.leave(one.actor, group_id, LeaveDraft(successor_id=other.id)),
            "transfer": lambda: services.ownership.transfer(
                one.actor, group_id, TransferDraft(user_id=other.id, password=one.password)
            ),
            "remove": lambda: services.members.remove(one.actor, group_id, other.id),
            "ban": lambda: services.bans.ban(one.actor, group_id, other.id, BanDraft()),
            "unban": lambda: services.bans.unban(one.actor, group_id, other.id),
            "rank": lambda: services.members.update(one.actor, group_id, other.id, MemberPatch(role=rank)),
        }
        # Refusals are part of the sequence.
        with contextlib.suppress(NotFound, Forbidden, Conflict):
            await steps[kind]()


async def assert_consistent(container: Container, group: GroupView, owner: Person) -> None:
    table = await members(container, group)
    assert list(table.values()).count("owner") == (1 if table else 0)
    (row,) = await rows(container, "SELECT member_count, deleted_at FROM groups WHERE id = $1", group.id)
    assert row["member_count"] == len(table)
    assert (row["deleted_at"] is None) == bool(table)
    if table:
        assert replay(await notices(container, group), owner.id) == table


async def assert_devices_agree(container: Container, group: GroupView, people: list[Person]) -> None:
    """Each member's device, which has replayed the stream, has the members and the count of the table."""
    table = await members(container, group)
    for person in (each for each in people if each.id in table):
        state = State(person.id)
        page = await container.services.sync.sync(person.actor, cursor="e0", limit=1000)
        assert not page.more
        for frame in page.events:
            assert state.apply(event_of(msgspec.json.decode(msgspec.json.encode(frame), type=EventFrame)))
        assert state.groups[group.id].member_count == len(table)
        assert {each.id for each in people} & set(state.members[group.id]) <= set(table)


@pytest_asyncio.fixture(loop_scope="session")
async def workers(settings: Settings, container: Container) -> AsyncIterator[list[Container]]:
    """Three workers on one database: two more, with connections of their own."""
    settings = msgspec.structs.replace(settings, pool_size=4)
    others = [Container(settings, clock=container.clock) for _ in range(2)]
    yield [container, *others]
    for each in others:
        await each.close()


class TestMembership:
    @pytest.mark.parametrize("seed", range(2))
    async def test_random_changes_on_three_workers_keep_owner_and_count(
        self, container: Container, workers: list[Container], make: Factory, seed: int
    ) -> None:
        people = await make.people(8)
        ada = people[0]
        group = await create_group(container, ada)
        link = await make_link(container, ada, group)
        crowd = Crowd(workers, group, link, people, seed)
        await join(container, link, *people[1:])
        await set_rank(container, ada, group, people[1], "admin")
        for _ in range(40):
            await asyncio.gather(*(crowd.step() for _ in range(4)))
            await assert_consistent(container, group, ada)
            table = await members(container, group)
            if not table:
                break
            if not await rows(container, "SELECT FROM group_links WHERE group_id = $1", group.id):
                owner = next(each for each in people if table.get(each.id) == "owner")
                crowd.link = await make_link(container, owner, group)
        await assert_devices_agree(container, group, people)
        for person in people:
            await container.services.accounts.erase(person.actor, person.password)
            await container.services.fan_out.drain()
            await assert_consistent(container, group, ada)
            assert person.id not in await members(container, group)
