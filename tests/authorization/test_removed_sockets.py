"""A socket that is open when its user leaves a group gets nothing of the group after that, on any worker."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from messenger.container import Container
from messenger.events import WakeUp
from messenger.schemas.admission import BanDraft
from messenger.schemas.groups import GroupView
from messenger.testing import Factory
from tests.support.groups import create_group, join, rename, send
from tests.support.sockets import Realtime, Wire


async def group_frames(wire: Wire, group: GroupView) -> list[str]:
    """The events and signals of the group that this socket has received and not yet read."""
    found = []
    for frame in await wire.settled():
        data = frame.get("data") or {}
        target = data.get("target_id") or data.get("group", {}).get("id") or data.get("target", {}).get("id")
        if frame["type"] in {"event", "signal"} and target == group.id:
            found.append(frame["event"])
    return found


async def renamed(wire: Wire, name: str) -> None:
    """Wait for the event of this name of a group."""
    while (await wire.event("group.updated"))["group"]["name"] != name:
        pass


class TestOpenSocket:
    @pytest.mark.parametrize("how", ["removed", "banned"])
    async def test_socket_of_removed_member_gets_no_frame_of_group(
        self, workers: list[Realtime], container: Container, make: Factory, how: str
    ) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve)
        path = f"/groups/{group.id}"
        async with (
            httpx.AsyncClient(base_url=workers[0].http, headers=ada.headers) as client,
            workers[0].wire(ada) as owners,
            workers[0].wire(bob) as his,
            workers[1].wire(await make.device(bob)) as also_his,
            workers[0].wire(eve) as hers,
            workers[1].wire(await make.device(eve)) as also_hers,
        ):
            for wire in (his, also_his, hers, also_hers):
                await wire.ask("watch", target_ids=[group.id])
            await owners.ask("typing", target_id=group.id)
            for wire in (his, also_his, hers, also_hers):
                assert (await wire.signal("typing", target_id=group.id))["typing"] is True
            if how == "removed":
                await client.delete(f"{path}/members/{bob.id}")
            else:
                await client.put(f"{path}/bans/{bob.id}", json={})
            for wire in (his, also_his):
                assert (await wire.event("group.updated"))["group"]["membership"] == "none"
            # Ada's message ends her typing, which was shown to Bob.
            await owners.ask("message.send", target_id=group.id, client_id="after", body="Afterwards")
            await client.patch(path, json={"name": "Afterwards"})
            for former, member in ((his, hers), (also_his, also_hers)):
                # The two sockets are on one worker: what it sends to both, it has sent by now.
                assert (await member.signal("typing", target_id=group.id))["typing"] is False
                await member.event("message.created", target_id=group.id)
                await renamed(member, "Afterwards")
                assert await group_frames(former, group) == []


class TestWakeUps:
    @pytest.mark.parametrize("how", ["removed", "banned"])
    async def test_former_member_is_woken_by_end_of_membership_only(
        self, container: Container, make: Factory, published: list[WakeUp], how: str
    ) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, eve)
        published.clear()
        if how == "removed":
            await container.services.members.remove(ada.actor, group.id, bob.id)
        else:
            await container.services.bans.ban(ada.actor, group.id, bob.id, BanDraft())
        assert [each.name for each in published if each.user_id == bob.id] == ["group.updated"]
        published.clear()
        await send(container, ada, group)
        await rename(container, ada, group, "Afterwards")
        await container.services.members.remove(ada.actor, group.id, eve.id)
        assert [each.name for each in published if each.user_id == bob.id] == []
        assert {each.name for each in published if each.user_id == ada.id} == {
            "message.created",
            "group.updated",
            "group.member",
        }

    async def test_concurrent_messages_wake_no_removed_member(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        published.clear()
        removal = container.services.members.remove(ada.actor, group.id, bob.id)
        await asyncio.gather(*(send(container, ada, group) for _ in range(5)), removal)
        await send(container, ada, group)
        last = max((each for each in published if each.user_id == bob.id), key=lambda each: each.position)
        assert last.name == "group.updated"
