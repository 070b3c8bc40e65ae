"""Members: what they lose when they go, and the slow mode over all their devices."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from messenger.container import Container
from messenger.errors.groups import MemberNotFound, RankTooLow, SlowMode
from messenger.schemas.admission import BanDraft, JoinDraft, LinkDraft
from messenger.schemas.groups import GroupView, MemberPatch
from messenger.schemas.messages import MessageDraft
from messenger.services._unreadable import Unreadable
from messenger.services.messages import MessageService
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person
from tests.support.groups import change_settings, create_group, invite, join, leave, send
from tests.support.tables import held, rows, waiting


async def promote(container: Container, owner: Person, group: GroupView, person: Person) -> None:
    patch = MemberPatch(role="admin", title="Librarian")
    await container.services.members.update(owner.actor, group.id, person.id, patch)


class TestReturn:
    @pytest.mark.parametrize("how", ["left", "removed", "banned"])
    async def test_former_admin_comes_back_as_plain_member(self, container: Container, make: Factory, how: str) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await promote(container, ada, group, bob)
        services = container.services
        if how == "left":
            await leave(container, bob, group)
        elif how == "removed":
            await services.members.remove(ada.actor, group.id, bob.id)
        else:
            await services.bans.ban(ada.actor, group.id, bob.id, BanDraft())
            await services.bans.unban(ada.actor, group.id, bob.id)
        await join(container, make, ada, group, bob)
        member = await services.members.get(ada.actor, group.id, bob.id)
        assert (member.role, member.title) == ("member", None)

    async def test_former_owner_comes_back_as_plain_member(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await leave(container, ada, group)
        await join(container, make, bob, group, ada)
        page = await container.services.members.list_page(bob.actor, group.id, after=(-4, 0), limit=50)
        assert [(each.user.id, each.role) for each in page.items] == [(bob.id, "owner"), (ada.id, "member")]
        with pytest.raises(RankTooLow):
            await container.services.members.remove(ada.actor, group.id, bob.id)


class TestBan:
    @pytest.mark.parametrize("order", list(itertools.permutations(["ban", "role", "unban"])), ids="-".join)
    async def test_banned_user_has_no_role_and_can_be_unbanned(
        self, container: Container, make: Factory, order: tuple[str, ...]
    ) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        services = container.services
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "ban": lambda: services.bans.ban(ada.actor, group.id, bob.id, BanDraft()),
            "role": lambda: services.members.update(ada.actor, group.id, bob.id, MemberPatch(role="admin")),
            "unban": lambda: services.bans.unban(ada.actor, group.id, bob.id),
        }
        member = True
        for step in order:
            if step == "role" and not member:
                with pytest.raises(MemberNotFound):
                    await steps[step]()
            else:
                await steps[step]()
            member = member and step != "ban"
            found = await rows(container, "SELECT rank FROM members WHERE user_id = $1 AND rank IS NOT NULL", bob.id)
            assert bool(found) == member
        await steps["unban"]()
        link = await services.group_links.create(ada.actor, group.id, LinkDraft())
        assert (await services.group_links.join(bob.actor, link.token, JoinDraft())).membership == "member"


class TestErasure:
    async def test_erased_account_leaves_only_messages(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group, other, third = [await create_group(container, each) for each in (ada, ada, eve)]
        await join(container, make, ada, group, bob)
        await promote(container, ada, group, bob)
        await make.befriend(bob, eve)
        services = container.services
        assert await invite(container, bob, group, eve) == ["invited"]
        await services.group_links.create(bob.actor, group.id, LinkDraft())
        assert await invite(container, ada, other, bob) == ["invited"]
        asking = await services.group_links.create(eve.actor, third.id, LinkDraft(approval=True))
        await services.group_links.join(bob.actor, asking.token, JoinDraft())
        sent = await send(container, bob, group)
        await services.accounts.erase(bob.actor, bob.password)
        await services.fan_out.drain()
        left = {
            table: await rows(container, f"SELECT FROM {table} WHERE {column} = $1", bob.id)
            for table, column in (
                ("members", "user_id"),
                ("group_invitations", "user_id"),
                ("group_invitations ", "inviter_id"),
                ("group_links", "created_by"),
                ("group_requests", "user_id"),
            )
        }
        assert left == {table: [] for table in left}
        assert (await services.groups.get(ada.actor, group.id)).member_count == 1
        message = await services.messages.get(ada.actor, sent.id)
        assert (message.body, message.sender_id) == ("Hello", bob.id)


class TestSlowMode:
    async def test_only_first_of_concurrent_messages_is_sent(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await change_settings(container, ada, group, slow_mode=30)
        # Those behind the first one are sent in one statement.
        sending = [send(container, sender, group) for sender in (ada, bob, bob, bob)]
        results = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(result) for result in results].count(SlowMode) == 2

    async def test_message_behind_message_of_other_worker_is_refused(self, container: Container, make: Factory) -> None:
        """Both statements have checked their message before the first of them commits."""
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await change_settings(container, ada, group, slow_mode=30)
        limiter = RateLimiter(container.uow, enabled=False)
        other = MessageService(container.uow, limiter, Unreadable(container.uow, container.metrics.unreadable), lanes=2)
        lock = "SELECT FROM conversations WHERE peer_id = $1 FOR NO KEY UPDATE"
        async with held(container, lock, group.id):
            draft = MessageDraft(target_id=group.id, client_id=str(uuid4()), body="Hello")
            sending = [
                asyncio.create_task(send(container, bob, group)),
                asyncio.create_task(other.send(bob.actor, draft)),
            ]
            await waiting(container, 2)
        results = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(result) for result in results].count(SlowMode) == 1

    async def test_slow_mode_holds_across_devices_and_forwards(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await change_settings(container, ada, group, slow_mode=30)
        devices = [bob, await make.device(bob), await make.device(bob)]
        first = await send(container, devices[0], group, client_id="first")
        for device in devices:
            with pytest.raises(SlowMode):
                await send(container, device, group)
            forward = MessageDraft(target_id=group.id, client_id=str(uuid4()), forwarded_from=first.id)
            with pytest.raises(SlowMode):
                await container.services.messages.send(device.actor, forward)
            assert (await send(container, device, group, client_id="first")).id == first.id
