"""Names of conversations in the histories that the recorder keeps."""

from __future__ import annotations

Pair = tuple[int, int]
"""A conversation: the ids of two users in ascending order, or `DATABASE` and the id of a group."""

DATABASE = 0
"""The user of a view of the stored messages of groups. Every other view has the part that its user was a member for."""


def pair(one: int, other: int) -> Pair:
    """The conversation of two users."""
    return min(one, other), max(one, other)


def group(group_id: int) -> Pair:
    """The conversation of a group."""
    return DATABASE, group_id
