"""How users join groups, and are kept out: invitations, links, requests, bans."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, PathParameter

from messenger.controllers.groups import GroupPath
from messenger.errors import IdempotencyKeyReused, NotFound, PeerNotFound, RateLimited
from messenger.errors.groups import (
    GroupFull,
    InvitationNotFound,
    LinkNotFound,
    LinkUsedUp,
    NotPermitted,
    RankTooLow,
    RequestNotFound,
    TooManyGroups,
    TooManyLinks,
)
from messenger.schemas.admission import (
    BanDraft,
    BanPage,
    BanView,
    DeclineDraft,
    InvitationOutcomes,
    InvitationPage,
    InvitationsDraft,
    JoinDraft,
    JoinedView,
    LinkDraft,
    LinkPage,
    LinkPatch,
    LinkView,
    MembershipView,
    RequestAnswer,
    RequestPage,
)
from messenger.schemas.groups import GroupPreview, GroupView
from messenger.web.parameters import IdCursor, PageLimit, PeerPath
from messenger.web.request import WireRequest
from messenger.web.route_options import authenticated

LinkToken = Annotated[str, PathParameter(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class InvitationController(Controller):
    """Invitations to groups."""

    tags = ("Joining groups",)

    @post(
        "/groups/{group_id:int}/invitations",
        operation_id="inviteToGroup",
        status_code=200,
        summary="Invite users to a group, each with an outcome of its own",
        **authenticated(PeerNotFound, NotPermitted, RateLimited, body=True),
    )
    async def invite(
        self, request: WireRequest, group_id: GroupPath, data: JSONBody[InvitationsDraft]
    ) -> InvitationOutcomes:
        return await request.services.invitations.invite(request.caller, group_id, data)

    @delete(
        "/groups/{group_id:int}/invitations/{user_id:int}",
        operation_id="withdrawInvitation",
        status_code=204,
        summary="Take an invitation back",
        **authenticated(PeerNotFound, query=True),
    )
    async def withdraw(self, request: WireRequest, group_id: GroupPath, user_id: PeerPath) -> None:
        await request.services.invitations.withdraw(request.caller, group_id, user_id)

    @get(
        "/invitations",
        operation_id="listInvitations",
        summary="List your invitations to groups",
        **authenticated(query=True),
    )
    async def list_invitations(
        self, request: WireRequest, limit: PageLimit = 50, cursor: IdCursor = None
    ) -> InvitationPage:
        return await request.services.invitations.list_page(request.caller, after=int(cursor or 0), limit=limit)

    @post(
        "/groups/{group_id:int}/join",
        operation_id="acceptInvitation",
        status_code=200,
        summary="Accept an invitation to a group",
        **authenticated(InvitationNotFound, GroupFull, TooManyGroups, RateLimited, query=True),
    )
    async def accept(self, request: WireRequest, group_id: GroupPath) -> GroupView:
        return await request.services.invitations.accept(request.caller, group_id)

    @post(
        "/groups/{group_id:int}/decline",
        operation_id="declineInvitation",
        status_code=204,
        summary="Decline an invitation to a group",
        **authenticated(NotFound, body=True),
    )
    async def decline(self, request: WireRequest, group_id: GroupPath, data: JSONBody[DeclineDraft]) -> None:
        await request.services.invitations.decline(request.caller, group_id, data)


class LinkController(Controller):
    """Links to groups, and requests to join."""

    tags = ("Joining groups",)

    @post(
        "/groups/{group_id:int}/links",
        operation_id="createLink",
        summary="Create a link for joining a group",
        **authenticated(PeerNotFound, NotPermitted, TooManyLinks, IdempotencyKeyReused, body=True),
    )
    async def create(self, request: WireRequest, group_id: GroupPath, data: JSONBody[LinkDraft]) -> LinkView:
        return await request.services.group_links.create(request.caller, group_id, data, once=await request.once())

    @get(
        "/groups/{group_id:int}/links",
        operation_id="listLinks",
        summary="List the links of a group",
        **authenticated(PeerNotFound, NotPermitted, query=True),
    )
    async def list_links(self, request: WireRequest, group_id: GroupPath) -> LinkPage:
        return await request.services.group_links.list_links(request.caller, group_id)

    @patch(
        "/groups/{group_id:int}/links/{link_id:uuid}",
        operation_id="updateLink",
        summary="Change a link; omitted fields are unchanged",
        **authenticated(PeerNotFound, NotPermitted, LinkNotFound, body=True),
    )
    async def update(
        self, request: WireRequest, group_id: GroupPath, link_id: FromPath[UUID], data: JSONBody[LinkPatch]
    ) -> LinkView:
        return await request.services.group_links.update(request.caller, group_id, link_id, data)

    @delete(
        "/groups/{group_id:int}/links/{link_id:uuid}",
        operation_id="revokeLink",
        status_code=204,
        summary="Revoke a link",
        **authenticated(PeerNotFound, NotPermitted, query=True),
    )
    async def revoke(self, request: WireRequest, group_id: GroupPath, link_id: FromPath[UUID]) -> None:
        await request.services.group_links.revoke(request.caller, group_id, link_id)

    @delete(
        "/groups/{group_id:int}/links",
        operation_id="revokeLinks",
        status_code=204,
        summary="Revoke all links of a group",
        **authenticated(PeerNotFound, NotPermitted, query=True),
    )
    async def revoke_all(self, request: WireRequest, group_id: GroupPath) -> None:
        await request.services.group_links.revoke(request.caller, group_id)

    @get(
        "/links/{token:str}",
        operation_id="getLink",
        summary="Preview the group that a link leads to",
        **authenticated(LinkNotFound, RateLimited, query=True),
    )
    async def preview(self, request: WireRequest, token: LinkToken) -> GroupPreview:
        return await request.services.group_links.preview(request.caller, token)

    @post(
        "/links/{token:str}/join",
        operation_id="joinByLink",
        status_code=200,
        summary="Join a group by a link, or ask to if the link needs an approval",
        **authenticated(LinkNotFound, GroupFull, TooManyGroups, RateLimited, body=True),
    )
    async def join(self, request: WireRequest, token: LinkToken, data: JSONBody[JoinDraft]) -> JoinedView:
        return await request.services.group_links.join(request.caller, token, data)

    @get(
        "/groups/{group_id:int}/requests",
        operation_id="listJoinRequests",
        summary="List the requests to join a group; for moderators",
        **authenticated(PeerNotFound, RankTooLow, query=True),
    )
    async def list_requests(
        self, request: WireRequest, group_id: GroupPath, limit: PageLimit = 50, cursor: IdCursor = None
    ) -> RequestPage:
        return await request.services.group_links.list_requests(
            request.caller, group_id, after=int(cursor or 0), limit=limit
        )

    @post(
        "/groups/{group_id:int}/requests/{user_id:int}",
        operation_id="answerJoinRequest",
        status_code=200,
        summary="Accept or decline a request to join; for moderators",
        **authenticated(PeerNotFound, RankTooLow, RequestNotFound, GroupFull, TooManyGroups, LinkUsedUp, body=True),
    )
    async def answer(
        self, request: WireRequest, group_id: GroupPath, user_id: PeerPath, data: JSONBody[RequestAnswer]
    ) -> MembershipView:
        return await request.services.group_links.answer(request.caller, group_id, user_id, accept=data.accept)

    @delete(
        "/groups/{group_id:int}/requests",
        operation_id="withdrawJoinRequest",
        status_code=204,
        summary="Take back your request to join a group",
        **authenticated(NotFound, query=True),
    )
    async def withdraw(self, request: WireRequest, group_id: GroupPath) -> None:
        await request.services.group_links.withdraw(request.caller, group_id)


class BanController(Controller):
    """Bans from groups."""

    tags = ("Groups",)

    @put(
        "/groups/{group_id:int}/bans/{user_id:int}",
        operation_id="banUser",
        summary="Ban a user from a group; for moderators",
        **authenticated(PeerNotFound, RankTooLow, GroupFull, RateLimited, body=True),
    )
    async def ban(
        self, request: WireRequest, group_id: GroupPath, user_id: PeerPath, data: JSONBody[BanDraft]
    ) -> BanView:
        return await request.services.bans.ban(request.caller, group_id, user_id, data)

    @delete(
        "/groups/{group_id:int}/bans/{user_id:int}",
        operation_id="unbanUser",
        status_code=204,
        summary="End a ban; for moderators",
        **authenticated(PeerNotFound, RankTooLow, query=True),
    )
    async def unban(self, request: WireRequest, group_id: GroupPath, user_id: PeerPath) -> None:
        await request.services.bans.unban(request.caller, group_id, user_id)

    @get(
        "/groups/{group_id:int}/bans",
        operation_id="listBans",
        summary="List the bans of a group; for moderators",
        **authenticated(PeerNotFound, RankTooLow, query=True),
    )
    async def list_bans(
        self, request: WireRequest, group_id: GroupPath, limit: PageLimit = 50, cursor: IdCursor = None
    ) -> BanPage:
        return await request.services.bans.list_page(request.caller, group_id, after=int(cursor or 0), limit=limit)
