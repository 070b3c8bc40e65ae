"""Gone messages: the count and the last message of the conversation change for readers who could see them."""

from __future__ import annotations

from collections.abc import Sequence

from messenger.events import ConversationUpdated
from messenger.repositories.gone import GoneRow
from messenger.unit_of_work import UnitOfWork


def record_gone(uow: UnitOfWork, rows: Sequence[GoneRow]) -> None:
    """Record `conversation.updated` for each user whose view of a conversation changed."""
    for row in rows:
        if row.user_id is not None and row.target_id is not None:
            uow.record(ConversationUpdated(row.target_id), [row.user_id])
