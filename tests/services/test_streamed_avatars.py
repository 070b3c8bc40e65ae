"""Avatars in the stream: shown according to the owner's privacy settings at the time of reading."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from messenger.container import Container
from messenger.schemas.messages import ConversationPatch
from messenger.schemas.users import ConfirmDraft, ProfilePatch, SubscribeDraft
from messenger.testing import Factory, Person
from tests.support.images import encoded, plain


async def avatars(container: Container, reader: Person, event: str) -> list[bool]:
    """Whether each event of this name shows an avatar of its peer."""
    page = await container.services.sync.sync(reader.actor, cursor="e0", limit=200)
    data: list[Any] = [each.data for each in page.events if each.event == event]
    peers = [each.user if event == "contact.updated" else each.target for each in data]
    return [peer.avatar is not None for peer in peers]


async def with_avatar(container: Container, make: Factory, audience: str) -> Person:
    """A user whose avatar is visible to this audience, and who accepts messages from everyone."""
    ada = await make.person()
    await container.services.avatars.upload(ada.actor, encoded(plain()))
    privacy = {"privacy": {"avatar": audience, "messages_from": "everyone"}}
    await container.services.profiles.update(ada.actor, msgspec.convert(privacy, ProfilePatch))
    return ada


@pytest.mark.parametrize(
    ("audience", "stranger", "contact"),
    [
        ("everyone", True, True),
        ("contacts", False, True),
        ("nobody", False, False),
    ],
)
class TestAvatarAudience:
    async def test_contact_event_shows_avatar_by_audience(
        self, container: Container, make: Factory, audience: str, stranger: bool, contact: bool
    ) -> None:
        ada, bob = await with_avatar(container, make, audience), await make.person()
        await container.services.contacts.subscribe(ada.actor, SubscribeDraft(target_id=bob.id))
        assert await avatars(container, bob, "contact.updated") == [stranger]
        await container.services.contacts.confirm(bob.actor, ConfirmDraft(target_id=ada.id))
        assert set(await avatars(container, bob, "contact.updated")) == {contact}

    async def test_conversation_event_shows_avatar_by_audience(
        self, container: Container, make: Factory, audience: str, stranger: bool, contact: bool
    ) -> None:
        ada, bob = await with_avatar(container, make, audience), await make.person()
        await make.message(bob, ada)
        await container.services.conversations.update(bob.actor, ada.id, ConversationPatch(pinned=True))
        assert await avatars(container, bob, "conversation.updated") == [stranger]
        await make.befriend(bob, ada)
        assert set(await avatars(container, bob, "conversation.updated")) == {contact}
