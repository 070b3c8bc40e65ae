"""Accounts, devices and tokens on the wire."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from messenger.schemas.types import PRINTABLE, Name, Password, PeerId, Timestamp, Token, Username
from messenger.schemas.users import UserView

DeviceName = Annotated[
    str,
    Meta(description="Shortened to 64 characters, without control characters", examples=["Ada's phone"]),
]


class Draft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request body; unknown fields are refused."""


class RegisterDraft(Draft, frozen=True):
    username: Username
    password: Password
    name: Name
    device_name: DeviceName | None = None


class LoginDraft(Draft, frozen=True):
    login: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            pattern=PRINTABLE,
            description="A username or a user ID",
            examples=["ada", "26040983"],
        ),
    ]
    password: Password
    device_name: DeviceName | None = None


class RefreshDraft(Draft, frozen=True):
    refresh_token: Token


class PasswordDraft(Draft, frozen=True):
    old_password: Password
    new_password: Password


class EraseDraft(Draft, frozen=True):
    password: Password


class TokensView(msgspec.Struct, frozen=True, kw_only=True):
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Meta(description="Lifetime of the access token in seconds")]


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    created_at: Timestamp
    last_activity: Timestamp
    current: Annotated[bool, Meta(description="True for the device that makes this request")]


class SignedInView(msgspec.Struct, frozen=True, kw_only=True):
    user: UserView
    device: DeviceView
    tokens: TokensView


class RefreshedView(msgspec.Struct, frozen=True, kw_only=True):
    tokens: TokensView


class DevicePage(msgspec.Struct, frozen=True, kw_only=True):
    items: list[DeviceView]
    next: str | None


class AccountView(msgspec.Struct, frozen=True):
    """An account as the operator sees it."""

    id: int
    username: str | None
    name: str
    created_at: Timestamp
    last_activity: Timestamp
    disabled_at: Timestamp | None
    deleted_at: Timestamp | None


__all__ = [
    "AccountView",
    "DeviceName",
    "DevicePage",
    "DeviceView",
    "Draft",
    "EraseDraft",
    "LoginDraft",
    "PasswordDraft",
    "PeerId",
    "RefreshDraft",
    "RefreshedView",
    "RegisterDraft",
    "SignedInView",
    "TokensView",
]
