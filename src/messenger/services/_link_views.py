"""Links and requests to join, as the API shows them."""

from __future__ import annotations

from messenger.repositories.group_links import LinkRow, RequestRow, ShownLinkRow
from messenger.schemas.admission import LinkView, RequestView
from messenger.schemas.groups import GroupPreview, Membership
from messenger.schemas.types import timestamp, timestamp_or_none
from messenger.services._avatar_views import avatar_view
from messenger.services._views import user_view


def link_preview(row: LinkRow, *, requested: bool = False) -> GroupPreview:
    """The group of a link as a user sees it who is not a member."""
    membership: Membership = "member" if row.is_member else "invited" if row.invited else "none"
    if membership == "none" and (requested or row.requested):
        membership = "requested"
    return GroupPreview(
        row.group_id,
        "group",
        row.group_name,
        row.about,
        avatar_view(row.avatar),
        row.member_count,
        row.encrypted,
        row.approval,
        membership,
    )


def link_view(row: ShownLinkRow) -> LinkView:
    return LinkView(
        row.id,
        row.token,
        row.name,
        row.approval,
        row.created_by,
        timestamp(row.created_at),
        timestamp_or_none(row.expires_at),
        row.max_uses,
        row.uses,
        row.pending,
    )


def request_view(row: RequestRow) -> RequestView:
    return RequestView(user_view(row.user), row.message, timestamp(row.at))
