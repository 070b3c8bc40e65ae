"""Users, profiles, contacts and statuses on the wire."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from messenger.schemas.address import ADDRESS
from messenger.schemas.text import ABOUT_LENGTH, REQUEST_LENGTH, STATUS_LENGTH
from messenger.schemas.types import (
    Alias,
    AnyContactState,
    AudienceName,
    ContactState,
    Name,
    PeerId,
    StatusName,
    Timestamp,
    Username,
    text_meta,
)

About = Annotated[str, text_meta(ABOUT_LENGTH, "Poet of numbers")]
StatusText = Annotated[str, text_meta(STATUS_LENGTH, "Reading")]
RequestText = Annotated[str, text_meta(REQUEST_LENGTH, "It's Ada, from the reading group")]


class AvatarView(msgspec.Struct, frozen=True, gc=False):
    key: str
    url: str
    thumb_url: str
    width: int
    height: int
    placeholder: Annotated[str, Meta(description="ThumbHash of the image, base64")]

    @classmethod
    def of(cls, key: str, width: int, height: int, placeholder: str) -> AvatarView:
        """An avatar with its URLs."""
        url = f"{ADDRESS.base}/avatars/{key}"
        return cls(key, url, f"{url}_thumb", width, height, placeholder)


class UploadedAvatarView(msgspec.Struct, frozen=True, gc=False):
    avatar: AvatarView


class UserView(msgspec.Struct, frozen=True, gc=False):
    id: PeerId
    username: Annotated[str | None, Meta(description="null if the account was erased")]
    name: str
    avatar: AvatarView | None


MAX_USERS = 100


class UsersView(msgspec.Struct, frozen=True, gc=False):
    items: list[UserView]


class PrivacyView(msgspec.Struct, frozen=True, gc=False):
    last_seen: AudienceName
    avatar: AudienceName
    messages_from: AudienceName
    calls_from: AudienceName
    groups_from: Annotated[AudienceName, Meta(description="Who may invite you to groups")]
    receipts: Annotated[AudienceName, Meta(description="Who learns how far you have read")]
    forwards: Annotated[AudienceName, Meta(description="In whose view forwards of your messages name you")]


class ProfileView(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    id: PeerId
    username: str
    name: str
    about: str
    avatar: AvatarView | None
    status: StatusName
    status_text: str
    last_activity: Timestamp
    created_at: Timestamp
    privacy: PrivacyView


class PrivacyPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    last_seen: AudienceName | UnsetType = UNSET
    avatar: AudienceName | UnsetType = UNSET
    messages_from: AudienceName | UnsetType = UNSET
    calls_from: AudienceName | UnsetType = UNSET
    groups_from: AudienceName | UnsetType = UNSET
    receipts: AudienceName | UnsetType = UNSET
    forwards: AudienceName | UnsetType = UNSET


class ProfilePatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Name | UnsetType = UNSET
    about: About | UnsetType = UNSET
    status: StatusName | UnsetType = UNSET
    status_text: StatusText | UnsetType = UNSET
    username: Username | UnsetType = UNSET
    privacy: PrivacyPatch | UnsetType = UNSET


AutoJoinName = Literal["nobody", "contacts"]
_AUTO_JOIN = "Whose invitations make you a member of a group at once"


class SettingsView(msgspec.Struct, frozen=True, gc=False):
    auto_join: Annotated[AutoJoinName, Meta(description=_AUTO_JOIN)]


class SettingsPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    auto_join: Annotated[AutoJoinName, Meta(description=_AUTO_JOIN)] | UnsetType = UNSET


class PersonView(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Another user, as their privacy settings show them to you."""

    id: PeerId
    username: str | None
    name: str
    avatar: AvatarView | None
    about: str
    status: StatusName | None
    status_text: str | None
    online: bool
    last_activity: Timestamp | None
    contact: Annotated[AnyContactState, Meta(description="Your relation to this user")]


class ContactView(msgspec.Struct, frozen=True, gc=False):
    user: UserView
    state: ContactState
    alias: str | None
    message: Annotated[str | None, Meta(description="Message sent with the contact request")]
    since: Timestamp


class ContactPage(msgspec.Struct, frozen=True, gc=False):
    items: list[ContactView]
    next: str | None


class StatusView(msgspec.Struct, frozen=True, gc=False):
    user_id: PeerId
    status: StatusName
    status_text: str
    online: bool
    last_activity: Timestamp | None


MAX_STATUSES = 1000


class StatusesView(msgspec.Struct, frozen=True, gc=False):
    items: list[StatusView]
    next: str | None


class SubscribeDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    target_id: PeerId
    message: RequestText | None = None


class ConfirmDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    target_id: PeerId
    accept: bool = True


class TargetDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    target_id: PeerId


class AliasDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    alias: Alias | UnsetType | None = UNSET


class RelationView(msgspec.Struct, frozen=True, gc=False):
    target_id: PeerId
    state: AnyContactState
