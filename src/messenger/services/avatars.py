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
from messenger.errors import AvatarNotFound, FileTooLarge, Overloaded
from messenger.media.processor import Avatar, ImageProcessor
from messenger.repositories.avatars import LeftAvatarRow
from messenger.schemas.users import AvatarView, UploadedAvatarView
from messenger.services._audience import record_profile
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

    async def upload(self, caller: Caller, data: bytes, *, once: IdempotencyKey | None = None) -> UploadedAvatarView:
        """Replace the avatar. Raises `FileTooLarge`, `UnsupportedImage`, `ImageTooLarge`; the old one then stays."""
        if len(data) > MAX_FILE_BYTES:
            raise FileTooLarge
        avatar = self._named(await self._images.avatar(data))
        view, old_key = await self._replace(caller, avatar, once)
        if old_key is not None:
            await discard_image(self._uow, self._store, old_key)
        return view

    def _named(self, avatar: Avatar) -> Avatar:
        # Keyed with the secret, so that the address of an image cannot be computed from the image.
        named = hmac.digest(self._key, avatar.key.encode(), "sha256").hex()
        return msgspec.structs.replace(avatar, key=named)

    async def _replace(
        self, caller: Caller, avatar: Avatar, once: IdempotencyKey | None
    ) -> tuple[UploadedAvatarView, str | None]:
        """Store the image and refer to it; repeat while an equal image is being deleted. Raises `Overloaded`."""
        for attempt in range(_ATTEMPTS):
            if await self._claim(avatar):
                await self._store.put(image_path(avatar.key), avatar.image)
                await self._store.put(image_path(avatar.key, thumb=True), avatar.thumb)
                done = await self._point(caller, avatar, once)
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
        self, caller: Caller, avatar: Avatar, once: IdempotencyKey | None
    ) -> tuple[UploadedAvatarView, str | None] | None:
        async with self._uow() as uow:
            actor = await uow.devices.authenticate(caller)
            earlier = await find_response(uow, actor.user_id, once, UploadedAvatarView)
            if earlier is not None:
                return earlier, None
            left = await uow.avatars.set(actor.user_id, avatar.key)
            if not left.done:
                return None
            image = AvatarView.of(avatar.key, avatar.width, avatar.height, avatar.placeholder)
            view = UploadedAvatarView(image)
            await _record(uow, actor.user_id, left)
            await keep_response(uow, actor.user_id, once, view)
            return view, left.old_key

    async def remove(self, caller: Caller) -> None:
        """Remove the avatar, if there is one."""
        old_key = await self._remove(caller)
        if old_key is not None:
            await discard_image(self._uow, self._store, old_key)

    @retry_on_conflict
    async def _remove(self, caller: Caller) -> str | None:
        async with self._uow() as uow:
            actor = await uow.devices.authenticate(caller)
            left = await uow.avatars.set(actor.user_id, None)
            await _record(uow, actor.user_id, left)
            return left.old_key

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


async def _record(uow: UnitOfWork, user_id: int, left: LeftAvatarRow) -> None:
    """Record the event for those who see a different avatar than before."""
    if left.changed:
        await record_profile(uow, user_id, to_contacts=left.shows)


def file_fingerprint(data: bytes) -> bytes:
    """Identifies an upload by its file, without the form around it."""
    return hashlib.sha256(data).digest()
