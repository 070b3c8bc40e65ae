"""Calls for joining groups: invitations, links and requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import cast
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from messenger.client.calls import Calls
from messenger.client.codec import group_of
from messenger.client.http import Request
from messenger.schemas.admission import (
    DeclineDraft,
    InvitationOutcome,
    InvitationOutcomes,
    InvitationPage,
    InvitationsDraft,
    InvitationView,
    JoinDraft,
    JoinedView,
    LinkDraft,
    LinkPage,
    LinkPatch,
    LinkView,
    MembershipView,
    RequestAnswer,
    RequestPage,
    RequestView,
)
from messenger.schemas.groups import GroupPreview, GroupView
from messenger.schemas.moments import Moment


class AdmissionCalls(Calls):
    """Invite users, join groups, and answer requests to join."""

    async def invite(
        self, group_id: int, user_ids: Iterable[int], *, message: str | None = None
    ) -> list[InvitationOutcome]:
        """Invite up to 100 users, each with an outcome of its own."""
        draft = InvitationsDraft(user_ids=list(user_ids), message=message)
        request = Request(method="POST", path=f"/groups/{group_id}/invitations", body=draft)
        return (await self._http.call(request, InvitationOutcomes)).results

    async def withdraw_invitation(self, group_id: int, user_id: int) -> None:
        """Withdraw an invitation."""
        await self._http.response(Request(method="DELETE", path=f"/groups/{group_id}/invitations/{user_id}"))

    async def invitations(self) -> AsyncIterator[InvitationView]:
        """Iterate over your invitations by ascending id of the group; loads pages on demand."""
        async for page in self._http.pages("/invitations", InvitationPage):
            for invitation in page.items:
                yield invitation

    async def accept_invitation(self, group_id: int) -> GroupView:
        """Accept an invitation. Raises `ApiError`: `invitation_not_found`, `group_full`."""
        return await self._http.call(Request(method="POST", path=f"/groups/{group_id}/join"), GroupView)

    async def decline_invitation(self, group_id: int, *, forever: bool = False) -> None:
        """Decline an invitation. `forever`: receive no further invitation to this group."""
        draft = DeclineDraft(forever=forever)
        await self._http.response(Request(method="POST", path=f"/groups/{group_id}/decline", body=draft))

    # --- links ---

    async def create_link(
        self,
        group_id: int,
        *,
        name: str | None = None,
        expires_at: datetime | UnsetType | None = UNSET,
        max_uses: int | None = None,
        approval: bool = False,
    ) -> LinkView:
        """Create a link for joining. It expires after 7 days by default; with `expires_at` None it never does."""
        # `Moment` is the server's type for times in requests.
        until = cast("Moment | UnsetType | None", expires_at)
        draft = LinkDraft(name=name, expires_at=until, max_uses=max_uses, approval=approval)
        request = Request(method="POST", path=f"/groups/{group_id}/links", body=draft, keyed=True)
        return await self._http.call(request, LinkView)

    async def links(self, group_id: int) -> list[LinkView]:
        """All links of a group."""
        return (await self._http.call(Request(method="GET", path=f"/groups/{group_id}/links"), LinkPage)).items

    async def update_link(
        self,
        group_id: int,
        link_id: UUID,
        *,
        name: str | UnsetType | None = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
        max_uses: int | UnsetType | None = UNSET,
        approval: bool | UnsetType = UNSET,
    ) -> LinkView:
        """Change the fields that are passed."""
        until = cast("Moment | UnsetType | None", expires_at)
        patch = LinkPatch(name=name, expires_at=until, max_uses=max_uses, approval=approval)
        request = Request(method="PATCH", path=f"/groups/{group_id}/links/{link_id}", body=patch)
        return await self._http.call(request, LinkView)

    async def revoke_link(self, group_id: int, link_id: UUID) -> None:
        """Revoke a link."""
        await self._http.response(Request(method="DELETE", path=f"/groups/{group_id}/links/{link_id}"))

    async def revoke_links(self, group_id: int) -> None:
        """Revoke all links of a group."""
        await self._http.response(Request(method="DELETE", path=f"/groups/{group_id}/links"))

    async def link(self, token: str) -> GroupPreview:
        """Preview the group that a link leads to. Raises `ApiError`: `link_not_found`."""
        return await self._http.call(Request(method="GET", path=f"/links/{token}"), GroupPreview)

    async def join_by_link(self, token: str, *, message: str | None = None) -> JoinedView:
        """Join a group by a link, or request to if the link needs an approval; see `membership` of the result."""
        request = Request(method="POST", path=f"/links/{token}/join", body=JoinDraft(message=message))
        joined = await self._http.call(request, JoinedView)
        return msgspec.structs.replace(joined, group=group_of(joined.group))

    # --- requests to join ---

    async def join_requests(self, group_id: int) -> AsyncIterator[RequestView]:
        """Iterate over the requests to join a group by ascending id of the user; for moderators."""
        async for page in self._http.pages(f"/groups/{group_id}/requests", RequestPage):
            for waiting in page.items:
                yield waiting

    async def answer_join_request(self, group_id: int, user_id: int, *, accept: bool) -> MembershipView:
        """Accept or decline a request to join. Raises `ApiError`: `request_not_found`, `group_full`."""
        answer = RequestAnswer(accept=accept)
        request = Request(method="POST", path=f"/groups/{group_id}/requests/{user_id}", body=answer)
        return await self._http.call(request, MembershipView)

    async def withdraw_join_request(self, group_id: int) -> None:
        """Withdraw your request to join a group."""
        await self._http.response(Request(method="DELETE", path=f"/groups/{group_id}/requests"))
