"""Calls for groups, their members and bans."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any, Literal, cast

from msgspec import UNSET, UnsetType

from messenger.client.calls import Calls
from messenger.client.codec import group_of
from messenger.client.http import Request
from messenger.schemas.admission import BanDraft, BanPage, BanView, CreatedGroupView
from messenger.schemas.groups import (
    GroupDeletionDraft,
    GroupDraft,
    GroupPage,
    GroupPatch,
    GroupPreview,
    GroupSettingsPatch,
    GroupView,
    LeaveDraft,
    LoggedNoticeView,
    LogPage,
    MemberPage,
    MemberPatch,
    MemberView,
    PermissionsPatch,
    RankName,
    TransferDraft,
)
from messenger.schemas.moments import Moment
from messenger.schemas.users import AvatarView, UploadedAvatarView


class GroupCalls(Calls):
    """Groups and their members. Messages, history and receipts take the id of a group as `target_id`."""

    async def create_group(
        self,
        name: str,
        *,
        about: str = "",
        encrypted: bool = False,
        protected: bool = False,
        permissions: PermissionsPatch | None = None,
        settings: GroupSettingsPatch | None = None,
        invite: Iterable[int] = (),
    ) -> CreatedGroupView:
        """Create a group, which you own, and invite users. Raises `ApiError`: `too_many_groups`."""
        draft = GroupDraft(
            name=name,
            about=about,
            encrypted=encrypted,
            protected=protected,
            permissions=permissions or PermissionsPatch(),
            settings=settings or GroupSettingsPatch(),
            invite=list(invite),
        )
        return await self._http.call(Request(method="POST", path="/groups", body=draft, keyed=True), CreatedGroupView)

    async def groups(self) -> AsyncIterator[GroupView]:
        """Iterate over your groups by ascending id; loads pages on demand."""
        async for page in self._http.pages("/groups", GroupPage):
            for group in page.items:
                yield group

    async def group(self, group_id: int) -> GroupView | GroupPreview:
        """Get a group; its preview if you are invited to it. Raises `ApiError`: `peer_not_found`."""
        return group_of(await self._http.call(Request(method="GET", path=f"/groups/{group_id}"), dict[str, Any]))

    async def update_group(self, group_id: int, patch: GroupPatch, *, version: int | None = None) -> GroupView:
        """Change the fields that are set in the patch.

        `version`: the version that the change is based on. Raises `ApiError`: `version_conflict` if the group has
        another one by now.
        """
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        # Repeated after a lost response, it would conflict with itself.
        path, repeatable = f"/groups/{group_id}", version is None
        request = Request(method="PATCH", path=path, body=patch, headers=headers, repeatable=repeatable)
        return await self._http.call(request, GroupView)

    async def upload_group_avatar(self, group_id: int, image: bytes) -> AvatarView:
        """Replace the avatar of a group with a JPEG, PNG, WebP or GIF image."""
        request = Request(method="POST", path=f"/groups/{group_id}/avatar", file=image, keyed=True)
        return (await self._http.call(request, UploadedAvatarView)).avatar

    async def remove_group_avatar(self, group_id: int) -> None:
        """Delete the avatar of a group."""
        await self._http.response(Request(method="DELETE", path=f"/groups/{group_id}/avatar"))

    async def transfer_group(self, group_id: int, user_id: int, password: str) -> GroupView:
        """Make another member the owner; you become an admin. Takes your password."""
        draft = TransferDraft(user_id=user_id, password=password)
        request = Request(method="POST", path=f"/groups/{group_id}/transfer", body=draft, repeatable=False)
        return await self._http.call(request, GroupView)

    async def leave_group(self, group_id: int, *, successor_id: int | None = None) -> None:
        """Leave a group. `successor_id`: who owns it after its owner has left; the server chooses by default."""
        draft = LeaveDraft(successor_id=successor_id)
        await self._http.response(Request(method="POST", path=f"/groups/{group_id}/leave", body=draft))

    async def delete_group(self, group_id: int, password: str) -> None:
        """Delete a group that you own. Takes your password."""
        draft = GroupDeletionDraft(password=password)
        await self._http.response(Request(method="DELETE", path=f"/groups/{group_id}", body=draft, repeatable=False))

    async def group_log(self, group_id: int) -> AsyncIterator[LoggedNoticeView]:
        """Iterate over what has happened in a group, latest first; for moderators."""
        async for page in self._http.pages(f"/groups/{group_id}/log", LogPage):
            for notice in page.items:
                yield notice

    # --- members ---

    async def members(
        self,
        group_id: int,
        *,
        role: RankName | None = None,
        state: Literal["invited"] | None = None,
        query: str | None = None,
    ) -> AsyncIterator[MemberView]:
        """Iterate over members by descending rank; `state="invited"`: over users with an open invitation.

        `query`: the beginning of a username, or of a word of a name.
        """
        filters = {name: value for name, value in (("role", role), ("state", state), ("query", query)) if value}
        async for page in self._http.pages(f"/groups/{group_id}/members", MemberPage, filters):
            for member in page.items:
                yield member

    async def member(self, group_id: int, user_id: int) -> MemberView:
        """Get a member. Raises `ApiError`: `member_not_found`."""
        return await self._http.call(Request(method="GET", path=f"/groups/{group_id}/members/{user_id}"), MemberView)

    async def update_member(
        self,
        group_id: int,
        user_id: int,
        *,
        role: RankName | UnsetType = UNSET,
        title: str | UnsetType | None = UNSET,
        muted_until: datetime | UnsetType | None = UNSET,
    ) -> MemberView:
        """Change the rank, the title or the mute of a member. Raises `ApiError`: `rank_too_low`."""
        # `Moment` is the server's type for times in requests.
        patch = MemberPatch(role=role, title=title, muted_until=cast("Moment | UnsetType | None", muted_until))
        request = Request(method="PATCH", path=f"/groups/{group_id}/members/{user_id}", body=patch)
        return await self._http.call(request, MemberView)

    async def remove_member(
        self, group_id: int, user_id: int, *, messages: Literal["none", "day", "all"] = "none"
    ) -> None:
        """Remove a member, who may join again. `messages`: which of the user's messages to delete."""
        params = {"messages": messages}
        path = f"/groups/{group_id}/members/{user_id}"
        await self._http.response(Request(method="DELETE", path=path, params=params))

    # --- bans ---

    async def ban(
        self,
        group_id: int,
        user_id: int,
        *,
        until: datetime | None = None,
        reason: str | None = None,
        messages: Literal["none", "day", "all"] = "none",
    ) -> BanView:
        """Ban a user, member or not. `messages`: which of the user's messages to delete."""
        draft = BanDraft(until=cast("Moment | None", until), reason=reason, messages=messages)
        request = Request(method="PUT", path=f"/groups/{group_id}/bans/{user_id}", body=draft)
        return await self._http.call(request, BanView)

    async def unban(self, group_id: int, user_id: int) -> None:
        """End a ban."""
        await self._http.response(Request(method="DELETE", path=f"/groups/{group_id}/bans/{user_id}"))

    async def bans(self, group_id: int) -> AsyncIterator[BanView]:
        """Iterate over the bans of a group by ascending id of the user; for moderators."""
        async for page in self._http.pages(f"/groups/{group_id}/bans", BanPage):
            for ban in page.items:
                yield ban
