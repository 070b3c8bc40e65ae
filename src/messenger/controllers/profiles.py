"""Profiles, look-ups, avatars."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, Response, delete, get, post, put
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, JSONBody, QueryParameter

from messenger.errors import (
    AvatarNotFound,
    FileTooLarge,
    IdempotencyKeyReused,
    ImageTooLarge,
    PeerNotFound,
    RateLimited,
    StorageUnavailable,
    UnsupportedImage,
    UsernameTaken,
    VersionConflict,
)
from messenger.schemas.users import PersonView, ProfilePatch, ProfileView, UploadedAvatarView
from messenger.services.avatars import MAX_FILE_BYTES, file_fingerprint
from messenger.web.forms import read_form
from messenger.web.parameters import PeerPath
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
        summary="Find a user by exact username",
        **authenticated(PeerNotFound, RateLimited, query=True),
    )
    async def find_user(
        self,
        request: WireRequest,
        username: Annotated[str, QueryParameter(min_length=1, max_length=64, pattern=r"\A[^\x00]*\Z")],
    ) -> PersonView:
        return await request.services.profiles.find(request.caller, username=username)


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
        image = await data.file.read(MAX_FILE_BYTES + 1)
        if len(image) > MAX_FILE_BYTES:
            raise FileTooLarge
        if announced_length(request.scope) is None:
            await request.services.avatars.count_bytes(request.caller, len(image))
        once = await request.once(file_fingerprint(image))
        return await request.services.avatars.upload(request.caller, image, once=once)

    @delete("/avatar/", operation_id="deleteAvatar", summary="Delete your avatar", **authenticated())
    async def remove(self, request: WireRequest) -> None:
        await request.services.avatars.remove(request.caller)

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
