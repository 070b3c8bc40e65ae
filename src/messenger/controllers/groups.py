"""Groups and their members."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from litestar import Controller, delete, get, patch, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from messenger.errors import (
    CannotTargetSelf,
    IdempotencyKeyReused,
    InvalidCredentials,
    PeerNotFound,
    RateLimited,
    VersionConflict,
)
from messenger.errors.groups import (
    GroupFull,
    MemberNotFound,
    NotPermitted,
    RankTooLow,
    SuccessorNeeded,
    TooManyGroups,
)
from messenger.schemas.admission import CreatedGroupView
from messenger.schemas.groups import (
    GroupDeletionDraft,
    GroupDraft,
    GroupPage,
    GroupPatch,
    GroupPreview,
    GroupView,
    LeaveDraft,
    LogPage,
    MemberPage,
    MemberPatch,
    MemberView,
    RankName,
    TransferDraft,
)
from messenger.web.parameters import IdCursor, PageLimit, PeerPath, name_parameter
from messenger.web.request import WireRequest, entity_tag
from messenger.web.responses import WireResponse
from messenger.web.route_options import authenticated

GroupPath = Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="ID of the group")]
MemberCursor = Annotated[
    str | None,
    QueryParameter(pattern=r"^([0-3]\.)?[0-9]{1,16}$", description="`next` from the previous page"),
]
LogCursor = Annotated[UUID | None, QueryParameter(name="cursor", description="`next` from the previous page")]


class GroupController(Controller):
    """Groups."""

    tags = ("Groups",)

    @post(
        "/groups",
        operation_id="createGroup",
        summary="Create a group, which you own",
        **authenticated(TooManyGroups, IdempotencyKeyReused, RateLimited, body=True),
    )
    async def create(self, request: WireRequest, data: JSONBody[GroupDraft]) -> CreatedGroupView:
        return await request.services.groups.create(request.caller, data, once=await request.once())

    @get("/groups", operation_id="listGroups", summary="List your groups", **authenticated(query=True))
    async def list_groups(self, request: WireRequest, limit: PageLimit = 50, cursor: IdCursor = None) -> GroupPage:
        return await request.services.groups.list_page(request.caller, after=int(cursor or 0), limit=limit)

    @get(
        "/groups/{group_id:int}",
        operation_id="getGroup",
        summary="Get a group, or the preview of one that you are invited to",
        **authenticated(PeerNotFound, query=True),
    )
    async def get_group(self, request: WireRequest, group_id: GroupPath) -> WireResponse[GroupView | GroupPreview]:
        group = await request.services.groups.get(request.caller, group_id)
        tag = {"ETag": entity_tag(group.version)} if isinstance(group, GroupView) else {}
        return WireResponse(group, headers=tag)

    @patch(
        "/groups/{group_id:int}",
        operation_id="updateGroup",
        summary="Update a group; omitted fields are unchanged, `If-Match` prevents lost updates",
        **authenticated(PeerNotFound, NotPermitted, RankTooLow, VersionConflict, body=True),
    )
    async def update(
        self, request: WireRequest, group_id: GroupPath, data: JSONBody[GroupPatch]
    ) -> WireResponse[GroupView]:
        group = await request.services.groups.update(
            request.caller, group_id, data, expected=request.expected_versions()
        )
        return WireResponse(group, headers={"ETag": entity_tag(group.version)})

    @post(
        "/groups/{group_id:int}/transfer",
        operation_id="transferGroup",
        status_code=200,
        summary="Make another member the owner; you become an admin",
        **authenticated(
            PeerNotFound, InvalidCredentials, RankTooLow, MemberNotFound, CannotTargetSelf, RateLimited, body=True
        ),
    )
    async def transfer(self, request: WireRequest, group_id: GroupPath, data: JSONBody[TransferDraft]) -> GroupView:
        return await request.services.ownership.transfer(request.caller, group_id, data)

    @post(
        "/groups/{group_id:int}/leave",
        operation_id="leaveGroup",
        status_code=204,
        summary="Leave a group; the last member deletes it",
        **authenticated(MemberNotFound, body=True),
    )
    async def leave(self, request: WireRequest, group_id: GroupPath, data: JSONBody[LeaveDraft]) -> None:
        await request.services.ownership.leave(request.caller, group_id, data)

    @delete(
        "/groups/{group_id:int}",
        operation_id="deleteGroup",
        status_code=204,
        summary="Delete a group that you own",
        **authenticated(PeerNotFound, InvalidCredentials, RankTooLow, RateLimited, body=True),
    )
    async def delete_group(self, request: WireRequest, group_id: GroupPath, data: JSONBody[GroupDeletionDraft]) -> None:
        await request.services.ownership.delete(request.caller, group_id, data)

    @get(
        "/groups/{group_id:int}/log",
        operation_id="getGroupLog",
        summary="List what has happened in a group, latest first; for moderators",
        **authenticated(PeerNotFound, RankTooLow, query=True),
    )
    async def log(
        self, request: WireRequest, group_id: GroupPath, limit: PageLimit = 50, before: LogCursor = None
    ) -> LogPage:
        return await request.services.groups.log(request.caller, group_id, before=before, limit=limit)


class MemberController(Controller):
    """Members of groups."""

    tags = ("Groups",)

    @get(
        "/groups/{group_id:int}/members",
        operation_id="listMembers",
        summary="List the members of a group by rank, or the invited users",
        **authenticated(PeerNotFound, NotPermitted, query=True),
    )
    async def list_members(
        self,
        request: WireRequest,
        group_id: GroupPath,
        role: Annotated[RankName | None, QueryParameter(description="Only members of this rank")] = None,
        wanted: Annotated[
            Literal["invited"] | None,
            QueryParameter(name="state", description="`invited`: users with an open invitation"),
        ] = None,
        beginning: Annotated[
            str | None,
            QueryParameter(
                name="query",
                min_length=1,
                max_length=20,
                description="The beginning of a username, or of a word of a name",
            ),
        ] = None,
        limit: PageLimit = 50,
        cursor: MemberCursor = None,
    ) -> MemberPage:
        rank, _, last = (cursor or "").rpartition(".")
        if wanted == "invited":
            return await request.services.members.list_invited(
                request.caller, group_id, after=int(last or 0), limit=limit
            )
        # Members come by descending rank; the page begins with the owner.
        after = (-int(rank or 0), int(last)) if last else (-4, 0)
        return await request.services.members.list_page(
            request.caller,
            group_id,
            after=after,
            role=role,
            query=name_parameter(request, "query", beginning),
            limit=limit,
        )

    @get(
        "/groups/{group_id:int}/members/{user_id:int}",
        operation_id="getMember",
        summary="Get a member of a group",
        **authenticated(PeerNotFound, MemberNotFound, NotPermitted, query=True),
    )
    async def get_member(self, request: WireRequest, group_id: GroupPath, user_id: PeerPath) -> MemberView:
        return await request.services.members.get(request.caller, group_id, user_id)

    @patch(
        "/groups/{group_id:int}/members/{user_id:int}",
        operation_id="updateMember",
        summary="Change the rank, the title or the mute of a member",
        **authenticated(PeerNotFound, MemberNotFound, RankTooLow, SuccessorNeeded, GroupFull, RateLimited, body=True),
    )
    async def update_member(
        self, request: WireRequest, group_id: GroupPath, user_id: PeerPath, data: JSONBody[MemberPatch]
    ) -> MemberView:
        return await request.services.members.update(request.caller, group_id, user_id, data)

    @delete(
        "/groups/{group_id:int}/members/{user_id:int}",
        operation_id="removeMember",
        status_code=204,
        summary="Remove a member from a group",
        **authenticated(PeerNotFound, RankTooLow, RateLimited, query=True),
    )
    async def remove_member(
        self,
        request: WireRequest,
        group_id: GroupPath,
        user_id: PeerPath,
        messages: Annotated[
            Literal["none", "day", "all"], QueryParameter(description="Which of the user's messages to delete")
        ] = "none",
    ) -> None:
        await request.services.members.remove(request.caller, group_id, user_id, messages=messages)
