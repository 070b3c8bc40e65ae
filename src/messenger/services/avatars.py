"""Avatars: images stored under a keyed hash of their bytes, and kept while a user refers to them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import re

import msgspec

from messenger.actor import Caller
from messenger.errors import AvatarNotFound, FileTooLarge, Overloaded, PeerNotFound
from messenger.media.processor import Avatar, ImageProcessor
from messenger.policies.groups import Rank, ensure_permitted
from messenger.repositories.avatars import LeftAvatarRow
from messenger.schemas.users import AvatarView, UploadedAvatarView
from messenger.services._audience import record_profile
from messenger.services._groups import notice, open_group, record_group
from messenger.services._images import discard_image, image_path
from messenger.services.idempotency import IdempotencyKey, find_response, keep_response
from messenger.services.rate_limits import RateLimiter
from messenger.storage.object_store import ObjectStore
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict

logger = logging.getLogger(__name__)

_MIB = 1024 * 1024
MAX_FILE_BYTES = 10 * 1024 * 1024
_ATTEMPTS = 20
_FILE_KEY = re.compile(r"\A([0-9a-f]{64})(_thumb)?\Z")


class AvatarService:
    """Claims the row, stores the bytes, then refers to the row: an interrupted upload leaves no partial image."""

    def __init__(
        self, uow: UnitOfWorkFactory, limiter: RateLimiter, images: ImageProcessor, store: ObjectStore, *, key: bytes
    ) -> None:
        self._uow = uow
        self._limiter = limiter
        self._images = images
        self._store = store
        self._key = key

    async def count_upload(self, caller: Caller, *, announced: int | None) -> None:
        """Count an upload before its file is read; `announced`: its size. Raises `Unauthenticated`, `RateLimited`."""
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
        await self._limiter.hit("avatar", actor.user_id)
        if announced is not None:
            await self._limiter.hit("avatar_mib", actor.user_id, cost=announced / _MIB)

    async def count_bytes(self, caller: Caller, size: int) -> None:
        """Count the bytes of a file without an announced size. Raises `RateLimited`."""
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
        await self._limiter.hit("avatar_mib", actor.user_id, cost=size / _MIB)

    async def upload(
        self, caller: Caller, data: bytes, *, group_id: int | None = None, once: IdempotencyKey | None = None
    ) -> UploadedAvatarView:
        """Replace the caller's avatar, or that of a group.

        Raises `FileTooLarge`, `UnsupportedImage`, `ImageTooLarge`, `PeerNotFound`, `NotPermitted`; the old avatar then
        stays.
        """
        if len(data) > MAX_FILE_BYTES:
            raise FileTooLarge
        if group_id is not None:
            await self._ensure_may_change(caller, group_id)
        avatar = self._named(await self._images.avatar(data))
        view, old_key = await self._replace(caller, group_id, avatar, once)
        if old_key is not None:
            await discard_image(self._uow, self._store, old_key)
        return view

    async def _ensure_may_change(self, caller: Caller, group_id: int) -> None:
        """Before the image is read and stored: refuse others. Raises `PeerNotFound`, `NotPermitted`."""
        async with self._uow.read() as uow:
            group = await uow.groups.find(caller, group_id)
        if group is None or group.rank is None:
            raise PeerNotFound
        ensure_permitted(Rank(group.rank), "info", Rank(group.info_rank), member_count=group.member_count)

    def _named(self, avatar: Avatar) -> Avatar:
        # Keyed with the secret, so that the address of an image cannot be computed from the image.
        named = hmac.digest(self._key, avatar.key.encode(), "sha256").hex()
        return msgspec.structs.replace(avatar, key=named)

    async def _replace(
        self, caller: Caller, group_id: int | None, avatar: Avatar, once: IdempotencyKey | None
    ) -> tuple[UploadedAvatarView, str | None]:
        """Store the image and refer to it; repeat while an equal image is being deleted. Raises `Overloaded`."""
        for attempt in range(_ATTEMPTS):
            if await self._claim(avatar):
                await self._store.put(image_path(avatar.key), avatar.image)
                await self._store.put(image_path(avatar.key, thumb=True), avatar.thumb)
                done = await self._point(caller, group_id, avatar, once)
                if done is not None:
                    return done
            # The deletion makes two calls to the store; a random delay spreads concurrent uploads.
            await asyncio.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311
        raise Overloaded

    @retry_on_conflict
    async def _claim(self, avatar: Avatar) -> bool:
        async with self._uow.command() as uow:
            return await uow.avatars.claim(
                avatar.key, width=avatar.width, height=avatar.height, placeholder=avatar.placeholder
            )

    @retry_on_conflict
    async def _point(
        self, caller: Caller, group_id: int | None, avatar: Avatar, once: IdempotencyKey | None
    ) -> tuple[UploadedAvatarView, str | None] | None:
        async with self._uow() as uow:
            actor = await uow.devices.authenticate(caller)
            earlier = await find_response(uow, actor.user_id, once, UploadedAvatarView)
            if earlier is not None:
                return earlier, None
            left = await _set(uow, caller, group_id, avatar.key)
            if not left.done:
                return None
            image = AvatarView.of(avatar.key, avatar.width, avatar.height, avatar.placeholder)
            view = UploadedAvatarView(image)
            await keep_response(uow, actor.user_id, once, view)
            return view, left.old_key

    async def remove(self, caller: Caller, *, group_id: int | None = None) -> None:
        """Remove the caller's avatar, or that of a group. Idempotent. Raises `PeerNotFound`, `NotPermitted`."""
        old_key = await self._remove(caller, group_id)
        if old_key is not None:
            await discard_image(self._uow, self._store, old_key)

    @retry_on_conflict
    async def _remove(self, caller: Caller, group_id: int | None) -> str | None:
        async with self._uow() as uow:
            await uow.devices.authenticate(caller)
            return (await _set(uow, caller, group_id, None)).old_key

    async def file(self, name: str) -> bytes:
        """The bytes of an image by its key, or of its thumbnail by `<key>_thumb`. Raises `AvatarNotFound`."""
        match = _FILE_KEY.match(name)
        if match is None:
            raise AvatarNotFound
        async with self._uow.read() as uow:
            servable = await uow.avatars.is_servable(match[1])
        data = await self._store.get(image_path(match[1], thumb=match[2] is not None)) if servable else None
        if data is None:
            raise AvatarNotFound
        return data


async def _set(uow: UnitOfWork, caller: Caller, group_id: int | None, key: str | None) -> LeftAvatarRow:
    """Set or remove an avatar, and record the event for those who see another one than before."""
    if group_id is None:
        left = await uow.avatars.set(uow.actor.user_id, key)
        if left.changed:
            await record_profile(uow, uow.actor.user_id, to_contacts=left.shows)
        return left
    opened = await open_group(uow, caller, group_id)
    group = await uow.group_settings.get(group_id)
    ensure_permitted(opened.rank, "info", Rank(group.info_rank), member_count=group.member_count)
    left = await uow.avatars.set_of_group(group_id, key)
    if left.changed:
        await record_group(uow, opened.locked, [notice(uow, "avatar")])
    return left


def file_fingerprint(data: bytes) -> bytes:
    """Identifies an upload by its file, without the form around it."""
    return hashlib.sha256(data).digest()
