"""Groups, their members, invitations, links, requests, bans and notices on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from messenger.schemas.moments import Moment
from messenger.schemas.types import LINES, PRINTABLE, Password, PeerId, Seq, Timestamp, text_meta
from messenger.schemas.users import About, AvatarView, UserView

GROUP_NAME_LENGTH, TITLE_LENGTH = 100, 16
MAX_INVITED = 100

GroupName = Annotated[str, text_meta(GROUP_NAME_LENGTH, "Reading group", at_least=1, pattern=PRINTABLE)]
Title = Annotated[str, text_meta(TITLE_LENGTH, "Librarian", at_least=1, pattern=PRINTABLE)]

RankName = Literal["member", "moderator", "admin", "owner"]
GivenRank = Literal["member", "moderator", "admin"]
Membership = Literal["member", "invited", "requested", "none"]
Emoji = Annotated[str, Meta(min_length=1, max_length=32, pattern=LINES, examples=["👍"])]
Time = Annotated[
    Moment,
    Meta(
        examples=["2026-11-22T10:15:30.123Z"],
        extra_json_schema={"type": "string", "format": "date-time"},
    ),
]
_Seconds = Annotated[int, Meta(ge=0, le=10 * 365 * 86400)]


class PermissionsView(msgspec.Struct, frozen=True, gc=False):
    """For each permission the lowest rank that has it."""

    post: RankName
    attach: RankName
    poll: RankName
    react: RankName
    thread: RankName
    pin: RankName
    mention_all: Annotated[RankName, Meta(description="In groups of up to 15 members, everyone has it")]
    invite: RankName
    link: RankName
    info: Annotated[RankName, Meta(description="Name, about, avatar and `expire_after`")]


class PermissionsPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    post: RankName | UnsetType = UNSET
    attach: RankName | UnsetType = UNSET
    poll: RankName | UnsetType = UNSET
    react: RankName | UnsetType = UNSET
    thread: RankName | UnsetType = UNSET
    pin: RankName | UnsetType = UNSET
    mention_all: RankName | UnsetType = UNSET
    invite: RankName | UnsetType = UNSET
    link: RankName | UnsetType = UNSET
    info: RankName | UnsetType = UNSET


class ReactionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which reactions a group allows; null: all."""

    allowed: Annotated[list[Emoji], Meta(max_length=50)] | None = None
    per_user: Annotated[int, Meta(ge=0, le=5)] = 3


class ReactionRuleView(msgspec.Struct, frozen=True, gc=False):
    """Which reactions a group allows; null: all."""

    allowed: list[Emoji] | None
    per_user: int


class GroupSettingsView(msgspec.Struct, frozen=True, gc=False):
    history: Annotated[
        Literal["none", "recent", "all"],
        Meta(description="What new members see of earlier messages: none, the last 100, or all; fixed when they join"),
    ]
    slow_mode: Annotated[int, Meta(description="Seconds between two messages of a member; moderators are exempt")]
    notices: Annotated[
        Literal["all", "important", "none"], Meta(description="`important`: without joining and leaving")
    ]
    members_visible: Annotated[Literal["members", "moderators"], Meta(description="Who may list the members")]
    reactions: ReactionRuleView
    edit_window: Annotated[int | None, Meta(description="Seconds in which senders may edit; null: always")]
    delete_window: Annotated[
        int | None, Meta(description="Seconds in which senders may delete for everyone; null: always")
    ]
    edit_history: Literal["members", "moderators", "nobody"]
    expire_after: Annotated[int | None, Meta(description="New messages expire after this many seconds; null: never")]


class GroupSettingsPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    history: Literal["none", "recent", "all"] | UnsetType = UNSET
    slow_mode: Annotated[int, Meta(ge=0, le=21_600)] | UnsetType = UNSET
    notices: Literal["all", "important", "none"] | UnsetType = UNSET
    members_visible: Literal["members", "moderators"] | UnsetType = UNSET
    reactions: ReactionRule | UnsetType = UNSET
    edit_window: _Seconds | UnsetType | None = UNSET
    delete_window: _Seconds | UnsetType | None = UNSET
    edit_history: Literal["members", "moderators", "nobody"] | UnsetType = UNSET
    expire_after: Annotated[int, Meta(ge=1, le=10 * 365 * 86400)] | UnsetType | None = UNSET


