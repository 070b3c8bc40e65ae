"""The export: everything the server stores about an account, in one archive."""

from __future__ import annotations

import asyncio
import tempfile
import zipfile
from typing import IO

from messenger.actor import Caller
from messenger.repositories.exports import PARTS
from messenger.services._images import image_path
from messenger.services.rate_limits import RateLimiter
from messenger.storage.object_store import ObjectStore
from messenger.unit_of_work import UnitOfWorkFactory

# An archive larger than this is kept on disk while the client downloads it.
_IN_MEMORY = 256 * 1024


class ExportService:
    """Reads each page in a separate unit of work, and writes it after the connection was returned to the pool."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter, store: ObjectStore) -> None:
        self._uow = uow
        self._limiter = limiter
        self._store = store

    async def archive(self, caller: Caller) -> IO[bytes]:
        """A ZIP of JSON Lines files and the avatar, positioned at its start; the caller closes it."""
        async with self._uow.read() as uow:
            profile = await uow.users.profile(caller)
        await self._limiter.hit("export", profile.user_id)
        file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in PARTS:
                async with self._uow.read() as uow:
                    lines = await uow.exports.part(part, profile.user_id)
                await _write(archive, f"{part}.jsonl", "".join(f"{line}\n" for line in lines).encode())
            await self._write_messages(archive, profile.user_id)
            if profile.avatar is not None:
                image = await self._store.get(image_path(profile.avatar.avatar_key))
                if image is not None:
                    await _write(archive, "avatar.webp", image)
        file.seek(0)
        return file

    async def _write_messages(self, archive: zipfile.ZipFile, owner_id: int) -> None:
        after, page = (0, 0), 0
        while True:
            async with self._uow.read() as uow:
                rows = await uow.exports.messages(owner_id, after)
            if not rows:
                return
            await _write(archive, f"messages/{page:06}.jsonl", "".join(f"{row.json}\n" for row in rows).encode())
            after, page = (rows[-1].conversation_id, rows[-1].seq), page + 1


async def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    await asyncio.to_thread(archive.writestr, name, data)
