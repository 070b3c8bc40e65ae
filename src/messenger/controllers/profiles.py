"""Profiles, look-ups, avatars."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, Response, delete, get, post, put
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, JSONBody, QueryParameter

from messenger.controllers.groups import GroupPath
from messenger.errors import (
    AvatarNotFound,
    FieldError,
    FileTooLarge,
    IdempotencyKeyReused,
    ImageTooLarge,
    PeerNotFound,
    RateLimited,
    StorageUnavailable,
    UnsupportedImage,
    UsernameTaken,
    ValidationFailed,
    VersionConflict,
)
from messenger.errors.groups import NotPermitted
from messenger.schemas.users import (
    MAX_USERS,
    PersonView,
    ProfilePatch,
    ProfileView,
    SettingsPatch,
    SettingsView,
    UploadedAvatarView,
    UsersView,
)
from messenger.services.avatars import MAX_FILE_BYTES, file_fingerprint
from messenger.web.forms import read_form
from messenger.web.parameters import PeerPath, name_parameter
from messenger.web.request import WireRequest, announced_length, entity_tag, require_bearer
from messenger.web.response_hook import FILE_POLICY
from messenger.web.responses import WireResponse
from messenger.web.route_options import authenticated, public

_MOST_FORM_BYTES = MAX_FILE_BYTES + 64 * 1024


async def _admit_upload(connection: Any, _: Any) -> None:
    """A guard that refuses an upload before reading it. Raises `Unauthenticated`, `FileTooLarge`, `RateLimited`."""
    announced = announced_length(connection.scope)
    if announced is not None and announced > _MOST_FORM_BYTES:
        raise FileTooLarge
    await connection.services.avatars.count_upload(connection.caller, announced=announced)


class AvatarForm(msgspec.Struct, forbid_unknown_fields=True):
    """The upload form: exactly one file."""

    file: UploadFile


async def _read_image(request: WireRequest, form: AvatarForm) -> bytes:
    """The uploaded file; its bytes are counted unless announced. Raises `FileTooLarge`, `RateLimited`."""
    image = await form.file.read(MAX_FILE_BYTES + 1)
    if len(image) > MAX_FILE_BYTES:
        raise FileTooLarge
    if announced_length(request.scope) is None:
        await request.services.avatars.count_bytes(request.caller, len(image))
    return image


_IDS = rf"^[1-9][0-9]{{0,15}}(,[1-9][0-9]{{0,15}}){{0,{MAX_USERS - 1}}}$"


def _numbers(username: str | None, ids: str | None) -> list[int] | None:
    """The IDs; None if the request gives a username instead. Raises `ValidationFailed`."""
    if ids is None:
        if username is None:
            raise _refusal("username", "required", "username or ids is required")
        return None
    if username is not None:
        raise _refusal("ids", "conflicting", "username and ids cannot be combined")
    return [int(each) for each in ids.split(",")]


def _refusal(field: str, code: str, text: str) -> ValidationFailed:
    return ValidationFailed(f"{field}: {text}", errors=(FieldError(field, code, text),))


class ProfileController(Controller):
    """Your profile, and other users."""

    tags = ("Profiles",)

    @get("/profile", operation_id="getProfile", summary="Get your profile", **authenticated(fast=True))
    async def get_profile(self, request: WireRequest) -> WireResponse[ProfileView]:
        found = await request.services.profiles.get(request.caller)
        return WireResponse(found.profile, headers={"ETag": entity_tag(found.version)})

    @put(
        "/profile",
        operation_id="updateProfile",
        summary="Update your profile; omitted fields are unchanged, `If-Match` prevents lost updates",
        **authenticated(UsernameTaken, VersionConflict, body=True),
    )
    async def update_profile(self, request: WireRequest, data: JSONBody[ProfilePatch]) -> WireResponse[ProfileView]:
        changed = await request.services.profiles.update(request.caller, data, expected=request.expected_versions())
        return WireResponse(changed.profile, headers={"ETag": entity_tag(changed.version)})

    @get("/settings", operation_id="getSettings", summary="Get your settings", **authenticated())
    async def get_settings(self, request: WireRequest) -> SettingsView:
        return await request.services.settings.get(request.caller)

    @put(
        "/settings",
        operation_id="updateSettings",
        summary="Update your settings; omitted fields are unchanged",
        **authenticated(body=True),
    )
    async def update_settings(self, request: WireRequest, data: JSONBody[SettingsPatch]) -> SettingsView:
        return await request.services.settings.update(request.caller, data)

    @get(
        "/users/{user_id:int}",
        operation_id="getUser",
        summary="Get another user, as their privacy settings allow",
        **authenticated(PeerNotFound, RateLimited, query=True),
    )
    async def get_user(self, request: WireRequest, user_id: PeerPath) -> PersonView:
        return await request.services.profiles.find(request.caller, target_id=user_id)

    @get(
        "/users",
        operation_id="findUser",
        summary="Find a user by exact username, or list contacts and fellow members by ID",
        description="Give one of the two: a `PersonView` answers `username`, a `UsersView` answers `ids`.",
        **authenticated(PeerNotFound, RateLimited, query=True),
    )
    async def find_user(
        self,
        request: WireRequest,
        username: Annotated[str | None, QueryParameter(min_length=1, max_length=64, pattern=r"\A[^\x00]*\Z")] = None,
        ids: Annotated[
            str | None,
            QueryParameter(
                max_length=MAX_USERS * 17,
                pattern=_IDS,
                description=f"At most {MAX_USERS} IDs of users, separated by commas. Users with whom you share neither "
                "a contact nor a group are left out",
            ),
        ] = None,
    ) -> PersonView | UsersView:
        username = name_parameter(request, "username", username)
        try:
            numbers = _numbers(username, ids)
        except ValidationFailed:
            # An invalid token reveals nothing about the parameters.
            await request.services.devices.authenticate(request.caller)
            raise
        if numbers is None:
            return await request.services.profiles.find(request.caller, username=username)
        return await request.services.profiles.list_known(request.caller, numbers)


class AvatarController(Controller):
    """Your avatar, and avatar images."""

    tags = ("Avatars",)

    @post(
        "/avatar/upload",
        operation_id="uploadAvatar",
        summary="Replace your avatar: JPEG, PNG, WebP or GIF, at most 10 MiB and 25 megapixels",
        dto=None,
        request_max_body_size=_MOST_FORM_BYTES,
        responses=authenticated(
            FileTooLarge,
            UnsupportedImage,
            ImageTooLarge,
            IdempotencyKeyReused,
            RateLimited,
            StorageUnavailable,
            body=True,
        )["responses"],
        guards=[require_bearer, _admit_upload, read_form],
    )
    async def upload(
        self,
        request: WireRequest,
        data: Annotated[AvatarForm, Body(media_type=RequestEncodingType.MULTI_PART)],
    ) -> UploadedAvatarView:
        image = await _read_image(request, data)
        once = await request.once(file_fingerprint(image))
        return await request.services.avatars.upload(request.caller, image, once=once)

    @delete("/avatar/", operation_id="deleteAvatar", summary="Delete your avatar", **authenticated())
    async def remove(self, request: WireRequest) -> None:
        await request.services.avatars.remove(request.caller)

    @post(
        "/groups/{group_id:int}/avatar",
        operation_id="uploadGroupAvatar",
        summary="Replace the avatar of a group: JPEG, PNG, WebP or GIF, at most 10 MiB and 25 megapixels",
        dto=None,
        request_max_body_size=_MOST_FORM_BYTES,
        responses=authenticated(
            PeerNotFound,
            NotPermitted,
            FileTooLarge,
            UnsupportedImage,
            ImageTooLarge,
            IdempotencyKeyReused,
            RateLimited,
            StorageUnavailable,
            body=True,
        )["responses"],
        guards=[require_bearer, _admit_upload, read_form],
    )
    async def upload_of_group(
        self,
        request: WireRequest,
        group_id: GroupPath,
        data: Annotated[AvatarForm, Body(media_type=RequestEncodingType.MULTI_PART)],
    ) -> UploadedAvatarView:
        image = await _read_image(request, data)
        once = await request.once(file_fingerprint(image))
        return await request.services.avatars.upload(request.caller, image, group_id=group_id, once=once)

    @delete(
        "/groups/{group_id:int}/avatar",
        operation_id="deleteGroupAvatar",
        status_code=204,
        summary="Delete the avatar of a group",
        **authenticated(PeerNotFound, NotPermitted, query=True),
    )
    async def remove_of_group(self, request: WireRequest, group_id: GroupPath) -> None:
        await request.services.avatars.remove(request.caller, group_id=group_id)

    @get(
        "/avatars/{key:str}",
        operation_id="getAvatar",
        summary="Download an avatar image (immutable; the URL is unguessable)",
        media_type="image/webp",
        **public(AvatarNotFound, StorageUnavailable, query=True),
    )
    async def file(self, request: WireRequest, key: FromPath[str]) -> Response[bytes]:
        image = await request.services.avatars.file(key)
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Content-Security-Policy": FILE_POLICY,
            "ETag": f'"{key}"',
        }
        return Response(image, media_type="image/webp", headers=headers)
