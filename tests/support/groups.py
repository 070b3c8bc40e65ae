"""Groups with members, made through the services."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from messenger.container import Container
from messenger.schemas.admission import InvitationsDraft
from messenger.schemas.groups import (
    GroupDraft,
    GroupPatch,
    GroupSettingsPatch,
    GroupView,
    LeaveDraft,
    PermissionsPatch,
)
from messenger.schemas.messages import MessageDraft, MessageView
from messenger.testing import Factory, Person


async def create_group(container: Container, owner: Person, **fields: Any) -> GroupView:
    """A new group of this owner."""
    return (await container.services.groups.create(owner.actor, GroupDraft(name="Reading", **fields))).group


async def invite(container: Container, inviter: Person, group: GroupView, *people: Person) -> list[str]:
    """Invite these people; returns the outcomes."""
    draft = InvitationsDraft(user_ids=[person.id for person in people])
    outcomes = await container.services.invitations.invite(inviter.actor, group.id, draft)
    return [each.outcome for each in outcomes.results]


async def join(container: Container, make: Factory, owner: Person, group: GroupView, *people: Person) -> None:
    """Make these people members: contacts of the owner, who invites them, and they accept."""
    for person in people:
        if await invite(container, owner, group, person) == ["not_a_contact"]:
            await make.befriend(owner, person)
            assert await invite(container, owner, group, person) == ["invited"]
        await container.services.invitations.accept(person.actor, group.id)


async def change_settings(container: Container, owner: Person, group: GroupView, **settings: Any) -> None:
    patch = GroupPatch(settings=GroupSettingsPatch(**settings))
    await container.services.groups.update(owner.actor, group.id, patch)


async def change_permissions(container: Container, owner: Person, group: GroupView, **permissions: Any) -> None:
    patch = GroupPatch(permissions=PermissionsPatch(**permissions))
    await container.services.groups.update(owner.actor, group.id, patch)


async def rename(container: Container, owner: Person, group: GroupView, name: str) -> None:
    await container.services.groups.update(owner.actor, group.id, GroupPatch(name=name))


async def leave(container: Container, person: Person, group: GroupView) -> None:
    await container.services.ownership.leave(person.actor, group.id, LeaveDraft())


async def send(
    container: Container, sender: Person, group: GroupView, body: str = "Hello", **fields: Any
) -> MessageView:
    draft = MessageDraft(target_id=group.id, client_id=fields.pop("client_id", str(uuid4())), body=body, **fields)
    return (await container.services.messages.send(sender.actor, draft))[0]
