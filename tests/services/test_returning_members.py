"""Members who come back begin as new members: what belongs to the former membership stays hidden."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from messenger.container import Container
from messenger.errors import PeerNotFound
from messenger.schemas.groups import GroupView
from messenger.testing import Factory, Person
from tests.support.groups import change_settings, create_group, invite, join, leave, rename, send
from tests.support.tables import event_data, held, rows, waiting

LOCK = "SELECT FROM conversations WHERE peer_id = $1 FOR NO KEY UPDATE"


async def history(container: Container, person: Person, group: GroupView) -> list[int]:
    """The `seq` of all messages that this member sees."""
    page = await container.services.messages.history(person.actor, group.id, limit=200)
    return [message.seq for message in page.items]


async def notices(container: Container, person: Person, group: GroupView) -> list[Any]:
    """The notices in the history that this member sees: the new name, or what happened."""
    page = await container.services.messages.history(person.actor, group.id, limit=200)
    return [each.after if each.action == "renamed" else each.action for each in page.notices]


class TestMessages:
    @pytest.mark.parametrize(("setting", "seen"), [("none", []), ("recent", [4]), ("all", [4])])
    async def test_history_reaches_back_to_latest_leaving(
        self, container: Container, make: Factory, setting: str, seen: list[int]
    ) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await change_settings(container, ada, group, history=setting)
        for _ in range(2):
            await join(container, make, ada, group, bob)
            await send(container, ada, group)
            await leave(container, bob, group)
            with pytest.raises(PeerNotFound):
                await history(container, bob, group)
            await send(container, ada, group)
        await join(container, make, ada, group, bob)
        assert await history(container, bob, group) == seen
        await send(container, ada, group)
        assert await history(container, bob, group) == [*seen, 5]

    @pytest.mark.parametrize("setting", ["none", "all"])
    async def test_stream_has_no_message_of_absence(self, container: Container, make: Factory, setting: str) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await change_settings(container, ada, group, history=setting)
        await join(container, make, ada, group, bob)
        before = await send(container, ada, group)
        await leave(container, bob, group)
        await send(container, ada, group)
        await join(container, make, ada, group, bob)
        await container.services.messages.delete(ada.actor, before.id, who="everyone")
        after = await send(container, ada, group)
        assert [event["seq"] for event in await event_data(container, bob, "message.created")] == [after.seq]
        assert await event_data(container, bob, "message.deleted") == []


class TestNotices:
    async def test_new_member_sees_notices_from_own_joining_on(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await send(container, ada, group)
        await rename(container, ada, group, "Before")
        await join(container, make, ada, group, bob)
        await rename(container, ada, group, "After")
        assert await notices(container, bob, group) == ["joined", "After"]
        await send(container, ada, group)
        assert await notices(container, bob, group) == ["joined", "After"]
        await change_settings(container, ada, group, history="all")
        assert await notices(container, bob, group) == ["joined", "After", "settings"]

    async def test_notices_stand_behind_visible_messages(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await change_settings(container, ada, group, history="all")
        await send(container, ada, group)
        await rename(container, ada, group, "Before")
        await join(container, make, ada, group, bob)
        assert await notices(container, bob, group) == ["created", "settings", "Before", "joined"]

    async def test_returning_member_sees_no_notice_up_to_leaving(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await change_settings(container, ada, group, history="all")
        await join(container, make, ada, group, bob)
        await send(container, ada, group)
        await rename(container, ada, group, "Before")
        await leave(container, bob, group)
        await send(container, ada, group)
        await rename(container, ada, group, "Meanwhile")
        await join(container, make, ada, group, bob)
        await rename(container, ada, group, "After")
        assert await notices(container, bob, group) == ["Meanwhile", "joined", "After"]

    async def test_change_waiting_behind_joining_is_seen(self, container: Container, make: Factory) -> None:
        """It began before the joining, and its notice has the earlier time."""
        ada, bob = await make.friends()
        group = await create_group(container, ada)
        await invite(container, ada, group, bob)
        async with held(container, LOCK, group.id):
            joining = asyncio.create_task(container.services.invitations.accept(bob.actor, group.id))
            await waiting(container, 1)
            renaming = asyncio.create_task(rename(container, ada, group, "After"))
            await waiting(container, 2)
        await asyncio.gather(joining, renaming)
        await rows(
            container,
            "UPDATE group_notices SET at = at - interval '1 second' WHERE group_id = $1 AND action = 'renamed'",
            group.id,
        )
        assert await notices(container, bob, group) == ["joined", "After"]


class TestStream:
    async def test_events_of_former_membership_are_not_delivered(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        await rename(container, ada, group, "Before")
        await join(container, make, ada, group, eve)
        await container.services.members.remove(ada.actor, group.id, bob.id)
        await rename(container, ada, group, "Meanwhile")
        await join(container, make, ada, group, bob)
        await rename(container, ada, group, "After")
        page = await container.services.sync.sync(bob.actor, cursor="e0", limit=200)
        found = [(each.event, msgspec.to_builtins(each.data)) for each in page.events]
        shown = [
            (name, data["notice"]["action"], "me" in data.get("group", {}))
            for name, data in found
            if name in {"group.updated", "group.member"}
        ]
        assert shown == [
            # The end of the former membership shows the preview, although Bob is a member again.
            ("group.updated", "removed", False),
            ("group.updated", "joined", True),
            ("group.member", "joined", False),
            ("group.updated", "renamed", True),
        ]
        assert await notices(container, bob, group) == ["joined", "After"]
