"""Forwards and mentions: the server copies the text, and only members are mentioned."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from messenger.clock import FixedClock, new_id
from messenger.container import Container
from messenger.errors import ClientIdReused, MessageNotFound, NotTheSender, ValidationFailed
from messenger.schemas.messages import ConversationPatch, MessageDraft, MessagePatch, MessageView
from messenger.services._unreadable import Unreadable
from messenger.services.messages import MessageService
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person


@pytest.fixture(params=["alone", "in a batch"])
def send(request: pytest.FixtureRequest, container: Container) -> Any:
    """Sends one message, alone or within a batch."""
    sends = MessageService(
        container.uow,
        RateLimiter(container.uow, enabled=False),
        Unreadable(container.uow, container.metrics.unreadable),
        lanes=1,
    )

    async def run(sender: Person, to: Person, **values: Any) -> MessageView:
        draft = MessageDraft(target_id=to.id, client_id=str(values.pop("client_id", new_id())), **values)
        if request.param == "alone":
            return (await sends.send(sender.actor, draft))[0]
        fillers = [MessageDraft(target_id=to.id, client_id=str(new_id()), body="Filler") for _ in range(3)]
        answers = await asyncio.gather(
            *(sends.send(sender.actor, each) for each in (*fillers[:2], draft, fillers[2])), return_exceptions=True
        )
        assert all(isinstance(answers[n], tuple) for n in (0, 1, 3))
        if isinstance(answers[2], BaseException):
            raise answers[2]
        return answers[2][0]

    return run


@pytest.fixture
async def friends(make: Factory) -> tuple[Person, Person, Person]:
    """Ada, who has exchanged messages with Bob and with Eve."""
    ada, bob, eve = await make.people(3)
    for other in (bob, eve):
        await make.befriend(ada, other)
        await make.message(ada, other)
    return ada, bob, eve


def body_faults(error: ValidationFailed) -> list[tuple[str, str]]:
    return [(each.field, each.code) for each in error.errors]


class TestForward:
    async def test_text_is_copied_from_the_original(
        self, send: Any, make: Factory, friends: tuple[Person, Person, Person], container: Container
    ) -> None:
        ada, bob, eve = friends
        original = await make.message(bob, ada, "What Bob wrote")
        view = await send(ada, eve, forwarded_from=original.id)
        assert (view.body, view.forwarded_from, view.sender_id) == ("What Bob wrote", original.id, ada.id)
        for reader in (ada, eve):
            assert (await container.services.messages.get(reader.actor, view.id)).body == "What Bob wrote"

    async def test_body_in_forward_is_refused(
        self, send: Any, make: Factory, friends: tuple[Person, Person, Person]
    ) -> None:
        ada, bob, eve = friends
        original = await make.message(bob, ada, "What Bob wrote")
        with pytest.raises(ValidationFailed) as caught:
            await send(ada, eve, forwarded_from=original.id, body="What Bob never wrote")
        assert body_faults(caught.value) == [("body", "conflicting")]

    async def test_message_without_text_and_original_is_refused(
        self, send: Any, friends: tuple[Person, Person, Person]
    ) -> None:
        ada, _, eve = friends
        with pytest.raises(ValidationFailed) as caught:
            await send(ada, eve)
        assert body_faults(caught.value) == [("body", "required")]

    @pytest.mark.parametrize("why", ["unknown", "another's", "deleted", "hidden", "expired"])
    async def test_unreadable_original_is_not_found(
        self,
        send: Any,
        make: Factory,
        friends: tuple[Person, Person, Person],
        container: Container,
        clock: FixedClock,
        why: str,
    ) -> None:
        ada, bob, eve = friends
        await container.services.conversations.update(bob.actor, ada.id, ConversationPatch(expire_after=60))
        original: UUID = (await make.message(bob, ada, "What Bob wrote")).id
        sender, to = ada, eve
        if why == "unknown":
            original = new_id()
        elif why == "another's":
            sender, to = eve, ada
        elif why == "deleted":
            await container.services.messages.delete(bob.actor, original, who="everyone")
        elif why == "hidden":
            await container.services.messages.delete(ada.actor, original, who="me")
        else:
            clock.advance(seconds=61)
        with pytest.raises(MessageNotFound):
            await send(sender, to, forwarded_from=original)
        history = await container.services.messages.history(to.actor, sender.id, before=None, after=None, limit=50)
        assert {message.body for message in history.items} <= {"Hello", "Filler"}

    async def test_repeated_forward_is_returned_after_original_is_deleted(
        self, send: Any, make: Factory, friends: tuple[Person, Person, Person], container: Container
    ) -> None:
        ada, bob, eve = friends
        original = await make.message(bob, ada, "What Bob wrote")
        first = await send(ada, eve, forwarded_from=original.id, client_id="one")
        await container.services.messages.delete(bob.actor, original.id, who="everyone")
        assert await send(ada, eve, forwarded_from=original.id, client_id="one") == first
        with pytest.raises(ClientIdReused):
            await send(ada, eve, body="What Bob wrote", client_id="one")

    async def test_forward_can_not_be_edited(
        self, send: Any, make: Factory, friends: tuple[Person, Person, Person], container: Container
    ) -> None:
        ada, bob, eve = friends
        original = await make.message(bob, ada, "What Bob wrote")
        view = await send(ada, eve, forwarded_from=original.id)
        with pytest.raises(NotTheSender):
            await container.services.messages.edit(ada.actor, view.id, MessagePatch(body="What Bob never wrote"))
        assert (await container.services.messages.get(eve.actor, view.id)).body == "What Bob wrote"


class TestMention:
    async def test_only_members_stay_mentioned(
        self, send: Any, friends: tuple[Person, Person, Person], container: Container
    ) -> None:
        ada, bob, eve = friends
        view = await send(ada, bob, body="Hello", mentions=[eve.id, bob.id, 10_000_019, ada.id, bob.id])
        assert view.mentions == [bob.id, ada.id]
        for reader in (ada, bob):
            assert (await container.services.messages.get(reader.actor, view.id)).mentions == [bob.id, ada.id]
