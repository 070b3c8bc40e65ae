"""New members of a group that shows no history: nothing of before reaches them, whatever is done to it later."""

from __future__ import annotations

import zipfile
from collections.abc import Awaitable
from typing import IO, Any
from uuid import uuid4

import msgspec
import pytest

from messenger.container import Container
from messenger.errors import MessageNotFound
from messenger.schemas.groups import GroupView
from messenger.schemas.messages import MessageDraft, MessagePatch, MessageView
from messenger.testing import Factory, Person
from tests.support.groups import change_settings, create_group, join, leave, send

SECRET = "Written before"


def unzipped(file: IO[bytes]) -> str:
    """The contents of all files of an archive."""
    with file, zipfile.ZipFile(file) as archive:
        return "".join(archive.read(name).decode() for name in archive.namelist())


async def everything(container: Container, person: Person, group: GroupView) -> str:
    """All that this member reads of the group, as text."""
    services, actor = container.services, person.actor
    pages = [
        await services.messages.history(actor, group.id, limit=200),
        await services.messages.history(actor, group.id, before=100, limit=200),
        await services.messages.history(actor, group.id, after=0, limit=200),
        await services.messages.history(actor, group.id, around=1, limit=200),
        await services.messages.history(actor, group.id, around="unread", limit=200),
    ]
    read: list[Any] = [
        *pages,
        await services.conversations.list_page(actor, cursor=None, limit=50),
        await services.groups.get(actor, group.id),
        await services.sync.sync(actor, cursor="e0", limit=200),
    ]
    return msgspec.json.encode(read).decode() + unzipped(await services.exports.archive(actor))


class Newcomer:
    """Bob joins a group in which Ada and he, in a former membership, have written."""

    def __init__(self, container: Container, make: Factory) -> None:
        self.container, self.make = container, make
        self.ada: Person
        self.bob: Person
        self.group: GroupView
        self.early: list[MessageView]

    async def arrive(self) -> None:
        container, make = self.container, self.make
        self.ada, self.bob = await make.people(2)
        self.group = await create_group(container, self.ada)
        await join(container, make, self.ada, self.group, self.bob)
        self.early = [await send(container, each, self.group, SECRET) for each in (self.ada, self.bob)]
        await leave(container, self.bob, self.group)
        self.early.append(await send(container, self.ada, self.group, SECRET))
        await join(container, make, self.ada, self.group, self.bob)


@pytest.fixture
async def newcomer(container: Container, make: Factory) -> Newcomer:
    newcomer = Newcomer(container, make)
    await newcomer.arrive()
    return newcomer


class TestNewcomer:
    async def test_no_read_shows_earlier_message(self, container: Container, newcomer: Newcomer) -> None:
        ada, bob, group = newcomer.ada, newcomer.bob, newcomer.group
        for setting in ("none", "recent", "all"):
            # The setting counts when they join, and is not looked at again.
            await change_settings(container, ada, group, history=setting)
            assert SECRET not in await everything(container, bob, group)
        assert SECRET in await everything(container, ada, group)

    async def test_later_changes_of_earlier_messages_are_not_delivered(
        self, container: Container, newcomer: Newcomer
    ) -> None:
        ada, bob, group = newcomer.ada, newcomer.bob, newcomer.group
        messages = container.services.messages
        await messages.edit(ada.actor, newcomer.early[0].id, MessagePatch(body=f"{SECRET}, edited"))
        await messages.delete(ada.actor, newcomer.early[1].id, who="everyone")
        await send(container, ada, group, "An answer", reply_to=newcomer.early[2].id)
        draft = MessageDraft(target_id=group.id, client_id=str(uuid4()), forwarded_from=newcomer.early[2].id)
        forward = (await messages.send(ada.actor, draft))[0]
        page = await container.services.sync.sync(bob.actor, cursor="e0", limit=200)
        found = [(each.event, each.data.seq) for each in page.events if each.event.startswith("message.")]
        assert found == [("message.created", 4), ("message.created", 5)]
        # A forwarded copy is a message of its own, which does not lead to the original.
        shown = await messages.get(bob.actor, forward.id)
        assert (shown.body, shown.forwarded_from) == (SECRET, newcomer.early[2].id)
        with pytest.raises(MessageNotFound):
            await messages.get(bob.actor, newcomer.early[2].id)
        assert f"{SECRET}, edited" not in await everything(container, bob, group)

    @pytest.mark.parametrize("which", [0, 1], ids=["of another", "own"])
    async def test_no_use_case_finds_earlier_message(
        self, container: Container, newcomer: Newcomer, which: int
    ) -> None:
        bob, early = newcomer.bob, newcomer.early[which].id
        messages = container.services.messages
        forward = MessageDraft(target_id=newcomer.ada.id, client_id=str(uuid4()), forwarded_from=early)
        attempts: list[Awaitable[Any]] = [
            messages.get(bob.actor, early),
            messages.edit(bob.actor, early, MessagePatch(body="Mine")),
            messages.delete(bob.actor, early, who="everyone"),
            messages.delete(bob.actor, early, who="me"),
            messages.receipts(bob.actor, early, after=0, limit=50),
            messages.send(bob.actor, forward),
            send(container, bob, newcomer.group, "An answer", reply_to=early),
        ]
        for attempt in attempts:
            with pytest.raises(MessageNotFound):
                await attempt
        assert (await messages.get(newcomer.ada.actor, early)).body == SECRET

    async def test_everything_before_joining_counts_as_read(self, container: Container, newcomer: Newcomer) -> None:
        page = await container.services.conversations.list_page(newcomer.bob.actor, cursor=None, limit=50)
        (item,) = [each for each in page.items if each.target.id == newcomer.group.id]
        assert (item.unread, item.read_seq, item.last_seq, item.last_message) == (0, 3, 3, None)
        shown = await container.services.messages.history(newcomer.bob.actor, newcomer.group.id, limit=50)
        assert (shown.items, shown.first_unread, shown.next) == ([], None, None)
