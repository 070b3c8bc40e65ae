"""Typing in a group is signalled to devices that watch the group."""

from __future__ import annotations

from messenger.container import Container
from messenger.testing import Factory
from tests.support.groups import create_group, join
from tests.support.sockets import Realtime, Wire


async def typing_targets(wire: Wire) -> list[int]:
    """The conversations for which this device was signalled typing so far."""
    return [frame["data"]["target_id"] for frame in await wire.settled() if frame.get("event") == "typing"]


class TestWatch:
    async def test_only_watching_member_sees_typing(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob, eve = await people.people(3)
        group = await create_group(hosted, ada)
        await join(hosted, people, ada, group, bob, eve)
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his, realtime.wire(eve) as theirs:
            await his.ask("watch", target_ids=[group.id])
            await theirs.ask("watch", target_ids=[group.id + 1])
            await hers.ask("typing", target_id=group.id)
            await his.signal("typing", target_id=group.id, user_id=ada.id)
            assert await typing_targets(theirs) == []

    async def test_blocked_member_sees_no_typing(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada, bob, eve = await people.people(3)
        group = await create_group(hosted, ada)
        await join(hosted, people, ada, group, bob, eve)
        await hosted.services.contacts.block(ada.actor, bob.id)
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his, realtime.wire(eve) as theirs:
            for wire in (his, theirs):
                await wire.ask("watch", target_ids=[group.id])
            await hers.ask("typing", target_id=group.id)
            await theirs.signal("typing", target_id=group.id)
            assert await typing_targets(his) == []

    async def test_typing_in_direct_conversation_needs_no_watch(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            await hers.ask("typing", target_id=bob.id)
            await his.signal("typing", target_id=ada.id)

    async def test_more_than_five_conversations_are_refused(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        async with realtime.wire(ada) as hers:
            answer = await hers.ask("watch", target_ids=[1, 2, 3, 4, 5, 6])
            assert answer["error"]["code"] == "validation_failed"
