"""Decide which of two states is newer when responses arrive out of order."""

from __future__ import annotations

from collections.abc import Mapping

from messenger.schemas.messages import MessageView
from messenger.schemas.users import StatusView


def supersedes(message: MessageView, known: MessageView, *, from_event: bool) -> bool:
    """Whether `message` is newer than `known`: a page may have been read before an edit that is already known."""
    if known.deleted_at is not None or message.deleted_at is not None:
        return message.deleted_at is not None
    if message.edited_at == known.edited_at:
        # Events arrive in order; edit times are truncated to milliseconds.
        return from_event
    return (message.edited_at or "") > (known.edited_at or "")


def with_signals(
    loaded: dict[int, StatusView], *, current: Mapping[int, StatusView], before: Mapping[int, StatusView]
) -> dict[int, StatusView]:
    """Loaded statuses, except those that a signal has changed since `before`, when they were requested."""
    changed = {user_id for user_id in {*current, *before} if current.get(user_id) is not before.get(user_id)}
    kept = {user_id: status for user_id, status in loaded.items() if user_id not in changed}
    return kept | {user_id: current[user_id] for user_id in changed if user_id in current}
