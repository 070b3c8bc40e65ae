"""Avatars as they are shown."""

from __future__ import annotations

from messenger.repositories.user_rows import AvatarRow
from messenger.schemas.users import AvatarView


def avatar_view(row: AvatarRow | None) -> AvatarView | None:
    """An avatar, or null."""
    if row is None:
        return None
    return AvatarView.of(row.avatar_key, row.avatar_width, row.avatar_height, row.avatar_placeholder)
