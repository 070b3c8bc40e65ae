"""How users join groups, and are kept out: invitations, links, requests and bans on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from messenger.schemas.groups import GroupPreview, GroupView, Membership, Time
from messenger.schemas.types import PRINTABLE, PeerId, Timestamp, one_of, text_meta
from messenger.schemas.users import RequestText, UserView

REASON_LENGTH, LINK_NAME_LENGTH = 200, 32
MAX_INVITED = 100

Reason = Annotated[str, text_meta(REASON_LENGTH, "Advertising")]
LinkName = Annotated[str, text_meta(LINK_NAME_LENGTH, "Poster at the door", at_least=1, pattern=PRINTABLE)]


_Uses = Annotated[int, Meta(ge=1, le=99_999, examples=[10])]

Outcome = Literal[
    "invited",
    "joined",
    "already_member",
    "banned",
    "not_a_contact",
    "peer_not_found",
    "group_full",
    "rate_limited",
]


class InvitationOutcome(msgspec.Struct, frozen=True, gc=False):
    user_id: PeerId
    outcome: Outcome


class InvitationOutcomes(msgspec.Struct, frozen=True, gc=False):
    results: list[InvitationOutcome]


class CreatedGroupView(msgspec.Struct, frozen=True, gc=False):
    group: GroupView
    results: list[InvitationOutcome]


class InvitationsDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    user_ids: Annotated[list[PeerId], Meta(min_length=1, max_length=MAX_INVITED, examples=[[26040983]])]
    message: RequestText | None = None


class InvitationView(msgspec.Struct, frozen=True, gc=False):
    group: GroupPreview
    inviter: UserView
    message: str | None
    at: Timestamp


class InvitationPage(msgspec.Struct, frozen=True, gc=False):
    items: list[InvitationView]
    next: str | None


class DeclineDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    forever: Annotated[bool, Meta(description="Receive no further invitation to this group")] = False


class BanDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    until: Annotated[Time | None, Meta(description="null: without an end")] = None
    reason: Reason | None = None
    messages: Annotated[Literal["none", "day", "all"], Meta(description="Which of the user's messages to delete")] = (
        "none"
    )


class BanView(msgspec.Struct, frozen=True, gc=False):
    user: UserView
    by: PeerId
    reason: str | None
    until: Timestamp | None
    at: Timestamp


class BanPage(msgspec.Struct, frozen=True, gc=False):
    items: list[BanView]
    next: str | None


class LinkDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: LinkName | None = None
    expires_at: Annotated[Time | UnsetType | None, Meta(description="null: never; 7 days by default")] = UNSET
    max_uses: _Uses | None = None
    approval: bool = False


class LinkPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: LinkName | UnsetType | None = UNSET
    expires_at: Time | UnsetType | None = UNSET
    max_uses: _Uses | UnsetType | None = UNSET
    approval: bool | UnsetType = UNSET


class LinkView(msgspec.Struct, frozen=True, gc=False):
    id: UUID
    token: str
    name: str | None
    approval: bool
    created_by: PeerId
    created_at: Timestamp
    expires_at: Timestamp | None
    max_uses: int | None
    uses: Annotated[int, Meta(description="Members that this link has admitted")]
    pending: Annotated[int, Meta(description="Requests by this link that wait for an answer")]


class LinkPage(msgspec.Struct, frozen=True, gc=False):
    items: list[LinkView]
    next: str | None


class JoinDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    message: RequestText | None = None


class JoinedView(msgspec.Struct, frozen=True, gc=False):
    """`group`: as `membership` says, a member's view or a preview; msgspec has no unions of untagged structs."""

    membership: Literal["member", "requested"]
    group: Annotated[
        Any,
        Meta(
            description="The group if you are a member now, else its preview",
            extra_json_schema=one_of(GroupView, GroupPreview),
        ),
    ]


class RequestAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    accept: bool


class MembershipView(msgspec.Struct, frozen=True, gc=False):
    membership: Membership


class RequestView(msgspec.Struct, frozen=True, gc=False):
    user: UserView
    message: str | None
    at: Timestamp


class RequestPage(msgspec.Struct, frozen=True, gc=False):
    items: list[RequestView]
    next: str | None
