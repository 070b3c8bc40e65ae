"""A store that fails on request, unique images, and what is stored of them."""

from __future__ import annotations

import asyncio

from obstore.store import MemoryStore

from messenger.container import Container
from messenger.errors import StorageUnavailable
from messenger.services._images import image_path
from messenger.storage.object_store import ObjectStore
from tests.support import images
from tests.support.tables import rows


class Store(ObjectStore):
    """An in-memory store that fails on request, and records its calls."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.down: frozenset[str] = frozenset()
        self.deleting = asyncio.Event()
        self.may_delete = asyncio.Event()
        self.may_delete.set()

    async def put(self, key: str, data: bytes) -> None:
        self._ensure_up("put" if not key.endswith("_thumb.webp") else "put_thumb")
        await super().put(key, data)

    async def get(self, key: str) -> bytes | None:
        self._ensure_up("get")
        return await super().get(key)

    async def delete(self, key: str) -> None:
        self.deleting.set()
        await self.may_delete.wait()
        self._ensure_up("delete")
        await super().delete(key)

    def _ensure_up(self, call: str) -> None:
        if call in self.down:
            raise StorageUnavailable


def noise() -> bytes:
    """An image that no other test has."""
    return images.encoded(images.noise((24, 24)))


async def row_of(container: Container, key: str) -> str | None:
    """The state of an image's row."""
    found = await rows(container, "SELECT state FROM avatars WHERE key = $1", key)
    return found[0]["state"] if found else None


async def files_of(store: Store, key: str) -> int:
    files = [await ObjectStore.get(store, image_path(key, thumb=thumb)) for thumb in (False, True)]
    return sum(file is not None for file in files)
