"""Groups of the client against a real server."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from messenger.client import ApiError, OutcomeUnknown
from messenger.schemas.groups import GroupPatch, GroupPreview, GroupSettingsPatch, GroupView
from messenger.schemas.users import SettingsPatch
from tests.client.real import PASSWORD, Device, RealServer, befriend, device, serving
from tests.client.test_against_server import assert_true

SEED = 20261201


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    with serving() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def trio(server: RealServer) -> AsyncIterator[tuple[Device, Device, Device]]:
    """An owner with two contacts, all following their streams."""
    async with device(server.url) as ada, device(server.url) as bob, device(server.url) as carol:
        await befriend(ada, bob)
        await befriend(ada, carol)
        for each in (ada, bob, carol):
            await each.follow()
        yield ada, bob, carol


async def settle(*devices: Device) -> None:
    """Wait until the devices have received all their events."""
    for each in devices:
        await each.until(await each.newest())


class TestJoiningGroups:
    async def test_invited_user_joins_and_leaves(self, trio: tuple[Device, Device, Device]) -> None:
        ada, bob, carol = trio
        created = await ada.client.create_group("Reading", invite=[bob.user_id])
        group = created.group.id
        assert [each.outcome for each in created.results] == ["invited"]
        await ada.client.send(group, "before")
        await settle(bob)
        assert bob.state.invitations[group].inviter.id == ada.user_id
        assert [each.group.id async for each in bob.client.invitations()] == [group]
        assert isinstance(await bob.client.group(group), GroupPreview)
        assert isinstance(await bob.client.accept_invitation(group), GroupView)
        assert [each.outcome for each in await ada.client.invite(group, [carol.user_id])] == ["invited"]
        await carol.client.accept_invitation(group)
        await bob.client.send(group, "hello")
        await settle(ada)
        await ada.client.update_group(group, GroupPatch(name="Readers"), version=ada.state.groups[group].version)
        await assert_true(ada, bob, carol)
        assert bob.state.invitations == {}
        assert set(bob.state.members[group]) == {ada.user_id, bob.user_id, carol.user_id}
        assert [notice.action for notice in carol.state.notices_of(group)][-1] == "renamed"
        await bob.client.leave_group(group)
        await assert_true(ada, bob, carol)
        assert group not in bob.state.conversations
        assert ada.state.groups[group].member_count == 2

    async def test_user_joins_by_link_after_approval(self, trio: tuple[Device, Device, Device]) -> None:
        ada, bob, carol = trio
        group = (await ada.client.create_group("Linked")).group.id
        link = await ada.client.create_link(group, name="Poster")
        assert (await bob.client.link(link.token)).name == "Linked"
        assert (await bob.client.join_by_link(link.token)).membership == "member"
        await ada.client.update_link(group, link.id, approval=True)
        asked = await carol.client.join_by_link(link.token, message="Please")
        assert (asked.membership, type(asked.group)) == ("requested", GroupPreview)
        await settle(ada)
        assert (ada.state.requests[group][carol.user_id].message, ada.state.pending[group]) == ("Please", 1)
        assert [each.user.id async for each in ada.client.join_requests(group)] == [carol.user_id]
        answer = await ada.client.answer_join_request(group, carol.user_id, accept=True)
        assert answer.membership == "member"
        await assert_true(ada, bob, carol)
        assert ada.state.requests[group] == {}
        assert [each.uses for each in await ada.client.links(group)] == [2]
        await ada.client.revoke_link(group, link.id)
        with pytest.raises(ApiError) as caught:
            await bob.client.link(link.token)
        assert caught.value.code == "link_not_found"

    async def test_returning_member_begins_anew(self, trio: tuple[Device, Device, Device]) -> None:
        ada, bob, _ = trio
        settings = GroupSettingsPatch(history="all")
        group = (await ada.client.create_group("Back", settings=settings, invite=[bob.user_id])).group.id
        await ada.client.send(group, "one")
        await bob.client.accept_invitation(group)
        await settle(bob)
        assert sorted(bob.state.messages[group]) == [1]
        await bob.client.leave_group(group)
        await ada.client.send(group, "two")
        await ada.client.invite(group, [bob.user_id])
        await bob.client.accept_invitation(group)
        await ada.client.send(group, "three")
        await assert_true(ada, bob)
        assert 1 not in bob.state.messages[group]
        assert bob.state.messages[group][3].body == "three"


class TestModeratingGroups:
    async def test_members_are_promoted_muted_removed_and_banned(self, trio: tuple[Device, Device, Device]) -> None:
        ada, bob, carol = trio
        people = [bob.user_id, carol.user_id]
        group = (await ada.client.create_group("Moderated", invite=people)).group.id
        for each in (bob, carol):
            await each.client.accept_invitation(group)
        await ada.client.update_member(group, bob.user_id, role="moderator", title="Librarian")
        until = datetime.now(UTC) + timedelta(hours=1)
        await bob.client.update_member(group, carol.user_id, muted_until=until)
        with pytest.raises(ApiError) as caught:
            await carol.client.send(group, "quiet")
        assert caught.value.code == "muted"
        await assert_true(ada, bob, carol)
        assert bob.state.groups[group].me.role == "moderator"
        assert carol.state.groups[group].me.muted_until is not None
        await bob.client.ban(group, carol.user_id, reason="Advertising")
        assert [each.reason async for each in bob.client.bans(group)] == ["Advertising"]
        log = [(each.action, each.reason) async for each in bob.client.group_log(group)]
        assert log[0] == ("banned", "Advertising")
        await bob.client.unban(group, carol.user_id)
        await ada.client.remove_member(group, bob.user_id)
        await assert_true(ada, bob, carol)
        assert (carol.state.groups, bob.state.groups) == ({}, {})

    async def test_group_is_transferred_and_deleted(self, trio: tuple[Device, Device, Device]) -> None:
        ada, bob, _ = trio
        group = (await ada.client.create_group("Given", invite=[bob.user_id])).group.id
        await bob.client.accept_invitation(group)
        assert (await ada.client.transfer_group(group, bob.user_id, PASSWORD)).owner_id == bob.user_id
        await assert_true(ada, bob)
        await bob.client.delete_group(group, PASSWORD)
        await assert_true(ada, bob)
        assert group not in {*ada.state.groups, *bob.state.groups}

    async def test_receipts_of_message_are_listed(self, trio: tuple[Device, Device, Device]) -> None:
        ada, bob, _ = trio
        group = (await ada.client.create_group("Read", invite=[bob.user_id])).group.id
        await bob.client.accept_invitation(group)
        sent = await ada.client.send(group, "read this")
        await bob.client.mark(group, read_seq=sent.seq)
        (page,) = [each async for each in ada.client.message_receipts(sent.id)]
        assert [(each.user.id, each.read) for each in page.items] == [(bob.user_id, True)]

    async def test_settings_make_user_join_at_once(self, trio: tuple[Device, Device, Device]) -> None:
        ada, bob, _ = trio
        assert (await bob.client.settings()).auto_join == "nobody"
        await bob.client.update_settings(SettingsPatch(auto_join="contacts"))
        created = await ada.client.create_group("At once", invite=[bob.user_id])
        assert [each.outcome for each in created.results] == ["joined"]
        await assert_true(ada, bob)
        assert created.group.id in bob.state.groups


class TestConvergence:
    async def test_random_operations_on_groups_converge(self, server: RealServer) -> None:
        draw = random.Random(SEED)
        async with AsyncExitStack() as stack:
            first = [await stack.enter_async_context(device(server.url)) for _ in range(3)]
            second = [await stack.enter_async_context(device(server.url, each.username)) for each in first]
            for number, each in enumerate(first):
                for other in first[number + 1 :]:
                    await befriend(each, other)
            devices = [*first, *second]
            for each in devices:
                await each.follow(polling_only=draw.random() < 0.3)
            made = await first[0].client.create_group("Busy", settings=GroupSettingsPatch(history="all"))
            await first[0].client.invite(made.group.id, [each.user_id for each in first[1:]])
            for _ in range(120):
                await _deed(draw, draw.choice(devices), draw.choice(first), made.group.id)
                if draw.random() < 0.2:
                    draw.choice(devices).cut()
            await assert_true(*devices)


async def _deed(draw: random.Random, one: Device, other: Device, group: int) -> None:
    """Perform a random operation on a group; a refusal is a valid outcome."""
    client, user = one.client, other.user_id
    known = list(one.state.messages.get(group, {}).values())
    until = datetime.now(UTC) + timedelta(hours=1)
    deeds: list[Any] = [
        lambda: client.send(group, f"said {draw.random()}"),
        lambda: client.send(group, "again"),
        lambda: client.invite(group, [user]),
        lambda: client.accept_invitation(group),
        lambda: client.accept_invitation(group),
        lambda: client.leave_group(group) if draw.random() < 0.3 else client.accept_invitation(group),
        lambda: client.update_member(group, user, role=draw.choice(["member", "moderator", "admin"])),
        lambda: client.update_member(group, user, muted_until=draw.choice([until, None])),
        lambda: client.remove_member(group, user) if draw.random() < 0.5 else client.invite(group, [user]),
        lambda: client.update_group(group, GroupPatch(name=f"Name {draw.randint(0, 9)}")),
        lambda: client.update_conversation(group, pinned=draw.random() < 0.5),
        lambda: client.mark(group, read_seq=draw.choice(known).seq if known else 0),
    ]
    if known:
        message = draw.choice(known)
        deeds += [
            lambda: client.edit(message.id, f"edited {draw.random()}"),
            lambda: client.delete(message.id, who=draw.choice(["everyone", "me"])),
        ]
    try:
        await draw.choice(deeds)()
    except OutcomeUnknown:
        # Cut before the reply and refused afterwards: the states show what happened.
        return
    except ApiError as error:
        if error.status >= 500:
            raise
