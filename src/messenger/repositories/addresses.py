"""How the members of a conversation address it."""

from __future__ import annotations

from collections.abc import Sequence


def by_target(users: Sequence[int], targets: Sequence[int]) -> dict[int, list[int]]:
    """The users by the ID with which they address a conversation: that of the other user, or of the group."""
    grouped: dict[int, list[int]] = {}
    for user, target in zip(users, targets, strict=True):
        grouped.setdefault(target, []).append(user)
    return grouped