class OwnMembershipView(msgspec.Struct, frozen=True, gc=False):
    """You as a member of the group."""

    membership: Membership
    role: RankName
    title: str | None
    joined_at: Timestamp
    visible_from: Annotated[Seq, Meta(description="You see the messages from this number on")]
    muted_until: Annotated[Timestamp | None, Meta(description="Until then you cannot send, by a moderator")]
    slow_until: Annotated[Timestamp | None, Meta(description="Until then you cannot send, by the slow mode")]


class GroupView(msgspec.Struct, frozen=True, gc=False):
    id: PeerId
    kind: Literal["group"]
    name: str
    about: str
    avatar: AvatarView | None
    owner_id: PeerId
    member_count: int
    version: Annotated[int, Meta(description="Advances with every change of the group or its members; the `ETag`")]
    encrypted: bool
    protected: Annotated[bool, Meta(description="Whether the server refuses to forward messages out of the group")]
    large: Annotated[bool, Meta(description="Whether the group has ever had more than 200 members")]
    permissions: PermissionsView
    settings: GroupSettingsView
    created_at: Timestamp
    me: OwnMembershipView


class GroupPreview(msgspec.Struct, frozen=True, gc=False):
    """A group as users see it who are not members."""

    id: PeerId
    kind: Literal["group"]
    name: str
    about: str
    avatar: AvatarView | None
    member_count: int
    encrypted: bool
    approval: Annotated[bool, Meta(description="Whether joining by this link needs the approval of a moderator")]
    membership: Membership


class GroupPage(msgspec.Struct, frozen=True, gc=False):
    items: list[GroupView]
    next: str | None


class MemberView(msgspec.Struct, frozen=True, gc=False):
    user: UserView
    role: RankName
    title: str | None
    joined_at: Timestamp | None
    invited_by: PeerId | None
    muted_until: Timestamp | None


class MemberPage(msgspec.Struct, frozen=True, gc=False):
    items: Annotated[list[MemberView], Meta(description="By descending rank, then by ascending ID")]
    next: str | None


class NoticeView(msgspec.Struct, frozen=True, gc=False, rename={"before": "from", "after": "to"}):
    """Something that happened in the group, to be shown after the message `after_seq`. It is not a message."""

    id: UUID
    after_seq: Seq
    at: Timestamp
    actor_id: PeerId | None
    action: str
    user_id: PeerId | None
    before: Any
    after: Any


class LoggedNoticeView(NoticeView, frozen=True, gc=False, rename={"before": "from", "after": "to"}):
    """A notice with its reason, for moderators."""

    reason: str | None


class LogPage(msgspec.Struct, frozen=True, gc=False):
    items: Annotated[list[LoggedNoticeView], Meta(description="Latest first")]
    next: str | None


InvitedIds = Annotated[list[PeerId], Meta(max_length=MAX_INVITED, examples=[[26040983]])]


class GroupDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: GroupName
    kind: Literal["group"] = "group"
    about: About = ""
    encrypted: bool = False
    protected: bool = False
    permissions: PermissionsPatch = PermissionsPatch()
    settings: GroupSettingsPatch = GroupSettingsPatch()
    invite: InvitedIds = []


class GroupPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: GroupName | UnsetType = UNSET
    about: About | UnsetType = UNSET
    protected: bool | UnsetType = UNSET
    permissions: PermissionsPatch | UnsetType = UNSET
    settings: GroupSettingsPatch | UnsetType = UNSET


class MemberPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    role: RankName | UnsetType = UNSET
    title: Title | UnsetType | None = UNSET
    muted_until: Time | UnsetType | None = UNSET


class TransferDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    user_id: PeerId
    password: Password


class LeaveDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    successor_id: PeerId | None = None


class GroupDeletionDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    password: Password
