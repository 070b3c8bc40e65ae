"""Drafts of messages, and how sending them is refused."""

from __future__ import annotations

from typing import Any

from messenger.container import Container
from messenger.errors import MessengerError
from messenger.schemas.messages import MessageDraft
from messenger.testing import Person


def draft_to(target: Person, client_id: str = "one", body: str = "Hello", **more: Any) -> MessageDraft:
    """A draft of a message to this user."""
    return MessageDraft(target_id=target.id, client_id=client_id, body=body, **more)


async def refusal(container: Container, sender: Person, draft: MessageDraft) -> type[MessengerError] | None:
    """The error that sending this draft raises, if any."""
    try:
        await container.services.messages.send(sender.actor, draft)
    except MessengerError as error:
        return type(error)
    return None
