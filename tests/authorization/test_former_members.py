"""Former members: no route gives them anything of the group that was written before or after their removal."""

from __future__ import annotations

import io
import secrets
import zipfile
from typing import Any
from uuid import uuid4

import httpx
import pytest
from litestar import Litestar

from messenger.container import Container
from messenger.errors import MessageNotFound
from messenger.schemas.admission import BanDraft
from messenger.schemas.groups import GroupPatch, GroupView, MemberPatch
from messenger.schemas.messages import MessageDraft, MessageView
from messenger.testing import Factory, Person
from tests.support.groups import change_settings, create_group, join, leave, rename, send
from tests.support.inventory import inventory

ENDS = ("left", "removed", "banned")


class Group:
    """A group whose texts, names and titles all contain the secret, unless Bob has seen them in its preview."""

    def __init__(self, container: Container, make: Factory) -> None:
        self.services, self._container, self._make = container.services, container, make
        self.secret = secrets.token_hex(8)
        self.messages: list[MessageView] = []
        self.ada: Person
        self.bob: Person
        self.eve: Person
        self.view: GroupView

    async def begin(self) -> None:
        self.ada, self.bob, self.eve = await self._make.people(3)
        self.view = await create_group(self._container, self.ada)
        await change_settings(self._container, self.ada, self.view, history="all")
        await join(self._container, self._make, self.ada, self.view, self.bob, self.eve)
        await self.write()

    async def write(self) -> None:
        """Messages of all members, and changes of the group and of a member."""
        for sender in (self.ada, self.bob, self.eve):
            if sender is not self.bob or not self.messages:
                await self._send(sender)
        patch = MemberPatch(title=self.secret)
        await self.services.members.update(self.ada.actor, self.view.id, self.eve.id, patch)
        await self.services.groups.update(self.ada.actor, self.view.id, GroupPatch(about=f"About {self.secret}"))

    async def _send(self, sender: Person) -> None:
        self.messages.append(await send(self._container, sender, self.view, f"Text {self.secret}"))

    async def end(self, how: str) -> None:
        """End the membership of Bob; the group goes on."""
        if how == "left":
            await leave(self._container, self.bob, self.view)
        elif how == "removed":
            await self.services.members.remove(self.ada.actor, self.view.id, self.bob.id)
        else:
            await self.services.bans.ban(self.ada.actor, self.view.id, self.bob.id, BanDraft(reason=self.secret))
        await self.write()
        await rename(self._container, self.ada, self.view, f"Name {self.secret}")

    def paths(self, path: str) -> list[str]:
        """The path with each value that concerns this group."""
        values: dict[str, list[Any]] = {
            "group_id": [self.view.id],
            "target_id": [self.view.id],
            "user_id": [self.eve.id, self.bob.id, self.view.id],
            "message_id": [message.id for message in self.messages],
        }
        paths = [path]
        for name, each in values.items():
            paths = [p.replace(f"{{{name}}}", str(value)) for p in paths for value in each] if name in path else paths
        return paths


def content_of(answer: httpx.Response) -> str:
    """The text of a response; that of an archive is the content of its files."""
    if not answer.content.startswith(b"PK"):
        return answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return "".join(archive.read(name).decode() for name in archive.namelist())


@pytest.mark.parametrize("how", ENDS)
async def test_no_read_shows_group_to_former_member(
    client: httpx.AsyncClient, app: Litestar, container: Container, make: Factory, how: str
) -> None:
    group = Group(container, make)
    await group.begin()

    async def read_all(person: Person) -> dict[str, str]:
        reads = {
            path
            for method, route in inventory(app)
            if method == "GET"
            for path in group.paths(route)
            # The documents of the API, and links, which lead anybody to the preview.
            if "{" not in path and not path.startswith(("/openapi", "/docs", "/health", "/metrics"))
        }
        reads |= {f"/sync?cursor=e{number}" for number in (0, 1)}
        reads |= {f"/history/{group.view.id}?around=unread", f"/groups/{group.view.id}/members?state=invited"}
        return {path: content_of(await client.get(path, headers=person.headers)) for path in reads}

    shown = {path for path, text in (await read_all(group.bob)).items() if group.secret in text}
    of_group = {f"/history/{group.view.id}", f"/groups/{group.view.id}/members", "/conversations", "/groups"}
    assert of_group <= shown
    await group.end(how)
    after = await read_all(group.bob)
    assert [path for path, text in after.items() if group.secret in text] == []
    assert f'"{how}"' in after["/sync?cursor=e0"]


@pytest.mark.parametrize("how", ENDS)
async def test_forward_leads_to_no_message_of_former_group(container: Container, make: Factory, how: str) -> None:
    group = Group(container, make)
    await group.begin()
    eve, bob = group.eve, group.bob
    await make.befriend(bob, eve)
    original = group.messages[0]
    draft = MessageDraft(target_id=eve.id, client_id=str(uuid4()), forwarded_from=original.id)
    forward = (await group.services.messages.send(bob.actor, draft))[0]
    # The members of the other conversation keep the copy. Nothing leads from it to the original.
    await group.end(how)
    for reader in (bob, eve):
        shown = await group.services.messages.get(reader.actor, forward.id)
        assert (shown.body, shown.sender_id) == (original.body, bob.id)
    assert (await group.services.messages.get(eve.actor, original.id)).id == original.id
    again = MessageDraft(target_id=eve.id, client_id=str(uuid4()), forwarded_from=original.id)
    with pytest.raises(MessageNotFound):
        await group.services.messages.get(bob.actor, original.id)
    with pytest.raises(MessageNotFound):
        await group.services.messages.send(bob.actor, again)
