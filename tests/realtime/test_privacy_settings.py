"""Each privacy setting only affects its own feature; the tests use a different value for each."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from messenger.container import Container
from messenger.schemas.users import PrivacyPatch, ProfilePatch
from messenger.testing import Factory, Person
from tests.support.sockets import Realtime, Wire

DIFFERENT = [("everyone", "nobody"), ("everyone", "contacts"), ("contacts", "nobody")]
BOTH_WAYS = DIFFERENT + [(one, other) for other, one in DIFFERENT]


def allows(audience: str, *, mutual: bool) -> bool:
    return audience == "everyone" or (audience == "contacts" and mutual)


async def pair(people: Factory, hosted: Container, *, mutual: bool, **privacy: Any) -> tuple[Person, Person]:
    """Two users; the second has these settings."""
    ada, bob = await people.friends() if mutual else await people.people(2)
    await hosted.services.profiles.update(bob.actor, ProfilePatch(privacy=PrivacyPatch(**privacy)))
    return ada, bob


async def asked(wire: Wire, method: str, **data: Any) -> str | None:
    """The code of a refusal, or None."""
    reply = await wire.ask(method, **data)
    code: str | None = reply.get("error", {}).get("code")
    return code


async def posted(realtime: Realtime, sender: Person, target: Person) -> str | None:
    body = {"target_id": target.id, "client_id": str(uuid4()), "body": "Hello"}
    async with httpx.AsyncClient(base_url=realtime.http) as client:
        answer = await client.post("/messages", headers=sender.headers, json=body)
    code: str | None = answer.json().get("code")
    return code


@pytest.mark.parametrize("mutual", [True, False], ids=["contacts", "strangers"])
@pytest.mark.parametrize(("messages", "calls"), BOTH_WAYS)
class TestMessagesAndCalls:
    async def test_calls_from_controls_calls(
        self, realtime: Realtime, hosted: Container, people: Factory, messages: str, calls: str, mutual: bool
    ) -> None:
        ada, bob = await pair(people, hosted, mutual=mutual, messages_from=messages, calls_from=calls)
        async with realtime.wire(ada) as wire:
            refusal = await asked(wire, "call.signal", target_id=bob.id, call_id=str(uuid4()), payload={})
        assert refusal == (None if allows(calls, mutual=mutual) else "not_a_contact")

    async def test_messages_from_controls_messages_and_typing(
        self, realtime: Realtime, hosted: Container, people: Factory, messages: str, calls: str, mutual: bool
    ) -> None:
        ada, bob = await pair(people, hosted, mutual=mutual, messages_from=messages, calls_from=calls)
        async with realtime.wire(ada) as wire:
            refusals = [
                await asked(wire, "message.send", target_id=bob.id, client_id=str(uuid4()), body="Hello"),
                await asked(wire, "typing", target_id=bob.id),
                await posted(realtime, ada, bob),
                *await asyncio.gather(*[posted(realtime, ada, bob) for _ in range(12)]),
            ]
        assert set(refusals) == {None if allows(messages, mutual=mutual) else "not_a_contact"}


@pytest.mark.parametrize("mutual", [True, False], ids=["contacts", "strangers"])
@pytest.mark.parametrize(("avatar", "last_seen"), BOTH_WAYS)
async def test_avatar_and_last_seen_follow_separate_audiences(
    hosted: Container, people: Factory, avatar: str, last_seen: str, mutual: bool
) -> None:
    ada, bob = await pair(people, hosted, mutual=mutual, avatar=avatar, last_seen=last_seen, messages_from="nobody")
    async with hosted.uow() as uow:
        key = uuid4().hex * 2
        await uow.avatars.claim(key, width=64, height=64, placeholder="")
        await uow.avatars.set(bob.id, key)
    shown = await hosted.services.profiles.find(ada.actor, target_id=bob.id)
    assert (shown.avatar is not None) == allows(avatar, mutual=mutual)
    assert (shown.last_activity is not None) == allows(last_seen, mutual=mutual)
    if mutual:
        (contact,) = (await hosted.services.contacts.list_page(ada.actor, state=None, after=0, limit=9)).items
        (status,) = (await hosted.services.contacts.statuses(ada.actor)).items
        assert (contact.user.avatar is not None) == allows(avatar, mutual=True)
        assert (status.last_activity is not None) == allows(last_seen, mutual=True)
