"""Views made of columns that several statements return alike."""

from __future__ import annotations

from typing import Protocol

from messenger.schemas.users import AvatarView


class AvatarColumns(Protocol):
    @property
    def avatar_key(self) -> str | None: ...
    @property
    def avatar_width(self) -> int | None: ...
    @property
    def avatar_height(self) -> int | None: ...
    @property
    def avatar_placeholder(self) -> str | None: ...


def avatar_view(row: AvatarColumns) -> AvatarView | None:
    """The avatar of a row, or null."""
    return AvatarView.of(row.avatar_key, row.avatar_width, row.avatar_height, row.avatar_placeholder)
